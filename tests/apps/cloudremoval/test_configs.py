"""Every config of the app trains, is tested, and its weights clear a place, on tiny files where it expects them."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
import yaml

from foveal.core.catalogue import ROOT, configs, with_bases
from foveal.core.cli import main
from foveal.data.datasets.sen2mtc_new import TILES
from foveal.data.io.image import write_image
from foveal.tests.fixtures.dated import write_place
from foveal.tests.fixtures.scenes import left_half, write_mask, write_scene
from foveal.tests.fixtures.training import equal, state

CONFIGS = sorted(name for name in configs() if name.startswith("configs/cloudremoval/"))
SIDE = 34
LIGHT = {"PMAA": ["dim=2"], "DateUNet": ["widths=[4,4,4,4,4,4]"]}


@pytest.fixture(autouse=True)
def inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def place(folder, days, mask_folder="cloud_mask"):
    """Write dates of a place, of which every third is clear."""
    for number, day in enumerate(days):
        clouds = left_half(0.5 if number % 3 else 0, SIDE)
        write_scene(Path(folder, f"{day}.tif"), 0.1 + 0.01 * number, clouds)
        write_mask(Path(folder).parent / mask_folder / f"{day}.tif", clouds)


def pairs(folder, names):
    """Write a clear, a cloudy and a mask file for each name."""
    clouds = left_half(0.5, SIDE)
    for name in names:
        write_scene(Path(folder, "clear", f"{name}.tif"), 0.1, np.zeros_like(clouds))
        write_scene(Path(folder, "cloudy", f"{name}.tif"), 0.1, clouds)
        write_mask(Path(folder, "cloud_mask", f"{name}.tif"), clouds)


def sen2mtc_new(folder):
    for tile in (tile for tiles in TILES.values() for tile in tiles):
        write_scene(Path(folder, tile, "cloudless", "a.tif"), 0.1, left_half(0, SIDE))
        for number in range(3):
            write_scene(Path(folder, tile, "cloud", f"a_{number}.tif"), 0.1, left_half(0.3 * number, SIDE))


def sen2mtc_old(folder):
    generator = np.random.default_rng(0)
    for number in range(10):
        names = [f"clear/{number}", *(f"cloudy/{number}_{date}{kind}" for date in range(3) for kind in ("", "_ir"))]
        for name in names:
            path = Path(folder, f"{name}.jpg")
            path.parent.mkdir(parents=True, exist_ok=True)
            write_image(path, generator.integers(0, 255, (3, SIDE, SIDE), np.uint8))


def generate(config):
    """Make the files that a config reads."""
    if "_new" in config:
        sen2mtc_new("datasets/Sen2_MTC")
    if "_old" in config:
        sen2mtc_old("datasets/multipleImage")
    if "places" in config:
        for number in range(7):
            place(f"archive/p{number}/image", [f"2020-0{month}-01" for month in range(1, 8)])
    if config.endswith(("pmaa_composed.yaml", "unet_composed.yaml")):
        pairs("datasets/satellite/s2_pairs", "ab")
        pairs("datasets/satellite/s2_pairs_nogeo", ["316", "1302", "4287", "2729", "3968", "4065", "4433"])
        write_scene(Path("datasets/satellite/s2_clear_chips/c.tif"), 0.1, left_half(0, SIDE))
        days = ["2018-01-01", "2018-01-21", "2018-03-07", "2018-03-22", "2018-04-01", "2018-07-05", "2018-09-18"]
        place("datasets/satellite/s2_timeseries/ROIs2017_146_patch_0/image", days)


def small(config):
    """The options that make a config train in moments."""
    layers = [yaml.safe_load(Path(each).read_text()) for each in with_bases(["--config", str(ROOT / config)])[1::2]]
    model = {}
    for layer in layers:
        model |= layer.get("model", {}).get("init_args", {})
    net = model["net"].get("class_path", "PMAA").rpartition(".")[2]
    values = [f"--model.init_args.net.init_args.{value}" for value in LIGHT[net]]
    values += ["--model.init_args.tile=128", "--model.init_args.overlap=8"]
    if model.get("discriminator_widths", True):
        values.append("--model.init_args.discriminator_widths=[2,2]")
    if model.get("teacher"):
        values.append("--model.init_args.teacher=null")
    values += ["--data.init_args.batch_size=2", "--data.init_args.patch=32", "--data.init_args.workers=0"]
    values += ["--trainer.check_val_every_n_epoch=1", "--trainer.limit_val_batches=1", "--trainer.accelerator=cpu"]
    return ["--config", "configs/trainer/debug.yaml", *values, "--trainer.limit_test_batches=1"]


@pytest.mark.slow
@pytest.mark.parametrize("config", CONFIGS)
def test_every_config_trains_and_its_weights_clear_a_place(config):
    generate(config)
    options = ["--config", config, *small(config)]
    assert main(["cloudremoval", "fit", *options]) == 0
    folder = Path("runs", Path(config).stem)
    assert {"cases_val.csv", "samples.png", "last.ckpt", "best.ckpt"} < {each.name for each in folder.iterdir()}
    assert main(["cloudremoval", "test", *options, "--ckpt_path", "last"]) == 0
    assert "least_cloudy_psnr_b_cloudy" in (folder / "cases_test.csv").read_text()
    if "_old" in config:
        return  # its pictures hold no reflectance, as GeoTIFFs do
    write_place(Path("place"))
    weights = ["--weights", str(folder / "last.ckpt"), "--device", "cpu", "--quiet"]
    assert main(["cloudremoval", "infer", *weights, "--input", "place", "--output", "clear.tif"]) == 0
    with rasterio.open("clear.tif") as file:
        assert (file.count, file.height, file.width) == (4, 50, 61)


@pytest.mark.slow
def test_resuming_changes_nothing():
    generate("archive/places")
    few = ["--trainer.limit_train_batches=2", "--trainer.max_epochs=2", "--data.init_args.repeats=4"]
    given = ["--config", "configs/cloudremoval/pmaa_places.yaml", *small("configs/cloudremoval/pmaa_places.yaml"), *few]
    assert main(["cloudremoval", "fit", *given]) == 0
    assert main(["cloudremoval", "fit", *given, "--trainer.max_epochs=1"]) == 0
    assert main(["cloudremoval", "fit", *given, "--ckpt_path", "last"]) == 0
    whole, resumed = (state(Path(f"runs/{name}/last.ckpt")) for name in ("pmaa_places", "pmaa_places-2"))
    assert equal(whole, resumed)
    rates = [each["param_groups"][0]["lr"] for each in whole["optimizer_states"]]
    assert rates == pytest.approx([5e-4, 5e-4], rel=0.01)
    assert max(rates) < 5e-4

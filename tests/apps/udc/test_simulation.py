import numpy as np
import pytest
import torch

from foveal.apps.udc import simulation
from foveal.apps.udc.models.mpgnet import MPGNet
from foveal.apps.udc.physics import UnderDisplay
from foveal.apps.udc.simulation import run_physical
from foveal.core.cli import main
from foveal.core.inference.arrays import ArraySink, ArraySource
from foveal.core.weights.card import Card
from foveal.core.weights.files import save_weights
from foveal.data.io.image import ImageSink, ImageSource, read_image, write_image

CAMERA = UnderDisplay("poled", reach=3)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """A point spread that takes no time, for the command too."""
    monkeypatch.setattr(simulation, "UnderDisplay", lambda display, light: UnderDisplay(display, reach=2, light=light))


def write(path, channels=3, dtype="uint8", height=30, width=26):
    path.parent.mkdir(exist_ok=True)
    pixels = np.random.default_rng(channels).integers(0, np.iinfo(dtype).max, (channels, height, width), dtype=dtype)
    write_image(path, pixels)
    return pixels


def simulate(*options):
    return main(["udc", "simulate", "--quiet", *map(str, options)])


def test_pictures_of_a_folder_keep_their_depth_and_alpha_and_get_colour(tmp_path):
    write(tmp_path / "in/eight.png")
    write(tmp_path / "in/sixteen.tif", dtype="uint16")
    alpha = write(tmp_path / "in/alpha.png", channels=4)[3]
    write(tmp_path / "in/grey.jpg", channels=1)
    assert simulate("--input", tmp_path / "in", "--output", tmp_path / "out") == 0
    made = {path.name: read_image(path, alpha=True) for path in (tmp_path / "out").glob("[!.f]*.*")}
    facts = {name: (len(image), image.dtype) for name, image in made.items()}
    eight, sixteen = np.dtype("uint8"), np.dtype("uint16")
    assert facts == {
        "eight.png": (3, eight),
        "sixteen.tif": (3, sixteen),
        "alpha.png": (4, eight),
        "grey.png": (3, eight),
    }
    assert np.array_equal(made["alpha.png"][3], alpha)


def test_the_seed_decides_and_each_name_has_its_own_noise(tmp_path):
    for name in ("a", "b"):
        write_image(tmp_path / f"in/{name}.png", np.full((3, 16, 16), 120, np.uint8))
    for out, seed in (("first", 0), ("again", 0), ("other", 1)):
        assert simulate("--input", tmp_path / "in", "--output", tmp_path / out, "--seed", seed, "--bits", 16) == 0
    a, b, again, other = (
        read_image(tmp_path / name) for name in ("first/a.png", "first/b.png", "again/a.png", "other/a.png")
    )
    assert a.dtype == np.uint16
    assert np.array_equal(a, again)
    assert not np.array_equal(a, b)
    assert not np.array_equal(a, other)


def test_a_seed_below_0_is_refused(tmp_path, capsys):
    write(tmp_path / "in/a.png")
    assert simulate("--input", tmp_path / "in", "--output", tmp_path / "out", "--seed", -1) == 2
    assert capsys.readouterr().err == "error: --seed -1: give 0 or more.\n"
    assert not (tmp_path / "out").exists()


def test_bands_join_as_if_the_picture_were_one(monkeypatch):
    x = np.random.default_rng(0).random((3, 40, 20), np.float32)
    camera = UnderDisplay("toled", electrons=1e12, read_noise=0.0, bits=16, reach=3)
    made = []
    for rows in (9, 100):
        monkeypatch.setattr(simulation, "ROWS", rows)
        made.append(physical(camera, x))
    assert np.abs(made[0] - made[1]).max() < 1e-3


def physical(camera, x):
    sink = ArraySink(x.shape[1:])
    run_physical(camera, ArraySource(x), sink, (0, 0))
    return sink.array


def test_an_interrupted_picture_goes_on_to_the_same_end(tmp_path, monkeypatch):
    monkeypatch.setattr(simulation, "ROWS", 8)
    write(tmp_path / "in.png", height=30)
    done = []

    def run(name, stop):
        def progress(rows, _):
            done.append(rows)
            if rows == stop:
                raise KeyboardInterrupt

        with (
            ImageSource(tmp_path / "in.png", channels=3) as source,
            ImageSink(tmp_path / name, source.shape, source.dtype, fingerprint="same") as sink,
        ):
            run_physical(CAMERA, source, sink, (0, 0), progress)

    run("whole.png", None)
    with pytest.raises(KeyboardInterrupt):
        run("parts.png", 16)
    done.clear()
    run("parts.png", None)
    assert done == [24, 30]
    assert np.array_equal(read_image(tmp_path / "whole.png"), read_image(tmp_path / "parts.png"))


def test_linear_pictures_are_taken_as_light(tmp_path):
    write_image(tmp_path / "in.tif", np.full((3, 16, 16), 30_000, np.uint16))
    simulate("--input", tmp_path / "in.tif", "--output", tmp_path / "out.tif", "--linear")
    assert abs(read_image(tmp_path / "out.tif").mean() - 30_000) < 300


def test_alpha_of_another_depth_is_refused(tmp_path, capsys):
    write(tmp_path / "in.png", channels=4)
    assert simulate("--input", tmp_path / "in.png", "--output", tmp_path / "out.png", "--bits", 16) == 1
    assert "in.png: has alpha, which keeps its 8 bits; leave out --bits." in capsys.readouterr().err


@pytest.fixture
def weights(tmp_path):
    """A narrow MPGNet and a part of it in files."""
    torch.manual_seed(0)
    net = MPGNet("toled", width=4)
    for name, module, arguments in (
        ("mpgnet", net, {"display": "toled", "width": 4}),
        ("gains", net.attenuation, {"display": "toled"}),
    ):
        network = {"class_path": f"{type(module).__module__}.{type(module).__name__}", "init_args": arguments}
        app = "udc" if name == "mpgnet" else "polyp"
        sizes = {"size_multiple": 4, "smallest_size": 8, "tile": 16, "overlap": 8}
        save_weights(module, Card(name=name, app=app, network=network, **sizes), tmp_path / f"{name}.safetensors")
    write(tmp_path / "in.png", height=21)
    return tmp_path


def test_weights_of_mpgnet_simulate(weights):
    options = ("--input", weights / "in.png", "--device", "cpu", "--model", weights / "mpgnet.safetensors")
    assert simulate(*options, "--output", weights / "out.png") == 0
    assert simulate(*options, "--output", weights / "other.png", "--seed", 1) == 0
    made, other = (read_image(weights / name) for name in ("out.png", "other.png"))
    assert made.shape == (3, 21, 26)
    assert not np.array_equal(made, other)


def test_other_weights_are_refused_and_a_simulator_restores_nothing(weights, capsys):
    options = ("--input", weights / "in.png", "--output", weights / "no.png", "--device", "cpu")
    assert simulate(*options, "--model", weights / "gains.safetensors") == 2
    told = capsys.readouterr().err
    assert "--model" in told
    assert "holds no MPGNet but gains; give weights of a simulator" in told
    assert main(["udc", "infer", *map(str, options), "--weights", str(weights / "mpgnet.safetensors")]) == 2
    assert "degrades pictures and restores none; run `foveal udc simulate" in capsys.readouterr().err
    assert not (weights / "no.png").exists()

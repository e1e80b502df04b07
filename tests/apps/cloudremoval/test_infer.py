import json
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import rasterio
from affine import Affine
from PIL import Image
from scipy.ndimage import distance_transform_cdt

from foveal.apps.cloudremoval.infer import infer
from foveal.apps.cloudremoval.models.pmaa import PMAA
from foveal.core.cli import main
from foveal.core.inference import pipeline
from foveal.core.weights.card import Card
from foveal.core.weights.files import save_weights
from foveal.tests.fixtures import slow_infer
from foveal.tests.fixtures.dated import BANDS, CLOUD, DATES, NAMES, ground, save_darkest, square, write_place
from foveal.tests.fixtures.geotiff import NORTH_UP, read_raster, write_raster


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return save_darkest(tmp_path_factory.mktemp("weights") / "darkest.safetensors")


def darkest(place):
    """What the toy network makes of the stored numbers of a place."""
    return np.min([read_raster(file)[0] for file in sorted((place / "image").iterdir())], axis=0)


def run(place, output, weights, *options):
    arguments = ["--input", str(place), "--output", str(output), "--weights", weights, *map(str, options)]
    return main(["cloudremoval", "infer", *arguments])


def names(folder):
    return sorted(path.name for path in folder.iterdir() if path.name != ".foveal-journal.jsonl")


def test_a_folder_becomes_one_file_at_the_same_place(tmp_path, weights):
    place = write_place(tmp_path / "place")
    output = tmp_path / "out" / "clear.tif"
    assert run(place, output, weights) == 0
    assert names(output.parent) == ["clear.tif"]
    with rasterio.open(place / "image" / f"{DATES[0]}.tif") as before, rasterio.open(output) as after:
        assert (after.crs, after.transform, after.bounds) == (before.crs, before.transform, before.bounds)
        assert (after.dtypes, after.nodata, after.descriptions) == (before.dtypes, before.nodata, before.descriptions)
        assert after.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert after.tags()["CLOUD_FREE_FROM"] == "2018-03-07 10%, 2018-06-10 6%, 2018-07-30 10%"
        assert np.array_equal(after.read(), darkest(place))


def test_a_trained_network_makes_reflectance_of_a_scene_smaller_than_a_tile(tmp_path):
    arguments = {"dates": 2, "dim": 4}
    half = (0.5,) * 4
    class_path = f"{PMAA.__module__}.PMAA"
    card = Card(
        name="small",
        app="cloudremoval",
        network={"class_path": class_path, "init_args": arguments},
        channels=BANDS,
        dates=2,
        unit="reflectance",
        mean=half,
        std=half,
        smallest_size=17,
        tile=32,
        overlap=8,
    )
    save_weights(PMAA(**arguments), card, tmp_path / "small.safetensors")
    place = write_place(tmp_path / "place", DATES[:2], height=13, width=40)
    assert run(place, tmp_path / "clear.tif", str(tmp_path / "small.safetensors")) == 0
    made, _ = read_raster(tmp_path / "clear.tif")
    assert made.shape == (4, 13, 40)
    assert made.max() <= 10_000
    assert made.std() > 0


def test_clear_pixels_of_the_best_date_keep_their_numbers(tmp_path, weights):
    place = write_place(tmp_path / "place")
    assert run(place, tmp_path / "clear.tif", weights, "--keep_clear") == 0
    made, _ = read_raster(tmp_path / "clear.tif")
    best, _ = read_raster(place / "image" / f"{DATES[1]}.tif")
    distance = distance_transform_cdt(~square(1), "chessboard")
    assert np.array_equal(made[:, distance >= 4], best[:, distance >= 4])
    assert np.array_equal(made[:, distance == 0], darkest(place)[:, distance == 0])
    seam = (distance > 0) & (distance < 4)
    assert not np.array_equal(made[:, seam], best[:, seam])


def test_clouds_confidence_and_a_picture_stand_beside_it(tmp_path, weights):
    place = write_place(tmp_path / "place", nodata=0)
    for file in (place / "image").iterdir():
        with rasterio.open(file, "r+") as image:
            image.write(np.zeros((4, 50, 7), np.uint16), window=((0, 50), (54, 61)))
    output = tmp_path / "clear.tif"
    assert run(place, output, weights, "--cloud_mask", "--confidence", "--quicklook", "--keep_clear") == 0
    image, said = read_raster(output)
    absent = image.any(axis=0) == 0
    assert np.array_equal(absent, np.broadcast_to(np.arange(61) >= 54, (50, 61)))
    clouds, told = read_raster(tmp_path / "clear_clouds.tif")
    assert told["names"] == DATES
    assert told["transform"] == said["transform"]
    for number in range(3):
        assert np.array_equal(clouds[number] == 1, square(number) & ~absent)
        assert (clouds[number, absent] == 255).all()
    confidence, told = read_raster(tmp_path / "clear_confidence.tif")
    assert told["dtypes"] == ("float32",) * 4
    assert np.isnan(confidence[:, absent]).all()
    trust, disagreement, distance, clear = confidence[:, ~absent]
    assert np.array_equal(clear, 3 - (clouds == 1).sum(axis=0)[~absent])
    assert np.array_equal(np.isnan(distance), clear == 0)
    assert (clear == 0).any()
    assert not disagreement.any()  # as every pixel is computed by itself
    assert 0 <= trust.min() < trust.max() <= 1
    with Image.open(tmp_path / "clear_quicklook.png") as picture:
        assert picture.size == (3 * 4 * 61 + 4 * 8, 2 * (4 * 50 + 22) + 3 * 8)


def test_places_in_a_folder_become_files_in_a_folder(tmp_path, weights):
    for name in ("a", "b.1"):
        write_place(tmp_path / "places" / name)
    (tmp_path / "places" / "b.1" / "image" / f"{DATES[0]}.tif").unlink()
    assert run(tmp_path / "places", tmp_path / "out", weights, "--quicklook") == 1
    assert names(tmp_path / "out") == ["a.tif", "a_quicklook.png", "foveal-manifest.json"]
    items = json.loads((tmp_path / "out" / "foveal-manifest.json").read_text())["items"]
    assert [each["status"] for each in items] == ["done", "failed"]
    assert items[0]["note"].endswith("cloud; 3 of 3 dates")
    assert "2 dates, too few: 3 are taken at once" in items[1]["reason"]


def test_the_clearest_dates_are_taken_and_told(tmp_path, weights, capsys):
    dates = ("2018-01-01", *DATES)
    place = write_place(tmp_path / "place", dates)
    write_raster(place / "cloud_mask" / "2018-01-01.tif", np.ones((1, 50, 61), np.uint8))
    assert run(place, tmp_path / "clear.tif", weights, "--cloud_mask") == 0
    assert "3 of 4 dates" in capsys.readouterr().err
    assert read_raster(tmp_path / "clear_clouds.tif")[1]["names"] == DATES


def test_masks_may_stand_elsewhere(tmp_path, weights):
    place = write_place(tmp_path / "place")
    (place / "cloud_mask").rename(tmp_path / "masks")
    assert run(place, tmp_path / "one.tif", weights, "--masks", tmp_path / "masks", "--cloud_mask") == 0
    (tmp_path / "other").mkdir()
    (tmp_path / "masks").rename(tmp_path / "other" / "place")
    assert run(place, tmp_path / "two.tif", weights, "--masks", tmp_path / "other", "--cloud_mask") == 0
    assert (tmp_path / "one_clouds.tif").read_bytes() == (tmp_path / "two_clouds.tif").read_bytes()
    assert (read_raster(tmp_path / "one_clouds.tif")[0] == [square(number) for number in range(3)]).all()


def test_without_masks_clouds_are_told_by_colours(tmp_path, weights):
    place = write_place(tmp_path / "place", masks=False)
    assert run(place, tmp_path / "clear.tif", weights, "--cloud_mask") == 0
    found = read_raster(tmp_path / "clear_clouds.tif")[0] == 1
    for number in range(3):
        assert found[number][square(number)].all()
        assert found[number].mean() < 0.25


def test_an_interrupted_run_goes_on_and_gives_the_same_bytes(tmp_path, weights, monkeypatch):
    place = write_place(tmp_path / "place")
    options = ("--cloud_mask", "--confidence", "--quicklook", "--keep_clear", "--tile", "20", "--overlap", "4")
    assert run(place, tmp_path / "whole" / "x.tif", weights, *options) == 0
    padded, read = pipeline.padded, []

    def interrupted(*tile):
        read.append(tile)
        if len(read) == 8:
            time.sleep(0.2)
            raise KeyboardInterrupt
        return padded(*tile)

    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "padded", interrupted)
        assert run(place, tmp_path / "part" / "x.tif", weights, *options) == 130
    assert not [name for name in names(tmp_path / "part") if name.startswith("x")]
    with np.load(tmp_path / "part" / ".x.tif.state.npz") as kept:
        assert 0 < int(kept["rows"]) < 50
    assert run(place, tmp_path / "part" / "x.tif", weights, *options) == 0
    assert names(tmp_path / "part") == names(tmp_path / "whole")
    for name in names(tmp_path / "whole"):
        assert (tmp_path / "part" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


def rewritten(place, number=1, array=None, **options):
    image = ground() if array is None else array
    write_raster(place / "image" / f"{DATES[number]}.tif", image, **{"names": NAMES} | options)


def another_crs(place):
    rewritten(place, crs="EPSG:32634")


def another_transform(place):
    rewritten(place, transform=NORTH_UP * Affine.translation(3, 0))


def another_size(place):
    rewritten(place, array=ground(width=60))


def a_missing_band(place):
    rewritten(place, array=ground()[:3], names=NAMES[:3])


def of_eight_bits(place):
    for number in range(3):
        rewritten(place, number, array=(ground() // 40).astype(np.uint8))


def too_bright(place):
    rewritten(place, array=ground() * 50)


def all_cloudy(place):
    for file in (place / "cloud_mask").iterdir():
        write_raster(file, np.ones((1, 50, 61), np.uint8))


def a_date_too_few(place):
    (place / "image" / f"{DATES[0]}.tif").unlink()


def without_a_mask(place):
    (place / "cloud_mask" / f"{DATES[0]}.tif").unlink()


def a_damaged_tile(place):
    """In the middle of a file, in the last but one of its rows of tiles."""
    file = place / "image" / f"{DATES[2]}.tif"
    image = np.random.default_rng(0).integers(500, 9000, (4, 256, 256)).astype(np.uint16)
    for number in range(3):
        rewritten(place, number, image, tiled=True, blockxsize=64, blockysize=64, compress="deflate")
        write_raster(place / "cloud_mask" / f"{DATES[number]}.tif", np.zeros((1, 256, 256), np.uint8))
    with rasterio.open(file) as opened:
        offset, size = (int(opened.get_tag_item(f"BLOCK_{what}_2_2", "TIFF", bidx=1)) for what in ("OFFSET", "SIZE"))
    data = bytearray(file.read_bytes())
    data[offset + 8 : offset + size] = bytes(size - 8)
    file.write_bytes(bytes(data))


def cut_short(place):
    file = place / "image" / f"{DATES[2]}.tif"
    os.truncate(file, file.stat().st_size // 2)


BAD = {
    another_crs: r"2018-06-10.tif: lies on another grid than 2018-03-07.tif: .*--warp",
    another_transform: r"2018-06-10.tif: lies on another grid than 2018-03-07.tif: .*--warp",
    another_size: r"2018-06-10.tif: lies on another grid than 2018-03-07.tif: .*--warp",
    a_missing_band: r"2018-06-10.tif: no band shows nir; .*--bands",
    of_eight_bits: r"2018-03-07.tif: is of 8 bits, .*--quantification",
    too_bright: r"2018-06-10.tif: is no reflectance, .*--quantification",
    all_cloudy: r"all dates have more cloud than 95%: 2018-03-07 100%, .*--most_cloud",
    a_date_too_few: r"2 dates, too few: 3 are taken at once",
    without_a_mask: r"has no mask for 2018-03-07.tif",
    a_damaged_tile: r"2018-07-30.tif: the file is damaged .*rows 1\d\d\.\.\d+ and columns",
    cut_short: r"2018-07-30.tif: .*(cut short|damaged)",
}


@pytest.mark.parametrize(("spoil", "told"), BAD.items(), ids=lambda each: getattr(each, "__name__", ""))
def test_a_bad_place_is_told_in_one_line_and_leaves_nothing(tmp_path, weights, capsys, spoil, told):
    place = write_place(tmp_path / "place")
    spoil(place)
    options = ("--cloud_mask", "--confidence", "--quicklook", "--quiet")
    assert run(place, tmp_path / "out" / "clear.tif", weights, *options) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1, error
    assert re.match(rf"error: .*{told}", error), error
    assert not (tmp_path / "out").exists() or names(tmp_path / "out") == []


def test_what_settles_a_contradiction_settles_it(tmp_path, weights):
    place = write_place(tmp_path / "place", masks=False)
    of_eight_bits(place)
    assert run(place, tmp_path / "bytes.tif", weights, "--quantification", 255, "--offset", 0) == 0
    assert read_raster(tmp_path / "bytes.tif")[1]["dtypes"] == ("uint8",) * 4
    another_transform(write_place(tmp_path / "other"))
    assert run(tmp_path / "other", tmp_path / "b.tif", weights, "--warp") == 0
    assert read_raster(tmp_path / "b.tif")[1]["transform"] == NORTH_UP


def test_dates_of_two_baselines_are_read_each_as_it_is(tmp_path, weights):
    place = write_place(tmp_path / "place", nodata=0)
    image, cloud = ground() - 400, square(1)
    image[:, cloud] = CLOUD
    rewritten(place, 1, image + np.uint16(1000), tags={"BOA_ADD_OFFSET": "-1000"}, nodata=0)
    assert run(place, tmp_path / "clear.tif", weights) == 0
    made, _ = read_raster(tmp_path / "clear.tif")
    clear = ~cloud
    assert np.array_equal(made[:, clear], image[:, clear])


def test_options_and_places_are_checked_before_any_work(tmp_path, weights, capsys):
    place = write_place(tmp_path / "place")
    file = place / "image" / f"{DATES[0]}.tif"
    (tmp_path / "empty").mkdir()
    for arguments, told in (
        ((file, tmp_path / "x.tif"), "is a single file; give a folder"),
        ((tmp_path / "empty", tmp_path / "x.tif"), "holds no"),
        ((tmp_path / "gone", tmp_path / "x.tif"), "there is no such"),
        ((place, place / "image" / "x.tif"), "would be taken for a date"),
        ((place, place / "x.tif"), "would be taken for a date"),
        ((tmp_path, tmp_path), "would be taken for a date"),
        ((tmp_path, tmp_path / "cleared"), "would be taken for a date"),
        ((place, tmp_path / "x.tif", weights, "--masks", tmp_path / "gone"), "there is no such folder"),
        ((place, tmp_path / "x.tif", weights, "--most_cloud", 95), "give a share from 0 to 1"),
    ):
        inputs, output, *rest = arguments
        assert run(inputs, output, *(rest or [weights])) == 2
        assert told in capsys.readouterr().err


def test_weights_that_make_no_image_are_refused(tmp_path, capsys):
    teacher = save_darkest(tmp_path / "teacher.safetensors", outputs=("clear sky",))
    place = write_place(tmp_path / "place")
    assert run(place, tmp_path / "x.tif", teacher) == 2
    assert "make clear sky, no cloud-free image" in capsys.readouterr().err


def start(place, output, weights, pause):
    options = ["--input", place, "--output", output, "--weights", weights, "--quicklook", "--confidence", "--quiet"]
    command = [sys.executable, "-m", slow_infer.__name__, str(pause), "cloudremoval", *map(str, options)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_a_killed_run_goes_on_and_gives_the_same_bytes(tmp_path, weights):
    place = write_place(tmp_path / "place", height=150, width=90)
    state = tmp_path / "part" / ".x.tif.state.npz"
    process = start(place, tmp_path / "part" / "x.tif", weights, 0.1)
    while not state.exists():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert [name for name in names(tmp_path / "part") if not name.startswith(".")] == []
    for folder in ("part", "whole"):
        process = start(place, tmp_path / folder / "x.tif", weights, 0)
        assert process.wait() == 0, process.stderr.read()
    assert names(tmp_path / "part") == names(tmp_path / "whole") != []
    for name in names(tmp_path / "whole"):
        assert (tmp_path / "part" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


def test_the_same_command_again_does_nothing(tmp_path, weights, capsys):
    place = write_place(tmp_path / "place")
    output = tmp_path / "clear.tif"
    for told in ("-> ", "is done already"):
        infer(output, [place], weights)
        assert told in capsys.readouterr().err


PEAK = """
import re, sys, torch
from foveal.core.cli import main
torch.set_num_threads(1)
code = main(sys.argv[1:])
print(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
sys.exit(code)
"""


def peak_memory(folder, weights, height, width):
    """Peak resident bytes of a run on three dates, in a process of its own."""
    for number, date in enumerate(DATES):
        image = np.tile(ground(256, 256, number), (1, height // 256, width // 256))
        image[:, 100:200, 100:200] = CLOUD
        folder.mkdir(exist_ok=True)
        options = {"tiled": True, "blockxsize": 256, "blockysize": 256, "compress": "deflate", "zlevel": 1}
        write_raster(folder / f"{date}.tif", image, names=NAMES, **options)
    options = ["--input", folder, "--output", folder / "out" / "x.tif", "--weights", weights, "--keep_clear"]
    beside = ["--cloud_mask", "--quicklook", "--tile", 256, "--quiet"]
    command = [sys.executable, "-c", PEAK, "cloudremoval", "infer", *map(str, options + beside)]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
    return 1024 * int(process.stdout)


@pytest.mark.slow
def test_peak_memory_does_not_grow_with_the_height_of_a_scene(tmp_path, weights):
    small, large = (peak_memory(tmp_path / str(height), weights, height, 4096) for height in (768, 2048))
    more = 3 * 4 * (2048 - 768) * 4096 * 4  # bytes of the further rows of all dates and bands, float32
    assert large - small < more / 5

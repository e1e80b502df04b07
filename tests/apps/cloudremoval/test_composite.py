import json

import numpy as np
import pytest
import rasterio
from affine import Affine
from scipy.ndimage import binary_dilation

from foveal.apps.cloudremoval import compositing
from foveal.core.cli import main
from foveal.tests.fixtures.dated import DATES, NAMES, square, write_place
from foveal.tests.fixtures.geotiff import NORTH_UP, read_raster, write_raster

CLOUDS = np.stack([square(number) for number in range(3)])


def cover_of(clouds):
    return ", ".join(f"{date} {each.mean():.0%}" for date, each in zip(DATES, clouds, strict=True))


@pytest.fixture(autouse=True)
def tiles(monkeypatch):
    """Tiles that are smaller than the scenes."""
    monkeypatch.setattr(compositing, "CARD", compositing.replace(compositing.CARD, tile=16))


def run(place, output, *options):
    return main(["cloudremoval", "composite", "--input", str(place), "--output", str(output), *map(str, options)])


def stored(place):
    return np.stack([read_raster(file)[0] for file in sorted((place / "image").iterdir())])


def median(samples, clouds):
    """As NumPy has it, float64 (bands, H, W)."""
    counts = ~clouds | clouds.all(axis=0)
    return np.nanmedian(np.where(counts[:, None], samples, np.nan), axis=0)


def tags(path):
    with rasterio.open(path) as file:
        return file.tags() | file.tags(ns="IMAGE_STRUCTURE")


def test_the_median_of_clear_dates_lies_where_they_do(tmp_path, capsys):
    place, output = write_place(tmp_path / "place"), tmp_path / "clear.tif"
    assert run(place, output) == 0
    made, said = read_raster(output)
    assert np.abs(made - median(stored(place), CLOUDS)).max() <= 0.5
    _, before = read_raster(place / "image" / f"{DATES[0]}.tif")
    assert said == before
    assert tags(output)["LAYOUT"] == "COG"
    assert tags(output)["CLOUD_FREE_FROM"] == cover_of(CLOUDS)
    never = CLOUDS.all(axis=0).mean()
    assert f"median of 3 dates; {never:.2%} of the scene is clear on none" in capsys.readouterr().err


def test_the_least_cloudy_date_is_copied(tmp_path, capsys):
    place, output = write_place(tmp_path / "place", nodata=0), tmp_path / "clear.tif"
    file = place / "image" / f"{DATES[1]}.tif"
    samples = stored(place)
    samples[1, :, :2] = 0  # less than another date's cloud
    write_raster(file, samples[1], names=NAMES, nodata=0)
    write_raster(place / "cloud_mask" / file.name, np.zeros((1, 50, 61), np.uint8))
    assert run(place, output, "--method", "least-cloudy", "--no_cog") == 0
    made, _ = read_raster(output)
    assert np.array_equal(made[:, 2:], samples[1, :, 2:])
    filled = median(samples[[0, 2], :, :2], CLOUDS[[0, 2], :2])
    assert np.abs(made[:, :2] - filled).max() <= 0.5
    assert f"{DATES[1]}.tif, 4% cloud" in capsys.readouterr().err
    assert tags(output)["CLOUD_FREE_FROM"] == f"{DATES[1]} 4%"


def test_dates_of_other_baselines_are_brought_to_the_numbers_of_the_first(tmp_path):
    place, output = write_place(tmp_path / "place"), tmp_path / "clear.tif"
    samples = stored(place)
    for number in (1, 2):
        file = place / "image" / f"{DATES[number]}.tif"
        write_raster(file, samples[number] + 1000, names=NAMES, tags={"BOA_ADD_OFFSET": "-1000"})
    assert run(place, output) == 0
    assert np.abs(read_raster(output)[0] - median(samples, CLOUDS)).max() <= 0.5


def test_a_folder_of_places_becomes_a_folder_with_a_manifest(tmp_path):
    for name in "ab":
        write_place(tmp_path / "places" / name)
    assert run(tmp_path / "places", tmp_path / "out") == 0
    manifest = json.loads((tmp_path / "out" / "foveal-manifest.json").read_text())
    assert [item["status"] for item in manifest["items"]] == ["done", "done"]
    assert manifest["method"] == "median"
    assert read_raster(tmp_path / "out" / "a.tif")[0].shape == (4, 50, 61)


def test_without_masks_clouds_are_told_by_their_colours(tmp_path):
    place, output = write_place(tmp_path / "place", masks=False), tmp_path / "clear.tif"
    assert run(place, output) == 0
    made, _ = read_raster(output)
    seen = binary_dilation(CLOUDS, np.ones((1, 5, 5)))  # with their edges
    assert np.abs(made - median(stored(place), seen)).max() <= 0.5
    assert tags(output)["CLOUD_FREE_FROM"] == cover_of(seen)


def test_any_bands_can_be_taken_where_there_are_masks(tmp_path):
    place, output = write_place(tmp_path / "place"), tmp_path / "clear.tif"
    assert run(place, output, "--bands", "nir", "B4") == 0
    made, said = read_raster(output)
    assert np.abs(made - median(stored(place)[:, [3, 0]], CLOUDS)).max() <= 0.5
    assert said["names"] == ("B8 nir", "B4 red")


@pytest.mark.parametrize(
    ("change", "options", "reason"),
    [
        ({"masks": False, "names": (*NAMES[:3], "B5")}, (), "--bands"),
        ({"masks": False}, ("--most_cloud", "0.01"), "all dates have more cloud than 1%: 2018-03-07 "),
        ({}, ("--most_cloud", "2"), "give a share from 0 to 1"),
    ],
)
def test_what_cannot_be_used_is_told(tmp_path, capsys, change, options, reason):
    place = write_place(tmp_path / "place", **change)
    assert run(place, tmp_path / "clear.tif", *options) != 0
    assert reason in capsys.readouterr().err
    assert not (tmp_path / "clear.tif").exists()


def test_a_date_on_another_grid_is_refused_unless_told_to_warp(tmp_path, capsys):
    place, output = write_place(tmp_path / "place", masks=False), tmp_path / "clear.tif"
    file = place / "image" / f"{DATES[1]}.tif"
    write_raster(file, stored(place)[1], names=NAMES, transform=NORTH_UP * Affine.translation(1, 0))
    assert run(place, output) != 0
    assert "lies on another grid" in capsys.readouterr().err
    assert run(place, output, "--warp") == 0
    assert read_raster(output)[0].shape == (4, 50, 61)

import json

import numpy as np
import pytest

from foveal.core.cli import main
from foveal.tests.fixtures.dated import DATES, NAMES, ground, square, write_place
from foveal.tests.fixtures.geotiff import write_raster


def check(folder, *options):
    report = folder.parent / "report.json"
    code = main(["cloudremoval", "check", "--input", str(folder), "--json", str(report), *map(str, options)])
    return code, json.loads(report.read_text())


def told(report, what="errors"):
    return {each["name"].rpartition("/")[2]: each[what] for each in report["items"] if each[what]}


def test_a_good_place_is_described(tmp_path, capsys):
    place = write_place(tmp_path / "place", nodata=0)
    code, report = check(place)
    assert (code, told(report), told(report, "warnings"), report["problems"]) == (0, {}, {}, [])
    assert len(report["items"]) == 3
    about = report["place place"]
    assert about["dates"] == "3, 2018-03-07 to 2018-07-30, longest gap 95 days (2018-03-07 to 2018-06-10)"
    assert about["cloud"].startswith("6% to 10%, median 10%; ")
    assert about["clouds from"] == "masks"
    assert about["grid"] == "61 × 50 pixels of 10 x 10 m, EPSG:32633"
    assert about["bands"] == "red from B4 red, green from B3 green, blue from B2 blue, nir from B8 nir"
    assert about["reflectance"] == "(stored + 0) / 10000"
    assert about["no data"] == "0"
    assert report["dates of place"]["2018-06-10"] == "6% cloud, 2018-06-10.tif"
    assert "clear on no date" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("crs", "grid"),
    [
        ("EPSG:2263", "pixels of 10 x 10 US survey foot, EPSG:2263"),
        ("EPSG:4326", "pixels of 10 x 10 °, EPSG:4326"),
        (None, "pixels, no CRS"),
    ],
)
def test_the_size_of_pixels_has_the_unit_of_the_coordinate_system(tmp_path, crs, grid):
    place = write_place(tmp_path / "place", masks=False, crs=crs)
    assert check(place)[1]["place place"]["grid"] == f"61 × 50 {grid}"


def test_every_date_that_cannot_be_used_is_told_why(tmp_path):
    place = write_place(tmp_path / "place", (*DATES, "2018-08-01", "2018-08-11", "2018-08-21", "2023-08-31"))
    images = place / "image"
    write_raster(images / "2018-08-01.tif", ground(), crs="EPSG:32634", names=NAMES)
    write_raster(images / "2018-08-11.tif", ground()[:3], names=NAMES[:3])
    (images / "2018-08-21.tif").write_bytes((images / "2018-08-21.tif").read_bytes()[:2000])
    code, report = check(place)
    assert code == 1
    errors = {name.removesuffix(".tif"): text for name, (text,) in told(report).items()}
    assert errors.keys() == {"2018-08-01", "2018-08-11", "2018-08-21", "2023-08-31"}
    assert "another grid than 2018-03-07.tif: " in errors["2018-08-01"]
    assert "no band shows nir" in errors["2018-08-11"]
    assert "cut short" in errors["2018-08-21"]
    assert "Give --offset -1000" in errors["2023-08-31"]
    assert report["place place"]["dates"].startswith("3, ")


def test_masks_of_0_and_255_are_taken(tmp_path):
    place = write_place(tmp_path / "place")
    for number, file in enumerate(sorted((place / "cloud_mask").iterdir())):
        write_raster(file, 255 * square(number)[None].astype(np.uint8))
    code, report = check(place)
    assert (code, report["place place"]["cloud"][:10]) == (0, "6% to 10%,")


def test_the_same_day_and_the_same_samples_are_told(tmp_path):
    place = write_place(tmp_path / "place", (*DATES, "2018-07-30_b"), masks=False)
    first, second = (place / "image" / f"{name}.tif" for name in ("2018-07-30", "2018-07-30_b"))
    second.write_bytes(first.read_bytes())
    code, report = check(place)
    assert code == 0
    (warnings,) = told(report, "warnings").values()
    assert warnings == ["the same samples as image/2018-07-30.tif", "of the same day as 2018-07-30.tif"]
    assert report["place place"]["clouds from"] == "colours"


def test_places_without_enough_clear_dates_are_told(tmp_path):
    few = write_place(tmp_path / "places" / "few", DATES[:2])
    cloudy = write_place(tmp_path / "places" / "cloudy")
    write_place(tmp_path / "places" / "good")
    for file in (cloudy / "cloud_mask").iterdir():
        write_raster(file, np.ones((1, 50, 61), np.uint8))
    code, report = check(tmp_path / "places")
    assert code == 1
    cloudy_told, few_told = report["problems"]
    assert few_told == "few: 2 usable dates, too few: 3 are taken at once"
    assert cloudy_told.startswith("cloudy: all dates have more cloud than 95%")
    assert "place good" in report
    assert check(few, "--dates", 2)[0] == 0


def test_many_places_have_a_line_each(tmp_path):
    for number in range(7):
        write_place(tmp_path / "places" / f"p{number}", height=8, width=9)
    code, report = check(tmp_path / "places")
    assert code == 0
    assert report["places"]["p6"].startswith("3, 2018-03-07 to 2018-07-30, cloud ")


@pytest.mark.parametrize(
    ("name", "told"), [("gone", "there is no such folder"), ("empty", "is no folder of dated GeoTIFFs")]
)
def test_a_folder_without_places_is_refused(tmp_path, name, told, capsys):
    (tmp_path / "empty").mkdir()
    assert main(["cloudremoval", "check", "--input", str(tmp_path / name)]) == 2
    assert told in capsys.readouterr().err


def test_a_per_cent_is_no_share_of_cloud(tmp_path, capsys):
    assert main(["cloudremoval", "check", "--input", str(tmp_path), "--most_cloud", "95"]) == 2
    assert "--most_cloud 95: give a share from 0 to 1" in capsys.readouterr().err

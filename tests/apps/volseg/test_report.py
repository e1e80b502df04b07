"""The report of a case: its numbers, its sheet and the table of all."""

import csv
import json

import numpy as np
import pytest

from foveal.apps.volseg.profiles import profiles
from foveal.apps.volseg.report import TABLE, Report, voxel_ml, write_table
from foveal.core.inference.journal import Journal
from foveal.core.outlines import numbered
from foveal.core.planes import GAP
from foveal.data.geometry import VolumeGeometry
from foveal.data.io.image import read_image
from foveal.tests.fixtures.encoding import open_as_ascii
from foveal.tests.fixtures.nifti import AFFINES

SHAPE = (6, 40, 50)
NAMES = ("liver", "spleen", "a name that is much longer than those of the others")


class Volume:
    """An array that is read in windows."""

    def __init__(self, array):
        self.array = array[None]
        self.shape = self.array.shape

    def read(self, window):
        return self.array[:, *window]


def labels():
    found = np.zeros(SHAPE, np.uint8)
    found[2:4, 10:30, 12:40] = 1
    found[3, 2, 3] = 2
    return Volume(found)


def report(affine="anisotropic", shown=None):
    return Report("one", numbered(NAMES), VolumeGeometry(SHAPE, AFFINES[affine]), shown, {"tta": True})


def test_volumes_are_those_of_the_voxels_however_they_lie():
    for name, expected in (
        ("anisotropic", 0.46875 * 0.5 * 5),
        ("sagittal", 0.9 * 1.1 * 4),
        ("oblique", 0.8 * 1.3 * 2.2),
    ):
        assert voxel_ml(VolumeGeometry(SHAPE, AFFINES[name])) == pytest.approx(expected / 1000)
    sheared = np.array([[1, 0.5, 0, 0], [0, 1, 0, 0], [0, 0, 2, 0], [0, 0, 0, 1.0]])
    assert voxel_ml(VolumeGeometry(SHAPE, sheared)) == pytest.approx(2 / 1000)


def test_a_class_that_is_not_there_has_no_place(tmp_path):
    path = tmp_path / "one_report.json"
    report().write(path, profiles(labels(), 4))
    liver, spleen, other = json.loads(path.read_text())["classes"]
    assert liver["voxels"] == 2 * 20 * 28
    assert liver["slices"] == {"count": 2, "first": 2, "last": 3}
    assert list(spleen["centroid_mm"].values()) == pytest.approx((AFFINES["anisotropic"] @ [3, 2, 3, 1])[:3], abs=1e-3)
    assert other == {
        "value": 3, "name": NAMES[2], "voxels": 0, "volume_ml": 0.0, "centroid_mm": None,
        "slices": {"count": 0, "first": None, "last": None},
    }  # fmt: skip
    (tmp_path / "other_report.json").write_text('{"of": "another program"}')
    Journal(tmp_path).record(path, "")
    write_table(tmp_path)
    lines = list(csv.DictReader((tmp_path / TABLE).open()))
    assert [each["case"] for each in lines] == ["one"] * 3
    assert [each["voxels"] for each in lines] == ["1120", "1", "0"]
    assert [each["centroid_R_mm"] for each in lines][2] == lines[2]["first_slice"] == ""


def test_names_of_classes_are_kept_where_text_is_not_utf_8(tmp_path, monkeypatch):
    open_as_ascii(monkeypatch)
    path = tmp_path / "one_report.json"
    named = Report("one", numbered(["Größe"]), VolumeGeometry(SHAPE, AFFINES["anisotropic"]), None, {})
    named.write(path, profiles(labels(), 2))
    Journal(tmp_path).record(path, "")
    write_table(tmp_path)
    assert json.loads(path.read_text("utf-8"))["classes"][0]["name"] == "Größe"
    assert "one,1,Größe," in (tmp_path / TABLE).read_text("utf-8")


def test_without_reports_the_table_of_an_earlier_run_goes_but_no_other(tmp_path):
    table = tmp_path / TABLE
    table.write_text("of an earlier run")
    Journal(tmp_path).record(table, "")
    write_table(tmp_path)
    assert not table.exists()
    table.write_text("somebody's own")
    write_table(tmp_path)
    assert table.exists()


def drawn(tmp_path, **options):
    image = Volume(np.random.default_rng(0).normal(0, 100, SHAPE).astype(np.float32))
    report(**options).draw(tmp_path / "sheet.png", profiles(labels(), 4), image, labels())
    return read_image(tmp_path / "sheet.png")


def test_the_sheet_has_planes_of_true_proportions_and_a_legend(tmp_path):
    picture = np.moveaxis(drawn(tmp_path), 0, -1)
    scale = 480 / 30  # pixels per millimetre, as six slices of 5 mm are the longest side
    width, depth = round(50 * 0.46875 * scale), round(40 * 0.5 * scale)
    assert picture.shape[1] == 2 * width + depth + 2 * GAP
    for part in (picture[:480], picture[480:]):
        assert all((part == each.colour).all(axis=-1).any() for each in numbered(NAMES)[:1])
    assert (picture[480:] == numbered(NAMES)[2].colour).all(axis=-1).any()


def test_values_are_shown_within_the_window_of_the_network(tmp_path):
    narrow, wide = drawn(tmp_path, shown=(-1.0, 1.0)), drawn(tmp_path)
    assert (narrow[0, :300] > 200).sum() > 2 * (wide[0, :300] > 200).sum()

import json

import numpy as np
import pytest

from foveal.core.errors import UserError
from foveal.data.io.slide.outlines import annotation, areas_of, outlines, read_mask, regions_of, write_annotations


@pytest.fixture
def mask():
    """A piece with a hole in which an island lies, and a piece that touches it by a corner and the border."""
    mask = np.zeros((20, 30), bool)
    mask[2:15, 3:20] = True
    mask[5:12, 6:16] = False
    mask[7:9, 8:10] = True
    mask[15:20, 20:30] = True
    return mask


def write(path, mask, step=4.0, shape=(80, 120)):
    regions, count = regions_of(mask)
    areas = areas_of(regions, count, step**2)
    found = list(outlines(regions, step, shape))
    write_annotations(path, (annotation(rings, "Tissue", (0, 158, 115), {"Area": areas[n]}) for n, rings in found))
    return [each["geometry"]["coordinates"] for each in json.loads(path.read_text())["features"]]


def test_outlines_have_holes_and_areas_in_pixels_of_the_finest_level(tmp_path, mask):
    polygons = write(tmp_path / "a.geojson", mask)
    assert sorted(map(len, polygons)) == [1, 1, 2]
    (holed,) = (each for each in polygons if len(each) == 2)
    assert np.asarray(holed[0]).min(axis=0).tolist() == [12, 8]
    assert np.asarray(holed[1]).max(axis=0).tolist() == [64, 48]
    features = json.loads((tmp_path / "a.geojson").read_text())["features"]
    assert sum(each["properties"]["measurements"]["Area"] for each in features) == mask.sum() * 16
    assert {each["properties"]["classification"]["name"] for each in features} == {"Tissue"}


def test_what_is_written_is_read_back(tmp_path, mask):
    write(tmp_path / "a.geojson", mask)
    np.testing.assert_array_equal(read_mask(tmp_path / "a.geojson", mask.shape, 4.0), mask)
    finer = read_mask(tmp_path / "a.geojson", (80, 120), 1.0)
    np.testing.assert_array_equal(finer, mask.repeat(4, axis=0).repeat(4, axis=1))


def test_no_outline_leaves_the_slide(tmp_path, mask):
    polygons = write(tmp_path / "a.geojson", mask, shape=(78, 119))
    corners = np.concatenate([np.asarray(ring) for polygon in polygons for ring in polygon])
    assert corners.max(axis=0).tolist() == [119, 78]


def test_other_forms_of_geojson_are_read(tmp_path):
    square = [[[0, 0], [8, 0], [8, 8], [0, 8], [0, 0]]]
    several = {"type": "MultiPolygon", "coordinates": [square]}
    path = tmp_path / "a.geojson"
    for content in (
        several,
        {"type": "Feature", "geometry": several},
        [
            {"type": "Feature", "geometry": several},
            {"type": "Feature", "geometry": {"type": "Point", "coordinates": [9, 9]}},
        ],
        {"type": "GeometryCollection", "geometries": [{"type": "Polygon", "coordinates": square}]},
    ):
        path.write_text(json.dumps(content))
        assert read_mask(path, (4, 4), 4.0).sum() == 4


def test_no_polygon_is_no_tissue(tmp_path):
    write_annotations(tmp_path / "a.geojson", [])
    assert not read_mask(tmp_path / "a.geojson", (4, 4), 1.0).any()


@pytest.mark.parametrize("text", ["", "{", "3", "[1]", '{"features": [{"geometry": null}]}', '{"a": 1}', '"text"'])
def test_what_is_no_geojson_is_told(tmp_path, text):
    (tmp_path / "a.geojson").write_text(text)
    with pytest.raises(UserError, match=r"a\.geojson: is no GeoJSON"):
        read_mask(tmp_path / "a.geojson", (4, 4), 1.0)
    with pytest.raises(UserError, match=r"b\.geojson: there is no such file"):
        read_mask(tmp_path / "b.geojson", (4, 4), 1.0)

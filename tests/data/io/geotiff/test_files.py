import os
import re
import subprocess
import sys
from datetime import datetime

import numpy as np
import pytest
import rasterio
import rasterio.shutil
import torch
from affine import Affine
from rasterio.control import GroundControlPoint
from rasterio.enums import ColorInterp

from foveal.core.errors import UserError
from foveal.core.inference.engine import Engine
from foveal.core.weights.label import Label
from foveal.data.io.geotiff import GeoTiffSink, GeoTiffSource
from foveal.data.io.geotiff.dates import find_date
from foveal.data.io.geotiff.store import BlockStore
from foveal.data.io.tiff_layout import read_layout
from foveal.tests.fixtures.geotiff import (
    GEOMETRIES,
    HEIGHT,
    NORTH_UP,
    UTM,
    WIDTH,
    read_raster,
    samples,
    write_raster,
)
from foveal.tests.fixtures.programs import ToyProgram, identity, nearest

WHOLE = slice(0, HEIGHT), slice(0, WIDTH)
NEXT_ZONE = Affine(10, 0, 35886, 0, -10, 5117528)
"""About where NORTH_UP lies, in EPSG:32634."""
LABELS = (Label(value=1, name="water", colour=(0, 0, 255)), Label(value=2, name="cloud", colour=(255, 255, 255)))


def channels(count):
    return tuple(f"c{number}" for number in range(count))


def run(paths, output, program=None, tile=16, overlap=4, cog=False, **options):
    """Send rasters through the engine, unchanged if no program is given."""
    with GeoTiffSource(paths, **options) as source:
        program = program or identity(channels=channels(source.shape[-3]))
        with GeoTiffSink.like(output, source, program.card, cog=cog) as sink:
            Engine(program, program.card, tile=tile, overlap=overlap).run(source, sink)
    assert not [file.name for file in output.parent.iterdir() if file.name.startswith(".")]
    return output


def assert_copied(path, tmp_path, **options):
    """Assert that what passes through the engine unchanged is written as it was."""
    before, said_before = read_raster(path)
    after, said_after = read_raster(run(path, tmp_path / "copy.tif", **options))
    assert said_after == said_before
    if before.dtype.kind == "f":
        assert np.allclose(after, before, rtol=1e-6, atol=0, equal_nan=True)  # as blending rounds
    else:
        assert np.array_equal(after, before)


@pytest.mark.parametrize("name", GEOMETRIES)
def test_geometry_is_kept(tmp_path, name):
    crs, transform = GEOMETRIES[name]
    path = write_raster(tmp_path / "a.tif", samples(3), crs, transform, names=("red", "green", "nir"))
    assert_copied(path, tmp_path)


@pytest.mark.parametrize("name", GEOMETRIES)
def test_a_larger_output_covers_the_same_ground(tmp_path, name):
    crs, transform = GEOMETRIES[name]
    path = write_raster(tmp_path / "a.tif", samples(3), crs, transform)
    output = run(path, tmp_path / "b.tif", nearest(3, channels=channels(3)))
    with rasterio.open(path) as before, rasterio.open(output) as after:
        assert after.crs == before.crs
        assert after.shape == (3 * HEIGHT, 3 * WIDTH)
        assert np.allclose(after.transform * (3 * WIDTH, 3 * HEIGHT), before.transform * (WIDTH, HEIGHT), rtol=1e-12)
        assert np.array_equal(after.read()[:, 1::3, 1::3], before.read())


@pytest.mark.parametrize(
    "dtype", ["uint8", "int8", "uint16", "int16", "uint32", "int32", "int64", "float32", "float64"]
)
def test_every_number_type_is_kept(tmp_path, dtype):
    assert_copied(write_raster(tmp_path / "a.tif", samples(2, dtype)), tmp_path)


@pytest.mark.parametrize(
    ("dtype", "nodata"),
    [("uint8", 0), ("uint8", 255), ("uint16", 0), ("int16", -9999), ("float32", -9999), ("float32", float("nan"))],
)
@pytest.mark.parametrize("place", [(slice(5, 20), slice(30, 50)), (slice(0, HEIGHT), slice(0, WIDTH))])
def test_nodata_counts_for_nothing_and_comes_out_as_nodata(tmp_path, dtype, nodata, place):
    array = samples(3, dtype)
    array[:, *place] = nodata
    array[1, 40, 3] = nodata  # one band alone
    path = write_raster(tmp_path / "a.tif", array, nodata=nodata)
    with GeoTiffSource(path) as source:
        values, valid = source.read(WHOLE), source.valid(WHOLE)
        assert values.dtype == np.float32
        assert not values[:, *place].any()
        assert not valid[:, *place].any()
        assert valid[:, 40, 3].tolist() == ([True, False, True] if place[0].start else [False] * 3)
        assert source.is_empty(place)
        assert source.is_empty(WHOLE) == (place == WHOLE)
        assert np.array_equal(values[valid], array[valid].astype(np.float32))
    assert_copied(path, tmp_path)


@pytest.mark.parametrize(("dtype", "nodata", "moved"), [("uint8", 7, 8), ("uint8", 255, 254), ("int16", -9999, -9998)])
def test_no_value_becomes_nodata_by_chance(tmp_path, dtype, nodata, moved):
    array = samples(1, dtype)
    path = write_raster(tmp_path / "a.tif", array, nodata=nodata)
    program = ToyProgram(lambda x: torch.full_like(x, nodata), channels=("one",))
    after, _ = read_raster(run(path, tmp_path / "b.tif", program))
    assert np.array_equal(after, np.where(array == nodata, nodata, moved))


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"])
def test_values_beyond_the_type_become_its_ends(tmp_path, dtype):
    path = write_raster(tmp_path / "a.tif", samples(1, dtype))
    program = ToyProgram(lambda x: torch.where(x > x.mean(), 1e30, -1e30), channels=("one",))
    after, _ = read_raster(run(path, tmp_path / "b.tif", program, tile=None))
    limits = np.iinfo(dtype)
    assert after.min() == limits.min
    assert after.max() >= limits.max - 2048  # float64's step there


def test_values_are_rounded_and_cut_off(tmp_path):
    path = write_raster(tmp_path / "a.tif", np.array([[[10, 20, 30, 40]]], np.uint8).repeat(2, 1))
    program = ToyProgram(lambda x: (x - 10.4) * 10, channels=("one",))
    after, _ = read_raster(run(path, tmp_path / "b.tif", program))
    assert after[0, 0].tolist() == [0, 96, 196, 255]


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_a_mask_inside_the_file_is_kept(tmp_path, dtype):
    mask = np.ones((HEIGHT, WIDTH), bool)
    mask[10:30, 20:60] = False
    array = samples(3, dtype) * mask
    path = write_raster(tmp_path / "a.tif", array, mask=mask)
    with GeoTiffSource(path) as source:
        assert np.array_equal(source.valid(WHOLE), mask)
        assert source.is_empty((slice(12, 25), slice(22, 40)))
    assert_copied(path, tmp_path)


def test_a_mask_beside_the_file_is_read(tmp_path):
    mask = np.ones((HEIGHT, WIDTH), bool)
    mask[3:9] = False
    path = write_raster(tmp_path / "a.tif", samples(1))
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(path, "r+") as file:
        file.write_mask(mask)
    assert (tmp_path / "a.tif.msk").exists()
    with GeoTiffSource(path) as source:
        assert np.array_equal(source.valid(WHOLE), mask)


def test_an_alpha_band_is_a_mask_and_no_channel(tmp_path):
    array = samples(4, "uint8")
    array[3] = 255
    array[:, 20:40, 5:25] = 0
    path = write_raster(tmp_path / "a.tif", array, photometric="rgb", alpha="yes")
    with GeoTiffSource(path) as source:
        assert source.shape == (3, HEIGHT, WIDTH)
        assert np.array_equal(source.valid(WHOLE), array[3] > 0)
    after, said = read_raster(run(path, tmp_path / "b.tif"))
    assert np.array_equal(after, array[:3])
    assert np.array_equal(np.array(said["valid"][0]) > 0, array[3] > 0)
    assert said["colours"] == (ColorInterp.red, ColorInterp.green, ColorInterp.blue)


def test_what_is_not_finite_counts_for_nothing(tmp_path):
    array = samples(2, "float32")
    array[0, 4, 5:9], array[1, 30, 2] = np.nan, np.inf
    path = write_raster(tmp_path / "a.tif", array)
    with GeoTiffSource(path) as source:
        assert np.isfinite(source.read(WHOLE)).all()
        assert np.array_equal(source.valid(WHOLE), np.isfinite(array))
    after, _ = read_raster(run(path, tmp_path / "b.tif"))
    assert np.allclose(after, np.where(np.isfinite(array), array, np.nan), rtol=1e-6, equal_nan=True)


def test_scale_and_offset_give_physical_values_and_are_undone(tmp_path):
    array = samples(2)
    scales, offsets = (1e-4, 0.01), (-0.1, 273.15)
    path = write_raster(tmp_path / "a.tif", array, scales=scales, offsets=offsets, units=("reflectance", "K"))
    with GeoTiffSource(path) as source:
        physical = array * np.reshape(scales, (2, 1, 1)) + np.reshape(offsets, (2, 1, 1))
        assert np.allclose(source.read(WHOLE), physical, rtol=1e-6)
    assert_copied(path, tmp_path)


def test_bands_are_chosen_by_number_description_or_word(tmp_path):
    array = samples(4)
    path = write_raster(tmp_path / "a.tif", array, names=("B4 red", "B3 green", "B2 blue", "B8 nir"))
    for bands in [(4, 1), ("B8 nir", "B4 red"), ("nir", "b4"), "B8,1"]:
        with GeoTiffSource(path, bands=bands) as source:
            assert source.channels == ("B8 nir", "B4 red")
            assert np.array_equal(source.read(WHOLE), array[[3, 0]])
    write_raster(tmp_path / "named.tif", array, names=("Band 2", "Band 3", "Band 4", "Band 8"))
    with GeoTiffSource(tmp_path / "named.tif", bands=("2", "8")) as source:  # a number first of all
        assert source.channels == ("Band 3", "Band 8")
    for bands in [(5,), (0,), ("B5",), ("B",)]:
        with pytest.raises(UserError, match=r"a\.tif: has no band .*1 \(B4 red\).*--bands"):
            GeoTiffSource(path, bands=bands)


def test_a_part_of_the_bands_keeps_what_belongs_to_them(tmp_path):
    path = write_raster(
        tmp_path / "a.tif",
        samples(3),
        names=("a", "b", "c"),
        scales=(1, 2, 3),
        offsets=(0, 5, 9),
        units=("m", "s", "K"),
    )
    program = ToyProgram(lambda x: x[:, [1, 0]], channels=("x", "y"), outputs=("y", "x"))
    after, said = read_raster(run(path, tmp_path / "b.tif", program, bands=(2, 3)))
    assert np.array_equal(after, samples(3)[[2, 1]])
    assert (said["names"], said["scales"], said["units"]) == (("c", "b"), (3, 2), ("K", "s"))


def test_tags_that_stay_true_are_kept(tmp_path):
    tags = {"PLATFORM": "S2A", "TIFFTAG_SOFTWARE": "another", "TIFFTAG_XRESOLUTION": "10", "AREA_OR_POINT": "Point"}
    band_tags = {"wavelength": "665", "STATISTICS_MEAN": "12"}
    path = write_raster(tmp_path / "a.tif", samples(1), tags=tags, names=("red",), band_tags=band_tags)
    with rasterio.open(run(path, tmp_path / "b.tif")) as same:
        assert same.tags()["PLATFORM"] == "S2A"
        assert same.tags()["AREA_OR_POINT"] == "Point"
        assert "TIFFTAG_SOFTWARE" not in same.tags()
        assert same.tags(1) == {"wavelength": "665"}
        assert same.transform == NORTH_UP
    with rasterio.open(run(path, tmp_path / "c.tif", nearest(2, channels=("one",)))) as larger:
        assert "TIFFTAG_XRESOLUTION" not in larger.tags()


def test_a_colour_table_is_kept(tmp_path):
    colours = {0: (0, 0, 0, 255), 1: (10, 20, 30, 255), 2: (1, 2, 3, 255)}
    path = write_raster(tmp_path / "a.tif", samples(1, "uint8") % 3, colours=colours)
    assert_copied(path, tmp_path)
    with rasterio.open(tmp_path / "copy.tif") as file:
        assert {value: file.colormap(1)[value] for value in colours} == colours


def test_many_bands(tmp_path):
    names = tuple(f"{400 + 10 * number} nm" for number in range(120))
    path = write_raster(tmp_path / "a.tif", samples(120, "int16"), names=names, interleave="band")
    assert_copied(path, tmp_path)


@pytest.mark.parametrize("has_nodata", [False, True])
def test_label_maps_have_names_colours_and_nodata_where_the_source_has(tmp_path, has_nodata):
    array = samples(2)
    if has_nodata:
        array[:, 10:20, 10:20] = 0
    path = write_raster(tmp_path / "a.tif", array, nodata=0)
    program = ToyProgram(
        lambda x: torch.stack([x[:, 0] * 0 + 5000, x[:, 0], x[:, 1]], dim=1),
        channels=("a", "b"),
        outputs=("ground", "water", "cloud"),
        activation="argmax",
        labels=LABELS,
    )
    with rasterio.open(run(path, tmp_path / "b.tif", program)) as file:
        labels = file.read(1)
        expected = np.concatenate([np.full((1, HEIGHT, WIDTH), 5000), array]).argmax(0)
        assert np.array_equal(labels, np.where((array == 0).all(0), 255, expected))
        assert file.nodata == (255 if has_nodata else None)
        assert file.dtypes == ("uint8",)
        assert file.colormap(1)[1] == (0, 0, 255, 255)
        assert file.tags(1) == {"LABEL_1": "water", "LABEL_2": "cloud"}
        assert (file.crs, file.transform) == (UTM, NORTH_UP)


def test_independent_classes_are_bands_of_their_own(tmp_path):
    array = samples(2)
    array[:, 10:20, 10:20] = 0
    path = write_raster(tmp_path / "a.tif", array, nodata=0)
    facts = {"outputs": ("water", "cloud"), "activation": "threshold", "labels": LABELS}
    program = ToyProgram(lambda x: x - 5000, channels=("a", "b"), **facts)
    after, said = read_raster(run(path, tmp_path / "b.tif", program))
    assert np.array_equal(after, np.where((array == 0).all(0), 255, array > 5000))
    assert (said["nodata"], said["names"], said["dtypes"]) == ("255.0", ("water", "cloud"), ("uint8",) * 2)
    assert {tuple(each) for each in after.reshape(2, -1).T} == {(0, 0), (0, 1), (1, 0), (1, 1), (255, 255)}


def test_a_dark_band_alone_makes_no_hole_in_a_label_map(tmp_path):
    array = samples(3, "uint8")
    array[0, 7, 7] = 0
    path = write_raster(tmp_path / "a.tif", array, nodata=0)
    program = ToyProgram(lambda x: x[:, :1] * 0 + 1, channels=channels(3), outputs=("all",), activation="threshold")
    after, said = read_raster(run(path, tmp_path / "b.tif", program))
    assert (after == 1).all()
    assert said["nodata"] is None


def test_probabilities_are_floats_and_nan_where_nothing_counts(tmp_path):
    array = samples(2)
    array[:, 10:40, 10:40] = 0
    path = write_raster(tmp_path / "a.tif", array, nodata=0)
    program = ToyProgram(lambda x: x / 1e4, channels=("a", "b"), outputs=("clear", "cloud"), activation="sigmoid")
    after, said = read_raster(run(path, tmp_path / "b.tif", program))
    hole = (array == 0).all(0)
    assert np.isnan(after[:, hole]).all()
    assert np.allclose(after[:, ~hole], 1 / (1 + np.exp(array[:, ~hole] / -1e4)), atol=1e-6)
    assert (said["nodata"], said["names"], said["dtypes"]) == ("nan", ("clear", "cloud"), ("float32",) * 2)


def dated(folder, days, seed=0, **options):
    folder.mkdir(exist_ok=True)
    return [
        write_raster(folder / f"S2A_{day}T101141_x.tif", samples(2, seed=seed + number), **options)
        for number, day in enumerate(days)
    ]


def test_a_folder_is_many_dates_in_order(tmp_path):
    files = dated(tmp_path / "place", ["20180405", "20180110", "20180301"])
    (tmp_path / "place" / "notes.txt").write_text("no raster")
    for paths in (tmp_path / "place", files):
        with GeoTiffSource(paths) as source:
            assert source.shape == (3, 2, HEIGHT, WIDTH)
            assert source.dates == tuple(
                datetime(2018, month, day, 10, 11, 41) for month, day in [(1, 10), (3, 1), (4, 5)]
            )
            assert np.array_equal(source.read(WHOLE), [samples(2, seed=seed) for seed in (1, 2, 0)])
    with GeoTiffSource(files[:1]) as source:
        assert source.shape == (1, 2, HEIGHT, WIDTH)
    with GeoTiffSource(files[0]) as source:
        assert (source.shape, source.dates) == ((2, HEIGHT, WIDTH), ())


def test_some_dates_of_a_folder_are_kept(tmp_path):
    dated(tmp_path, ["20180405", "20180110", "20180301"], nodata=0)
    with GeoTiffSource(tmp_path) as source:
        source.read(WHOLE)
        source.keep([0, 2])
        assert source.shape == (2, 2, HEIGHT, WIDTH)
        assert [date.month for date in source.dates] == [1, 4]
        assert np.array_equal(source.read(WHOLE), [samples(2, seed=seed) for seed in (1, 0)])


def test_each_date_tells_which_pixels_count(tmp_path):
    arrays = [samples(2, seed=seed) for seed in range(2)]
    arrays[0][:, :9], arrays[1][1, :, :5] = 0, 0
    for seed, array in enumerate(arrays):
        write_raster(tmp_path / f"2018010{seed + 1}.tif", array, nodata=0)
    with GeoTiffSource(tmp_path) as source:
        rows, columns = slice(4, 20), slice(2, 30)
        assert np.array_equal(
            source.valid_by_date((rows, columns)), [array[:, rows, columns].all(axis=0) for array in arrays]
        )


def test_dates_come_from_tags_where_names_tell_none(tmp_path):
    for number, date in enumerate(["2019:05:01 00:00:00", "2018:05:01 00:00:00"]):
        write_raster(tmp_path / f"{number}.tif", samples(1, seed=number), tags={"TIFFTAG_DATETIME": date})
    with GeoTiffSource(tmp_path) as source:
        assert [date.year for date in source.dates] == [2018, 2019]
        assert np.array_equal(source.read(WHOLE)[0], samples(1, seed=1))
    write_raster(tmp_path / "2.tif", samples(1))
    with GeoTiffSource(tmp_path) as source:
        assert source.dates == ()
        assert [raster.path.name for raster in source.rasters] == ["0.tif", "1.tif", "2.tif"]


@pytest.mark.parametrize(
    ("text", "date"),
    [
        ("LC08_L1TP_010012_20180210_20180222_01_T1", datetime(2018, 2, 10)),
        ("2018-02-10", datetime(2018, 2, 10)),
        ("20180210_101141_0f21", datetime(2018, 2, 10, 10, 11, 41)),
        ("MOD09A1.A2018041.h18v04", datetime(2018, 2, 10)),
        ("2018-02-30", None),
        ("patch_123456789", None),
    ],
)
def test_dates_are_found_in_names(text, date):
    assert find_date(text) == date


def test_many_dates_become_one_image(tmp_path):
    dated(tmp_path / "place", ["20180110", "20180301", "20180405"], nodata=0)
    with rasterio.open(tmp_path / "place" / "S2A_20180301T101141_x.tif", "r+") as file:
        file.write(np.zeros((2, 20, 20), np.uint16), window=((0, 20), (0, 20)))
    program = ToyProgram(lambda x: x[:, :2], channels=("a", "b"), dates=3)
    after, said = read_raster(run(tmp_path / "place", tmp_path / "b.tif", program))
    assert np.array_equal(after, samples(2, seed=0))
    assert said["crs"] == UTM


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"transform": NORTH_UP * Affine.translation(1, 0)}, "corners 1 pixels apart"),
        ({"crs": "EPSG:32634", "transform": NEXT_ZONE}, "EPSG:32633 against EPSG:32634"),
        ({"array": samples(2, height=HEIGHT - 1)}, f"{HEIGHT} x {WIDTH} pixels against {HEIGHT - 1} x {WIDTH}"),
    ],
)
def test_dates_on_another_grid_are_refused_unless_told_to_warp(tmp_path, change, reason):
    files = dated(tmp_path, ["20180110", "20180301"])
    write_raster(files[1], **({"array": samples(2, seed=1)} | change))
    with pytest.raises(UserError, match=f"S2A_20180301.*another grid than S2A_20180110.*{reason}.*--warp"):
        GeoTiffSource(tmp_path)
    with GeoTiffSource(tmp_path, warp=True) as source:
        assert source.shape == (2, 2, HEIGHT, WIDTH)
        assert np.array_equal(source.read(WHOLE)[0], samples(2))


def test_a_date_of_another_place_is_refused_even_when_told_to_warp(tmp_path):
    _, second = dated(tmp_path, ["20180110", "20180301"])
    write_raster(second, samples(2), crs="EPSG:32632")
    with pytest.raises(UserError, match=f"{second.name}: shows another place than the first raster; leave it out"):
        GeoTiffSource(tmp_path, warp=True)


@pytest.mark.parametrize("nodata", [None, 0])
def test_warped_dates_lie_where_they_belong(tmp_path, nodata):
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    ramp = (100 + 10 * rows + 20 * columns)[None].astype(np.uint16)
    write_raster(tmp_path / "2018-01-01.tif", ramp, nodata=nodata)
    half = NORTH_UP * Affine.translation(4.5, -3.5)
    write_raster(tmp_path / "2018-01-02.tif", ramp, transform=half, nodata=nodata)
    with GeoTiffSource(tmp_path, warp=True) as source:
        second = source.read(WHOLE)[1]
        inside = slice(0, HEIGHT - 5), slice(6, WIDTH)
        assert np.allclose(second[0, *inside], ramp[0, *inside] - 10 * -3.5 - 20 * 4.5, atol=1)
        assert not second[0, :, :4].any()
        assert source.rasters[1].values((slice(0, HEIGHT), slice(0, 3)))[1].any() == False  # noqa: E712
        assert source.valid(WHOLE).all()  # the first date counts everywhere


def test_dates_of_other_bands_or_types_are_refused(tmp_path):
    write_raster(tmp_path / "2018-01-01.tif", samples(2))
    write_raster(tmp_path / "2018-01-02.tif", samples(3))
    with pytest.raises(UserError, match=r"has 3 bands of uint16, 2018-01-01\.tif has 2 of uint16"):
        GeoTiffSource(tmp_path)
    write_raster(tmp_path / "2018-01-02.tif", samples(2, "uint8"))
    with pytest.raises(UserError, match="has 2 bands of uint8"):
        GeoTiffSource(tmp_path)


def test_ground_control_points_alone_are_refused_unless_told_to_warp(tmp_path):
    corners = [(0, 0), (0, WIDTH), (HEIGHT, 0), (HEIGHT, WIDTH)]
    points = [GroundControlPoint(row, column, *(NORTH_UP * (column, row))) for row, column in corners]
    with rasterio.open(
        tmp_path / "a.tif",
        "w",
        driver="GTiff",
        count=1,
        dtype="uint16",
        height=HEIGHT,
        width=WIDTH,
        gcps=points,
        crs=UTM,
    ) as file:
        file.write(samples(1))
    with pytest.raises(UserError, match=r"a\.tif: is located by ground control points only.*--warp.*gdalwarp"):
        GeoTiffSource(tmp_path / "a.tif")
    with GeoTiffSource(tmp_path / "a.tif", warp=True) as source:
        assert source.geometry.crs == UTM
        assert abs(source.geometry.transform.c - NORTH_UP.c) < 10
        rows, columns = source.shape[1:]
        middle = source.read((slice(0, rows), slice(0, columns)))
        assert abs(middle.mean() - samples(1).mean()) < 200


def test_a_file_without_a_crs_is_read_with_a_warning(tmp_path, caplog):
    path = write_raster(tmp_path / "a.tif", samples(1), None, Affine.identity())
    with GeoTiffSource(path) as source:
        assert source.geometry.crs is None
        assert source.geometry.transform.is_identity
    assert "a.tif: names no CRS" in caplog.text


def test_a_sparse_file_is_not_decoded_where_it_is_empty_and_stays_sparse(tmp_path, monkeypatch):
    profile = {"driver": "GTiff", "count": 2, "dtype": "uint16", "height": 300, "width": 400, "crs": UTM}
    profile |= {"tiled": True, "blockxsize": 32, "blockysize": 32, "sparse_ok": True, "transform": NORTH_UP}
    with rasterio.open(tmp_path / "a.tif", "w", **profile) as file:
        file.write(samples(2, height=32, width=32), window=((64, 96), (128, 160)))
    with GeoTiffSource(tmp_path / "a.tif") as source:
        decode = source.first._decode
        monkeypatch.setattr(source.first, "_decode", lambda window: pytest.fail("decoded"))
        assert source.is_empty((slice(0, 64), slice(0, 400)))
        assert not source.valid((slice(100, 300), slice(0, 400))).any()
        monkeypatch.setattr(source.first, "_decode", decode)
        valid = source.valid((slice(0, 300), slice(0, 400)))
        assert valid.sum() == 32 * 32
        assert valid[64:96, 128:160].all()
    output = run(tmp_path / "a.tif", tmp_path / "b.tif", tile=48)
    assert np.array_equal(read_raster(output)[0], read_raster(tmp_path / "a.tif")[0])
    assert read_layout(output).stored.sum() == 1


def test_a_file_that_was_never_written_to_is_empty(tmp_path):
    profile = {"driver": "GTiff", "count": 4, "dtype": "uint16", "height": 4000, "width": 4000, "crs": UTM}
    with rasterio.open(tmp_path / "a.tif", "w", **profile, tiled=True, sparse_ok=True, transform=NORTH_UP):
        pass
    with GeoTiffSource(tmp_path / "a.tif") as source:
        assert source.is_empty((slice(0, 4000), slice(0, 4000)))


LAYOUTS = {
    "tiles": {"tiled": True, "blockxsize": 64, "blockysize": 48, "compress": "deflate"},
    "strips": {"blockysize": 7, "compress": "deflate"},
    "bands apart": {"tiled": True, "blockxsize": 64, "blockysize": 64, "interleave": "band", "compress": "deflate"},
    "one strip": {"blockysize": 400, "compress": "deflate"},
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("cache", [1 << 24, 1])
def test_wide_rasters_are_decoded_once(tmp_path, monkeypatch, layout, cache):
    array = samples(2, height=400, width=700)
    array[:, 100:180, 300:420] = 0
    path = write_raster(tmp_path / "a.tif", array, nodata=0, **LAYOUTS[layout])
    monkeypatch.setattr("foveal.data.io.geotiff.raster.STORED_SIDE", 64)
    monkeypatch.setattr("foveal.data.io.geotiff.raster.STORED_STRIP", 1 << 15)
    decoded = 0
    with GeoTiffSource(path) as source:
        source.first.cache = cache
        decode = source.first._decode

        def counted(window):
            nonlocal decoded
            result = decode(window)
            decoded += result.size
            return result

        monkeypatch.setattr(source.first, "_decode", counted)
        for top in range(0, 360, 30):
            for left in range(0, 660, 30):
                window = slice(top, top + 40), slice(left, left + 40)
                assert np.array_equal(source.read(window), array[:, *window])
    if cache == 1:
        assert decoded <= 1.1 * array.size
        assert source.first.store is not None


def test_blocks_may_be_read_backwards_and_in_taller_windows():
    array = samples(3, height=100, width=90)
    store = BlockStore((3, 100, 90), array.dtype, (16, 32), 1, lambda window: array[:, *window])
    generator = np.random.default_rng(0)
    for _ in range(200):
        top, bottom = sorted(generator.integers(0, 101, 2))
        left, right = sorted(generator.integers(0, 91, 2))
        if top < bottom and left < right:
            window = slice(top, bottom), slice(left, right)
            assert np.array_equal(store.read(window), array[:, *window])
    store.close()


def test_a_cloud_optimised_file_has_overviews_and_the_same_pixels(tmp_path):
    mask = np.ones((1100, 1300), bool)
    mask[200:400, 300:900] = False
    array = samples(2, height=1100, width=1300) * mask
    path = write_raster(tmp_path / "a.tif", array, names=("a", "b"), mask=mask, tiled=True)
    output = run(path, tmp_path / "b.tif", tile=512, overlap=16, cog=True)
    before, after = read_raster(path), read_raster(output)
    assert np.array_equal(after[0], before[0])
    assert after[1] == before[1]
    with rasterio.open(output) as file:
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert file.overviews(1) == [2, 4]
        assert file.block_shapes == [(512, 512)] * 2
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a.tif", "b.tif"]


@pytest.mark.parametrize("cog", [False, True])
def test_the_same_work_gives_the_same_bytes(tmp_path, cog):
    path = write_raster(tmp_path / "a.tif", samples(3, height=700, width=900), nodata=0)
    first = run(path, tmp_path / "b.tif", tile=300, overlap=16, cog=cog).read_bytes()
    again = run(path, tmp_path / "c.tif", tile=300, overlap=16, cog=cog).read_bytes()
    assert first == again


@pytest.mark.parametrize("interleave", ["pixel", "band"])
def test_outputs_are_tiled_and_compressed(tmp_path, interleave):
    path = write_raster(tmp_path / "a.tif", samples(2), interleave=interleave)
    with rasterio.open(run(path, tmp_path / "b.tif")) as file:
        assert file.profile["compress"] == "deflate"
        assert file.profile["tiled"]
        assert file.block_shapes == [(512, 512)] * 2


def test_other_bands_than_the_card_wants_are_refused(tmp_path):
    path = write_raster(tmp_path / "a.tif", samples(4))
    with pytest.raises(UserError, match=r"a\.tif: has 4 bands, the network takes 3 \(c0, c1, c2\).*--bands"):
        run(path, tmp_path / "b.tif", identity(channels=channels(3)))
    with pytest.raises(UserError, match=r"b\.png: a raster is written as GeoTIFF"):
        run(path, tmp_path / "b.png")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a.tif"]


def test_what_is_no_raster_of_numbers_is_refused(tmp_path):
    write_raster(tmp_path / "complex.tif", samples(1, "float32").astype(np.complex64))
    (tmp_path / "text.tif").write_text("no raster")
    (tmp_path / "empty.tif").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    for number in range(2):
        write_raster(tmp_path / "pages.tif", samples(1), append_subdataset=bool(number))
    for paths, reason in [
        (tmp_path / "complex.tif", "holds complex numbers"),
        (tmp_path / "text.tif", "damaged.*no TIFF"),
        (tmp_path / "empty.tif", "damaged"),
        (tmp_path / "pages.tif", "has 2 pages"),
        (tmp_path / "missing.tif", "there is no such file"),
        (tmp_path / "folder", "holds no file that ends in .tif"),
        ([], "empty"),
        ([tmp_path / "folder"], "is a folder"),
    ]:
        with pytest.raises(UserError, match=reason):
            GeoTiffSource(paths)


def edited(path, tag, value):
    """Write another number into a tag of a little-endian TIFF file."""
    data = bytearray(path.read_bytes())
    start = int.from_bytes(data[4:8], "little")
    for entry in range(start + 2, start + 2 + 12 * int.from_bytes(data[start : start + 2], "little"), 12):
        if int.from_bytes(data[entry : entry + 2], "little") == tag:
            size = 2 if data[entry + 2] == 3 else 4
            data[entry + 8 : entry + 8 + size] = value.to_bytes(size, "little")
            path.write_bytes(data)
            return path
    raise AssertionError(f"no tag {tag}")


COMMON_EDITS = [(256, 60000), (257, 60000), (256, 0), (277, 60000), (258, 0)]
EDITS = {"tiles": [*COMMON_EDITS, (322, 0), (323, 60000)], "strips": [*COMMON_EDITS, (278, 1)]}


@pytest.mark.parametrize(("layout", "tag", "value"), [(name, *edit) for name, edits in EDITS.items() for edit in edits])
def test_declared_sizes_are_checked_against_the_file(tmp_path, layout, tag, value):
    path = write_raster(tmp_path / "a.tif", samples(1, height=400, width=700), **LAYOUTS[layout])
    edited(path, tag, value)
    with (
        pytest.raises(UserError, match=re.escape("a.tif: the file is damaged or was cut short")),
        GeoTiffSource(path) as source,
    ):
        source.read((slice(0, source.shape[1]), slice(0, 100)))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_file_cut_short_is_refused_before_any_work(tmp_path, layout):
    path = write_raster(tmp_path / "a.tif", samples(1, height=400, width=700), **LAYOUTS[layout])
    os.truncate(path, path.stat().st_size - 1)
    with pytest.raises(UserError, match=r"a\.tif: the file is damaged or was cut short"):
        GeoTiffSource(path)


@pytest.mark.parametrize("place", [1 << 62, 1 << 63, 2**64 - 1, 10**6])
def test_a_directory_beyond_the_end_is_refused(tmp_path, place):
    path = write_raster(tmp_path / "a.tif", samples(1), BIGTIFF="YES")
    data = path.read_bytes()
    path.write_bytes(data[:8] + place.to_bytes(8, "little") + data[16:])
    with pytest.raises(UserError, match=r"a\.tif: the file is damaged.*beyond its end"):
        GeoTiffSource(path)


@pytest.mark.parametrize("transform", [Affine(1e-300, 0, 0, 0, 1e-300, 0), Affine(np.inf, 0, 0, 0, -1, 0)])
def test_a_transform_that_leads_nowhere_is_refused(tmp_path, transform):
    path = write_raster(tmp_path / "a.tif", samples(1), transform=transform)
    with pytest.raises(UserError, match=r"a\.tif: has an impossible transform"):
        GeoTiffSource(path)


def test_a_scale_of_zero_is_refused(tmp_path):
    path = write_raster(tmp_path / "a.tif", samples(1), scales=(0,), offsets=(1,))
    with pytest.raises(UserError, match=r"a\.tif: has an impossible scale or offset"):
        GeoTiffSource(path)


def test_damage_inside_is_told_and_leaves_no_output(tmp_path):
    path = write_raster(tmp_path / "a.tif", samples(1, height=400, width=700), **LAYOUTS["tiles"])
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 8000] = bytes([255]) * 8000  # where some blocks begin
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"a\.tif: the file is damaged"):
        run(path, tmp_path / "b.tif", tile=100)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a.tif"]


def test_a_disk_that_gets_full_leaves_no_half_file(tmp_path):
    path = write_raster(tmp_path / "a.tif", samples(3, height=300, width=300))
    script = f"""
import resource, signal
from foveal.tests.data.io.geotiff.test_files import *
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
source = GeoTiffSource({str(path)!r})
sink = GeoTiffSink.like({str(tmp_path / "b.tif")!r}, source, identity(channels=channels(3)).card)
whole = slice(0, 300), slice(0, 300)
sink.write(whole, source.read(whole), sink.aside(whole))
sink.finish(300, None)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    sink.commit()
except OSError as error:
    print("told", error.filename)
"""
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert told.startswith("told")
    assert "b.tif" in told
    assert not (tmp_path / "b.tif").exists()


def test_a_resumed_run_gives_the_same_bytes(tmp_path):
    array = samples(2, height=150, width=130)
    array[:, 20:70, 30:90] = 0
    path = write_raster(tmp_path / "a.tif", array, nodata=0)
    whole = run(path, tmp_path / "whole.tif", tile=32, overlap=8).read_bytes()
    calls = iter(range(100))

    def cut(x):
        if next(calls) == 17:
            raise KeyboardInterrupt
        return x.clone()

    for function in (cut, torch.clone):
        program = ToyProgram(function, channels=("a", "b"))
        source = GeoTiffSource(path)
        try:
            with source, GeoTiffSink.like(tmp_path / "b.tif", source, program.card, "same work") as sink:
                resumed = sink.rows_done
                Engine(program, program.card, tile=32, overlap=8).run(source, sink)
        except KeyboardInterrupt:
            assert not (tmp_path / "b.tif").exists()
    assert resumed > 0
    assert (tmp_path / "b.tif").read_bytes() == whole

import logging
import re

import numpy as np
import pytest
import rasterio

from foveal.core.errors import UserError
from foveal.core.inference.engine import Engine
from foveal.data.io.geotiff import GeoTiffSink, GeoTiffSource
from foveal.tests.fixtures.geotiff import HEIGHT, WIDTH, read_raster, write_raster
from foveal.tests.fixtures.programs import ToyProgram, identity

WHOLE = slice(0, HEIGHT), slice(0, WIDTH)
CHANNELS = ("red", "green", "blue", "nir")
NAMES = ("B4 red", "B3 green", "B2 blue", "B8 nir")
FACTS = {"channels": CHANNELS, "unit": "reflectance"}
STORED = np.random.default_rng(0).integers(300, 4000, (4, HEIGHT, WIDTH)).astype(np.uint16)
REFLECTANCE = STORED / np.float32(10000)
NEW, OLD = "S2A_MSIL2A_20220301T101031_N0400_R022.tif", "S2A_MSIL2A_20210301T101031_N0214_R022.tif"
OWN = {"scales": (1e-4,) * 4, "offsets": (-0.1,) * 4}


def write(folder, name, array=STORED, **options):
    """Write four bands that say what they show, and are none of them alpha."""
    (folder / name).parent.mkdir(exist_ok=True)
    return write_raster(folder / name, array, **({"names": NAMES} | options))


def opened(paths, **options):
    return GeoTiffSource(paths, unit="reflectance", channels=CHANNELS, **options)


def copy(paths, output, program=None, **options):
    program = program or identity(**FACTS)
    with opened(paths, **options) as source, GeoTiffSink.like(output, source, program.card) as sink:
        Engine(program, program.card).run(source, sink)
    return output


@pytest.mark.parametrize(
    ("name", "tags", "options", "offset", "why"),
    [
        (NEW, {}, {}, -1000, "processing baseline 04.00"),
        (OLD, {}, {}, 0, "processing baseline 02.14"),
        ("S2A_MSIL1C_20180301T101031_N0500_R022.tif", {}, {}, -1000, "processing baseline 05.00"),
        ("S2B_MSIL2A_20230301T101031_N0509_R022.SAFE/b.tif", {}, {}, -1000, "processing baseline 05.09"),
        ("a.tif", {"PROCESSING_BASELINE": "05.09"}, {}, -1000, "processing baseline 05.09"),
        ("a.tif", {"PROCESSING_BASELINE": "02.06"}, {}, 0, "processing baseline 02.06"),
        (OLD, {"BOA_ADD_OFFSET": "-1000"}, {}, -1000, "its tag"),
        (NEW, {"RADIO_ADD_OFFSET": "0"}, {"offset": -1000}, 0, "its tag"),
        ("2021-05-01.tif", {}, {}, 0, "its date"),
        ("2021-05-01.tif", {}, {"offset": -1000}, -1000, "--offset"),
        ("2022-01-25.tif", {}, {"offset": -1000}, -1000, "--offset"),
        ("2023-05-01.tif", {}, {"offset": 0}, 0, "--offset"),
        ("a.tif", {}, {}, 0, "usual numbers"),
    ],
)
def test_the_offset_is_told_by_tags_product_option_or_date(tmp_path, name, tags, options, offset, why):
    write(tmp_path, name, (STORED - np.int32(offset)).astype(np.uint16), tags=tags)
    with opened(tmp_path / name, **options) as source:
        assert np.allclose(source.read(WHOLE), REFLECTANCE, atol=1e-6)
        assert why in source.conventions[0]


def test_a_late_date_alone_does_not_tell_the_offset(tmp_path):
    with pytest.raises(UserError, match=r"2023-05-01\.tif: is of 2023-05-01.*--offset -1000 .* or --offset 0"):
        opened(write(tmp_path, "2023-05-01.tif"))


@pytest.mark.parametrize(
    ("array", "options", "opening"),
    [
        (STORED + np.uint16(1000), OWN, {}),
        (STORED + np.uint16(1000), OWN, {"quantification": 5000}),
        (REFLECTANCE, {}, {}),
        (STORED.astype(np.float32), {}, {"quantification": 10000}),
        (STORED.astype(np.int16), {"tags": {"QUANTIFICATION_VALUE": "10000"}}, {}),
        (STORED, {"tags": {"QUANTIFICATION_VALUE": "10000"}}, {"quantification": 5000}),
        (STORED * np.uint16(2), {}, {"quantification": 20000}),
    ],
)
def test_values_become_reflectance(tmp_path, array, options, opening):
    with opened(write(tmp_path, "2019-05-01.tif", array, **options), **opening) as source:
        assert np.allclose(source.read(WHOLE), REFLECTANCE, atol=1e-6)


def test_a_picture_of_8_bits_is_refused_unless_it_is_said_to_be_reflectance(tmp_path):
    bytes_ = (REFLECTANCE * 255).astype(np.uint8)
    path = write(tmp_path, "2019-05-01.tif", bytes_)
    with pytest.raises(UserError, match=r"8 bits, a picture for display.*--quantification 255 --offset 0"):
        opened(path)
    with opened(path, quantification=255, offset=0) as source:
        assert np.allclose(source.read(WHOLE), bytes_ / np.float32(255), atol=1e-6)


@pytest.mark.parametrize(
    ("name", "array", "options", "opening", "words"),
    [
        ("a.tif", STORED.astype(np.float32), {}, {}, "no reflectance.*median is 2.*--quantification"),
        ("a.tif", STORED, {"scales": (0.1,) * 4}, {}, "no reflectance.*correct its scale"),
        ("a.tif", STORED // np.uint16(8), {}, {"offset": -1000}, "no reflectance.*median is -0.07"),
        ("a.tif", STORED, {"tags": {"BOA_ADD_OFFSET": "none"}}, {}, "no number in its tag BOA_ADD_OFFSET"),
        ("a.tif", STORED, {}, {"quantification": 0}, "--quantification 0: give a number above 0"),
        ("LC08_L2SP_190024_20210724_20210730_02_T1.tif", STORED, {}, {}, "is of Landsat.*--quantification 36363.6"),
    ],
)
def test_numbers_that_are_no_reflectance_are_refused(tmp_path, name, array, options, opening, words):
    options = {"offsets": (0,) * 4, **options} if "scales" in options else options
    with pytest.raises(UserError, match=words):
        opened(write(tmp_path, name, array, **options), **opening)


@pytest.mark.parametrize(
    ("files", "opening", "words"),
    [
        (
            {"a.tif": STORED},
            {},
            "a.tif: neither a date nor a tag tells the offset of its numbers; taken as stored / 10000",
        ),
        ({"2019-05-01.tif": STORED // np.uint16(16)}, {}, "go to 249 only, as those of a picture of 8 bits do"),
        ({NEW: STORED + np.uint16(1000)}, {"offset": 0}, "--offset has no effect, as processing baseline 04.00 says"),
        ({"2019-05-01.tif": STORED}, {"offset": -1000}, "--offset -1000 fits products of 2019-05-01 only if they were"),
        ({NEW: STORED + np.uint16(1000), OLD: STORED}, {}, "1 are stored / 10000; 1 are .stored - 1000. / 10000"),
    ],
)
def test_what_may_surprise_is_told(tmp_path, caplog, files, opening, words):
    paths = [write(tmp_path, name, array) for name, array in files.items()]
    with caplog.at_level(logging.WARNING), opened(paths, **opening):
        pass
    (message,) = caplog.messages
    assert re.search(words, message)


def test_known_numbers_are_not_remarked_on(tmp_path, caplog):
    with caplog.at_level(logging.WARNING), opened(write(tmp_path, OLD), quantification=10000, offset=0):
        assert not caplog.records


def test_options_without_a_unit_have_no_effect(tmp_path, caplog):
    with GeoTiffSource(write(tmp_path, OLD), quantification=5000) as source:
        assert np.array_equal(source.read(WHOLE), STORED)
    assert "--quantification and --offset have no effect" in caplog.text


def test_dates_of_different_baselines_are_written_in_the_numbers_of_the_first(tmp_path):
    write(tmp_path, NEW, STORED + np.uint16(1000), tags={"PROCESSING_BASELINE": "04.00"})
    write(tmp_path, OLD, tags={"PROCESSING_BASELINE": "02.14"})
    with opened(tmp_path) as source:
        assert np.abs(source.read(WHOLE) - REFLECTANCE).max() < 1e-6
    last = ToyProgram(lambda x: x[:, 4:], dates=2, **FACTS)
    samples, said = read_raster(copy(tmp_path, tmp_path / "out.tif", last))
    assert np.array_equal(samples, STORED)
    assert (said["dtypes"], said["names"], said["scales"]) == (("uint16",) * 4, NAMES, (1,) * 4)


@pytest.mark.parametrize(
    ("name", "stored", "options"),
    [(NEW, STORED + np.uint16(1000), {}), ("a.tif", STORED + np.uint16(1000), OWN), ("f.tif", REFLECTANCE, {})],
)
def test_what_is_written_is_read_as_the_same_reflectance(tmp_path, name, stored, options):
    path = write(tmp_path, name, stored, **options)
    samples, said = read_raster(copy(path, tmp_path / "nameless.tif"))
    assert np.allclose(samples, stored, rtol=1e-6, atol=0)
    assert said == read_raster(path)[1]
    with opened(tmp_path / "nameless.tif") as source:
        assert np.allclose(source.read(WHOLE), REFLECTANCE, atol=1e-6)


@pytest.mark.parametrize("options", [{}, OWN])
def test_a_border_of_zeros_counts_for_nothing(tmp_path, options):
    stored = STORED + np.uint16(1000)
    stored[:, :20] = 0
    stored[0, 30] = 0  # in one band alone it is a dark pixel
    path = write(tmp_path, NEW, stored, **options)
    with opened(path) as source:
        assert not source.valid((slice(0, 20), WHOLE[1])).any()
        assert source.valid((slice(20, HEIGHT), WHOLE[1])).all()
        assert source.is_empty((slice(0, 20), WHOLE[1]))
        assert not source.read((slice(0, 20), WHOLE[1])).any()
    samples, said = read_raster(copy(path, tmp_path / "out.tif"))
    assert np.array_equal(samples, stored)
    assert said["nodata"] is None


def test_a_raster_that_is_warped_is_reflectance_too(tmp_path):
    first = write(tmp_path, "2019-05-01.tif", nodata=0)
    other = rasterio.open(first).transform @ rasterio.Affine.translation(1, 0)
    write(tmp_path, NEW, STORED + np.uint16(1000), transform=other, nodata=0)
    with opened(tmp_path, warp=True) as source:
        read = source.read(WHOLE)
        assert np.allclose(read[1, :, :, 1:], REFLECTANCE[:, :, :-1], atol=1e-6)
        assert np.array_equal(source.valid_by_date(WHOLE)[1][:, 0], np.zeros(HEIGHT, bool))


def test_outputs_that_are_some_of_the_bands_keep_their_numbers(tmp_path):
    path = write(tmp_path, NEW, STORED + np.uint16(1000))
    program = ToyProgram(lambda x: x[:, :3], outputs=CHANNELS[:3], **FACTS)
    samples, said = read_raster(copy(path, tmp_path / "out.tif", program))
    assert np.array_equal(samples, STORED[:3] + 1000)
    assert said["names"] == NAMES[:3]


def test_outputs_beside_the_bands_are_reflectance_in_float32(tmp_path):
    path = write(tmp_path, NEW, STORED + np.uint16(1000))
    program = ToyProgram(lambda x: x[:, [0, 1, 2, 3, 0]], outputs=(*CHANNELS, "confidence"), **FACTS)
    samples, said = read_raster(copy(path, tmp_path / "out.tif", program))
    assert np.allclose(samples, REFLECTANCE[[0, 1, 2, 3, 0]], atol=1e-6)
    assert (said["names"], said["dtypes"]) == ((*CHANNELS, "confidence"), ("float32",) * 5)


def test_a_damaged_tile_is_told_with_its_file_and_place(tmp_path):
    noise = np.random.default_rng(1).integers(300, 4000, (4, 320, 320)).astype(np.uint16)
    for name in ("2019-05-01.tif", "2019-06-01.tif"):
        write(tmp_path, name, noise, tiled=True, blockxsize=64, blockysize=64, compress="deflate")
    path = tmp_path / "2019-06-01.tif"
    with rasterio.open(path) as file:
        place = int(file.get_tag_item("BLOCK_OFFSET_2_2", "TIFF", bidx=1))
    data = bytearray(path.read_bytes())
    data[place : place + 64] = bytes(64)
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"2019-06-01\.tif: the file is damaged .*in rows \d+\.\.\d+ and columns"):
        copy(tmp_path, tmp_path / "out" / "a.tif", ToyProgram(lambda x: x[:, :4], dates=2, **FACTS))
    assert not (tmp_path / "out" / "a.tif").exists()

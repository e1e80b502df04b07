import logging
import shutil

import numpy as np
import pydicom
import pytest

from foveal.core.errors import UserError
from foveal.data.io.slide import SlideSource
from foveal.tests.fixtures.slide import damage, halved, stained, write_dicom, write_ome, write_tiff

HEIGHT, WIDTH = 333, 451


@pytest.fixture(scope="module")
def image():
    return stained(HEIGHT, WIDTH)


def whole(source):
    return source.read(tuple(slice(0, size) for size in source.shape[1:]))


def first(image):
    return np.moveaxis(image, -1, 0).astype(np.float32) / 255


def area_mean(image, step, shape):
    """The mean over squares of `step` pixels, by sums of areas: an independent form."""
    sums = np.zeros((image.shape[0] + 1, image.shape[1] + 1, 3))
    sums[1:, 1:] = image.astype(float).cumsum(0).cumsum(1)

    edges = [np.minimum(np.arange(n + 1) * step, size) for n, size in zip(shape, image.shape, strict=False)]
    along_y = np.stack([np.interp(edges[0], np.arange(len(sums)), each) for each in sums.reshape(len(sums), -1).T], 1)
    along_y = along_y.reshape(shape[0] + 1, -1, 3)
    flat = along_y.transpose(0, 2, 1).reshape(-1, sums.shape[1])
    both = np.stack([np.interp(edges[1], np.arange(sums.shape[1]), each) for each in flat])
    both = both.reshape(shape[0] + 1, 3, shape[1] + 1).transpose(0, 2, 1)
    areas = np.diff(edges[0])[:, None] * np.diff(edges[1])[None]
    return np.moveaxis(np.diff(np.diff(both, axis=0), axis=1) / areas[..., None], -1, 0) / 255


@pytest.mark.parametrize(
    ("write", "options"),
    [
        (write_tiff, {}),
        (write_tiff, {"levels": 3}),
        (write_tiff, {"levels": 2, "compression": "lzma"}),
        (write_tiff, {"tile": None}),
        (write_ome, {}),
        (write_ome, {"levels": 3}),
        (write_ome, {"levels": 3, "is_planar": True}),
    ],
)
def test_pixels_and_resolution_of_tiff(tmp_path, image, write, options):
    with SlideSource(write(tmp_path / "slide.tif", image, **options)) as source:
        assert source.shape == (3, HEIGHT, WIDTH)
        assert source.geometry.mpp == pytest.approx(0.5)
        assert len(source.levels.sizes) == options.get("levels", 1)
        np.testing.assert_allclose(whole(source), first(image), atol=1e-6)


@pytest.mark.parametrize("levels", [1, 3])
def test_sixteen_bits(tmp_path, image, levels):
    for write in (write_tiff, write_ome):
        with SlideSource(write(tmp_path / f"{write.__name__}.tif", image.astype(np.uint16) * 257, levels)) as source:
            np.testing.assert_allclose(whole(source), first(image), atol=1e-6)


def test_dicom_folder_and_file(tmp_path, image):
    folder = write_dicom(tmp_path / "slide", image, levels=3)
    (folder / "notes.txt").write_text("not a slide")
    for path in (folder, folder / "1.2.3_1.dcm"):
        with SlideSource(path) as source:
            assert source.geometry.level0_shape == (HEIGHT, WIDTH)
            assert source.geometry.mpp == pytest.approx(0.5)
            assert len(source.levels.sizes) == 3
            assert np.abs(whole(source) - first(image)).mean() < 0.02  # JPEG


def test_two_dicom_slides_in_a_folder_are_named(tmp_path, image):
    write_dicom(tmp_path, image)
    write_dicom(tmp_path, image, series="1.2.9")
    with pytest.raises(UserError, match="holds 2 slides"):
        SlideSource(tmp_path)


def test_value_range(tmp_path, image):
    with SlideSource(write_tiff(tmp_path / "slide.tif", image), value_range=(-1, 3)) as source:
        np.testing.assert_allclose(whole(source), first(image) * 4 - 1, atol=1e-5)


@pytest.mark.parametrize("mpp", [0.5, 0.6, 0.83, 1.0, 1.7, 2.0, 5.3, 0.3])
@pytest.mark.parametrize("levels", [1, 3])
def test_neighbouring_windows_agree_with_one_large_window(tmp_path, image, mpp, levels, monkeypatch):
    path = write_tiff(tmp_path / "slide.tif", image, levels)
    with SlideSource(path, mpp) as source:
        expected = whole(source)
    monkeypatch.setattr("foveal.data.io.slide.grid.CHUNK", 50)
    monkeypatch.setattr("foveal.data.io.slide.grid.BLOCKS", 2)
    with SlideSource(path, mpp) as source:
        height, width = source.shape[1:]
        for top in range(0, height, 37):
            for left in range(0, width, 53):
                window = (slice(top, min(top + 37, height)), slice(left, min(left + 53, width)))
                np.testing.assert_array_equal(source.read(window), expected[:, *window])


@pytest.mark.parametrize("mpp", [0.6, 1.0, 1.73, 4.0])
def test_a_pixel_is_the_mean_of_its_area(tmp_path, image, mpp):
    with SlideSource(write_tiff(tmp_path / "slide.tif", image), mpp) as source:
        assert source.shape[1:] == (round(HEIGHT * 0.5 / mpp), round(WIDTH * 0.5 / mpp))
        np.testing.assert_allclose(whole(source), area_mean(image, mpp / 0.5, source.shape[1:]), atol=1e-4)


def test_reads_from_the_nearest_finer_level(tmp_path, image):
    quarter = halved(halved(image))
    path = write_tiff(tmp_path / "slide.tif", image, levels=3)
    with SlideSource(path, 2.0) as source:
        np.testing.assert_allclose(whole(source), first(quarter), atol=1e-6)
    with SlideSource(path, 2.01) as source:  # the same within one percent
        assert source.geometry.mpp == pytest.approx(2.0)
        np.testing.assert_allclose(whole(source), first(quarter), atol=1e-6)
    with SlideSource(path, 1.9) as source:
        step = 1.9 / 1.0
        np.testing.assert_allclose(
            whole(source)[:, :80, :100], area_mean(halved(image), step, source.shape[1:])[:, :80, :100], atol=1e-4
        )


@pytest.mark.parametrize("mpp", [0.5, 0.7, 1.0, 1.4, 2.0, 3.0])
def test_a_mark_stays_at_its_place_at_every_resolution(tmp_path, mpp):
    image = np.full((400, 600, 3), 255, np.uint8)
    image[300:316, 480:496] = 0
    for levels in (1, 3):
        with SlideSource(write_tiff(tmp_path / "slide.tif", image, levels), mpp) as source:
            darkness = 1 - whole(source)[0]
            y, x = ((darkness * grid).sum() / darkness.sum() for grid in np.indices(darkness.shape))
            assert (y + 0.5) * source.geometry.downsample == pytest.approx(308, abs=0.05 * source.geometry.downsample)
            assert (x + 0.5) * source.geometry.downsample == pytest.approx(488, abs=0.05 * source.geometry.downsample)


def test_enlarging_warns(tmp_path, image, caplog):
    path = write_tiff(tmp_path / "slide.tif", image)
    with caplog.at_level(logging.WARNING), SlideSource(path, 0.25) as source:
        assert source.shape == (3, 2 * HEIGHT, 2 * WIDTH)
        assert "enlarged" in caplog.text
        assert abs(whole(source).mean() - first(image).mean()) < 1e-3
    with pytest.raises(UserError, match="shows nothing so small"):
        SlideSource(path, 0.1)


def test_a_file_without_resolution_asks_for_it(tmp_path, image):
    path = write_tiff(tmp_path / "slide.tif", image, mpp=None)
    with pytest.raises(UserError, match=r"slide.tif.*--slide_mpp"):
        SlideSource(path)
    with SlideSource(path, slide_mpp=0.25, mpp=0.5) as source:
        assert source.geometry.level0_mpp == 0.25
        assert source.geometry.downsample == 2


def test_resolution_for_paper_is_not_believed(tmp_path, image):
    path = write_tiff(tmp_path / "slide.tif", image, mpp=None, resolution=(300, 300), resolutionunit="INCH")
    with pytest.raises(UserError, match="--slide_mpp"):
        SlideSource(path)


def test_the_resolution_of_the_file_is_taken_and_said(tmp_path, image, caplog):
    with SlideSource(write_tiff(tmp_path / "slide.tif", image), slide_mpp=0.25) as source:
        assert source.geometry.mpp == pytest.approx(0.5)
    assert "--slide_mpp 0.25 is not" in caplog.text


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf")])
def test_impossible_resolutions(tmp_path, image, value):
    path = write_tiff(tmp_path / "slide.tif", image)
    for name, told in (("mpp", "the wanted resolution"), ("slide_mpp", "--slide_mpp")):
        with pytest.raises(UserError, match=f"^{told} .*above 0"):
            SlideSource(path, **{name: value})


def test_pixels_that_are_not_square_are_refused(tmp_path, image):
    path = write_tiff(tmp_path / "a.tif", image, mpp=None, resolution=(20000, 10000), resolutionunit="CENTIMETER")
    with pytest.raises(UserError, match="not square"):
        SlideSource(path)


def test_transparent_is_white(tmp_path, image):
    alpha = np.full((HEIGHT, WIDTH, 1), 255, np.uint8)
    alpha[100:200, 50:150] = 0
    path = tmp_path / "slide.tif"
    write_ome(path, np.concatenate([image, alpha], axis=2))
    with SlideSource(path) as source:
        pixels = whole(source)
    assert (pixels[:, 100:200, 50:150] == 1).all()
    np.testing.assert_allclose(pixels[:, :100], first(image)[:, :100], atol=1e-6)


def test_tissue_at_reading_resolution(tmp_path, image):
    with SlideSource(write_tiff(tmp_path / "slide.tif", image), mpp=1.3) as source:
        window = (slice(0, source.shape[1]), slice(0, source.shape[2]))
        tissue = source.tissue(window)
        assert tissue.shape == source.shape[1:]
        stained_there = whole(source)[1] < 0.8
        assert tissue[stained_there].all()
        part = (slice(30, 90), slice(20, 77))
        np.testing.assert_array_equal(source.tissue(part), tissue[part])
        assert not source.is_empty(part)
        assert source.is_empty((slice(0, 10), slice(0, 10)))


def test_overview_is_bounded(tmp_path, image, monkeypatch):
    monkeypatch.setattr("foveal.data.io.slide.source.OVERVIEW", 100)
    with SlideSource(write_tiff(tmp_path / "slide.tif", image)) as source:
        assert max(source.overview.shape) == 100
        assert source.overview_mpp == pytest.approx(0.5 * 4.51)
        assert source.tissue((slice(0, HEIGHT), slice(0, WIDTH))).shape == (HEIGHT, WIDTH)


def test_missing_empty_and_foreign_files(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        SlideSource(tmp_path / "slide.svs")
    for name, data, message in (("a.svs", b"", "empty"), ("b.svs", b"text", "no whole-slide image")):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(UserError, match=message):
            SlideSource(tmp_path / name)
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match="holds no DICOM slide"):
        SlideSource(tmp_path / "folder")


def test_many_channels_are_refused(tmp_path):
    path = tmp_path / "fluorescence.ome.tif"
    write_ome(path, np.zeros((64, 64, 5), np.uint8), is_planar=True)
    with pytest.raises(UserError, match="5 channels"):
        SlideSource(path)


def test_a_file_cut_short_is_told_when_it_is_opened(tmp_path, image):
    path = write_tiff(tmp_path / "slide.tif", image)
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(UserError, match="damaged or was cut short"):
        SlideSource(path)


def test_declared_size_beyond_the_file(tmp_path, image):
    path = write_tiff(tmp_path / "slide.tif", image)
    data = path.read_bytes()
    path.write_bytes(
        data.replace(WIDTH.to_bytes(4, "little"), (2**30).to_bytes(4, "little"), 1).replace(
            WIDTH.to_bytes(2, "little"), (60000).to_bytes(2, "little"), 1
        )
    )
    with pytest.raises(UserError, match="damaged"):
        SlideSource(path)


@pytest.mark.parametrize("kind", ["tiff", "ome", "dicom"])
def test_damage_gives_pixels_or_one_error(tmp_path, kind):
    image = stained(150, 170)
    original = tmp_path / "original"
    if kind == "dicom":
        original = write_dicom(tmp_path / "dicom", image) / "1.2.3_0.dcm"
    else:
        (write_tiff if kind == "tiff" else write_ome)(original, image, 2)
    (tmp_path / "copy").mkdir()
    copy = tmp_path / "copy" / "slide.tif"
    messages = []
    for seed in range(24):
        shutil.copy(original, copy)
        damage(copy, seed)
        try:
            with SlideSource(copy, slide_mpp=0.5) as source:
                if max(source.shape) < 2000:
                    assert np.isfinite(whole(source)).all()
        except UserError as error:
            messages.append(str(error))
    assert all(str(copy) in each and "\n" not in each for each in messages)
    assert 0 < len(messages) < 24


@pytest.mark.parametrize("field", ["NumberOfOpticalPaths", "NumberOfFrames", "TotalPixelMatrixColumns"])
def test_dicom_numbers_that_contradict_one_another(tmp_path, image, field):
    file = write_dicom(tmp_path, image) / "1.2.3_0.dcm"
    dataset = pydicom.dcmread(file)
    setattr(dataset, field, 2**31 - 1 if field != "TotalPixelMatrixColumns" else 5000)
    dataset.save_as(file)
    with pytest.raises(UserError, match=r"1\.2\.3_0\.dcm.*frames for \d+ tiles"):
        SlideSource(tmp_path)


def test_dicom_offsets_beyond_the_frames(tmp_path, image):
    file = write_dicom(tmp_path, image) / "1.2.3_0.dcm"
    data = file.read_bytes()
    offsets = data.index(b"\xfe\xff\x00\xe0", data.index(b"\xe0\x7f\x10\x00")) + 8
    file.write_bytes(data[: offsets + 8] + (2**20).to_bytes(4, "little") + data[offsets + 12 :])
    with pytest.raises(UserError, match="table of offsets"):
        SlideSource(file)


def test_dicom_reading_names_no_patient(tmp_path, image, caplog, recwarn):
    file = write_dicom(tmp_path, image) / "1.2.3_0.dcm"
    data = file.read_bytes()
    file.write_bytes(data.replace(b"1.2.4\0", b"SMITH\0"))  # no valid UID
    SlideSource(file).close()
    assert not recwarn.list
    assert "SMITH" not in caplog.text


@pytest.mark.parametrize("mpp", [0.5, 0.7])
def test_pixels_in_eight_bits_are_those_that_are_read(tmp_path, image, mpp):
    with SlideSource(write_tiff(tmp_path / "slide.tif", image), mpp) as source:
        window = slice(10, 100), slice(20, 150)
        expected = np.moveaxis(source.read(window), 0, -1) * 255
        assert source.pixels(window).dtype == np.uint8
        np.testing.assert_allclose(source.pixels(window), expected, atol=0.5 + 1e-3)


@pytest.mark.parametrize(("mpp", "size"), [(0.5, 40), (0.5, 100), (1.5, 30)])
def test_a_strip_of_windows_decodes_nothing_twice(tmp_path, monkeypatch, mpp, size):
    monkeypatch.setattr("foveal.data.io.slide.grid.BLOCK", 32)
    monkeypatch.setattr("foveal.data.io.slide.grid.BLOCKS", 40)
    with SlideSource(write_tiff(tmp_path / "slide.tif", stained(900, 1200)), mpp) as source:
        wide = int(source.strip(size))
        assert wide > size
        blocks = []
        decode = source.levels.pixels
        monkeypatch.setattr(source.levels, "pixels", lambda *place: blocks.append(place) or decode(*place))
        for top in range(7, source.shape[1] - size, size):
            for left in range(5, min(wide, source.shape[2] - size), size):
                source.pixels((slice(top, top + size), slice(left, left + size)))
    assert len(blocks) == len(set(blocks))

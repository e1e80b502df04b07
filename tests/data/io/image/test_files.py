import errno
import tracemalloc
import warnings

import cv2
import numpy as np
import pytest
import rasterio.shutil
import tifffile
import torch
from PIL import Image, ImageOps

from foveal.core.blocks.resampling import bicubic_resize
from foveal.core.errors import UserError
from foveal.core.inference.engine import Engine
from foveal.data.io.image import ImageSink, ImageSource, decode, read_image, write_image
from foveal.tests.fixtures.images import BAD, HEIGHT, LOSSLESS, PROFILE, WIDTH, pixels
from foveal.tests.fixtures.programs import ToyProgram, identity, nearest
from foveal.tests.fuzz.mutate import with_checksums


def first(image):
    """(H, W) or (H, W, C) as (C, H, W)."""
    return image[None] if image.ndim == 2 else image.transpose(2, 0, 1)


def profile_of(path):
    with Image.open(path) as image:
        return image.info.get("icc_profile")


def copied(path, output, scale=1, tile=8, program=None):
    """Send a file through the engine, enlarged by repetition if no program is given."""
    program = program or nearest(scale)
    with ImageSource(path, channels=3) as source, ImageSink.like(output, source, program.card) as sink:
        Engine(program, program.card, tile=tile, overlap=3).run(source, sink)
    return output


@pytest.mark.parametrize("name", LOSSLESS)
def test_every_mode_is_read_and_comes_out_the_same(tmp_path, name):
    path, image = LOSSLESS[name](tmp_path)
    read = read_image(path, alpha=True)
    assert read.dtype == image.dtype
    assert np.array_equal(read, first(image))
    output = copied(path, tmp_path / f"out{path.suffix}")
    written = read_image(output, alpha=True)
    assert written.dtype == image.dtype
    assert np.array_equal(written, first(image))
    assert sorted(each.name for each in tmp_path.iterdir()) == sorted([path.name, output.name])


@pytest.mark.parametrize("name", LOSSLESS)
def test_other_programs_read_what_is_written(tmp_path, name):
    path, image = LOSSLESS[name](tmp_path)
    write_image(output := tmp_path / f"out{path.suffix}", first(image))
    if path.suffix.startswith(".tif"):
        assert np.array_equal(tifffile.imread(output), image)
    elif image.dtype == np.uint8:
        assert np.array_equal(np.asarray(Image.open(output)), image)
    else:
        read = cv2.imread(str(output), cv2.IMREAD_UNCHANGED)
        assert np.array_equal(read if image.ndim == 2 else read[..., [2, 1, 0, 3][: image.shape[2]]], image)


def test_alpha_is_left_out_unless_wanted(tmp_path):
    path, image = LOSSLESS["png rgb alpha"](tmp_path)
    assert np.array_equal(read_image(path), first(image)[:3])


@pytest.mark.parametrize("name", ["png rgb alpha", "png rgb alpha 16", "tiff grey alpha 16"])
@pytest.mark.parametrize("tile", [8, 15, "whole"])
def test_alpha_is_enlarged_by_bicubic_whatever_the_tiles(tmp_path, name, tile):
    path, image = LOSSLESS[name](tmp_path)
    alpha = torch.from_numpy(image[..., -1].astype(np.float32))
    expected = bicubic_resize(alpha, 3).clamp(0, np.iinfo(image.dtype).max).round().numpy()
    written = read_image(copied(path, tmp_path / "out.tif", scale=3, tile=tile), alpha=True)
    assert np.array_equal(written[-1], expected)
    assert np.array_equal(written[:-1], first(image)[:-1].repeat(3, 1).repeat(3, 2))


def test_jpeg_is_decoded_as_other_programs_do(tmp_path):
    for mode, channels in (("L", 1), ("RGB", 3)):
        for options in ({}, {"progressive": True}, {"subsampling": 0}):
            Image.fromarray(pixels(channels), mode).save(tmp_path / "a.jpg", **options)
            assert np.array_equal(read_image(tmp_path / "a.jpg"), first(np.asarray(Image.open(tmp_path / "a.jpg"))))


def test_jpeg_is_written_close_to_the_pixels(tmp_path):
    for channels in (1, 3):
        image = first(pixels(channels, height=100, width=150))
        write_image(tmp_path / "a.jpg", image)
        assert np.abs(read_image(tmp_path / "a.jpg").astype(int) - image).mean() < 3


def test_palettes_are_expanded(tmp_path):
    image = Image.fromarray(pixels(3)).quantize(16)
    image.save(tmp_path / "opaque.png")
    image.save(tmp_path / "clear.png", transparency=bytes([0, 100, 200]))
    image.save(tmp_path / "opaque.tif")
    image.save(tmp_path / "opaque.bmp")
    for name in ("opaque.png", "opaque.tif", "opaque.bmp"):
        assert np.array_equal(read_image(tmp_path / name, alpha=True), first(np.asarray(image.convert("RGB"))))
    expected = first(np.asarray(Image.open(tmp_path / "clear.png").convert("RGBA")))
    assert {0, 100, 200, 255} == set(np.unique(expected[3]))
    assert np.array_equal(read_image(tmp_path / "clear.png", alpha=True), expected)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_one_bit_becomes_grey(tmp_path, suffix):
    image = pixels(1) > 127
    Image.fromarray(image).save(tmp_path / f"bits{suffix}")
    assert np.array_equal(read_image(tmp_path / f"bits{suffix}"), image[None] * 255)


def test_a_palette_of_greys_is_grey(tmp_path):
    tifffile.imwrite(tmp_path / "inverted.tif", pixels(1), photometric="miniswhite")
    assert np.array_equal(read_image(tmp_path / "inverted.tif"), 255 - pixels(1)[None])


def test_a_transparent_colour_becomes_alpha(tmp_path):
    for channels in (1, 3):
        image = pixels(channels)
        key = image[0, 0]
        Image.fromarray(image).save(
            tmp_path / "key.png", transparency=int(key) if channels == 1 else tuple(map(int, key))
        )
        read = read_image(tmp_path / "key.png", alpha=True)
        clear = (first(image) == np.reshape(key, (-1, 1, 1))).all(axis=0)
        assert np.array_equal(read, np.concatenate([first(image), np.where(clear, 0, 255)[None]]))


def test_premultiplied_alpha_is_divided_out(tmp_path):
    straight = pixels(4).clip(100, 255)
    premultiplied = straight.copy()
    premultiplied[..., :3] = (straight[..., :3] * (straight[..., 3:] / 255)).round()
    tifffile.imwrite(tmp_path / "a.tif", premultiplied, photometric="rgb", extrasamples=["assocalpha"])
    assert np.abs(read_image(tmp_path / "a.tif", alpha=True).astype(int) - first(straight)).max() <= 2


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
def test_the_colour_profile_is_kept(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    Image.fromarray(pixels(3)).save(path, icc_profile=PROFILE)
    for target in (".png", ".jpg", ".tif"):
        assert profile_of(copied(path, tmp_path / f"out{target}")) == PROFILE


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
def test_orientation_is_honoured(tmp_path, orientation, suffix):
    image, path = Image.fromarray(pixels(3)), tmp_path / f"a{suffix}"
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save(path, **({"tiffinfo": {0x0112: orientation}} if suffix == ".tif" else {"exif": exif}))
    with Image.open(path) as stored:
        upright = first(np.asarray(ImageOps.exif_transpose(stored)))
    assert np.array_equal(read_image(path), upright)
    output = copied(path, tmp_path / "out.png")
    assert np.array_equal(read_image(output), upright)
    assert Image.open(output).getexif().get(0x0112, 1) == 1


def test_a_damaged_exif_block_is_passed_over_with_a_warning(tmp_path, caplog):
    Image.fromarray(pixels(3)).save(tmp_path / "a.jpg", exif=b"Exif\x00\x00MM\x00*\x00\x00")
    assert read_image(tmp_path / "a.jpg").shape == (3, HEIGHT, WIDTH)
    assert "EXIF block is damaged" in caplog.text


def test_the_name_does_not_tell_the_format(tmp_path):
    path, image = LOSSLESS["png rgb"](tmp_path)
    path.rename(tmp_path / "a.jpg")
    assert np.array_equal(read_image(tmp_path / "a.jpg"), first(image))


@pytest.mark.parametrize("make", BAD, ids=lambda make: make.__name__)
@pytest.mark.parametrize("open_file", [ImageSource, read_image])
def test_bad_files_are_refused_with_name_and_reason(tmp_path, make, open_file):
    with pytest.raises(UserError, match=BAD[make]) as error:
        open_file(make(tmp_path))
    assert "\n" not in str(error.value)


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(UserError, match="is a folder"):
        read_image(tmp_path)


@pytest.mark.parametrize(
    ("name", "channels", "dtype", "message"),
    [
        ("a.jpg", 4, "uint8", r"a\.jpg: JPEG cannot hold an alpha channel; write a \.png or \.tif"),
        ("a.jpg", 3, "uint16", r"a\.jpg: JPEG cannot hold 16 bits"),
        ("a.bmp", 2, "uint8", r"a\.bmp: BMP cannot hold an alpha channel"),
        ("a.gif", 3, "uint8", r"a\.gif: no format is known"),
    ],
)
def test_what_a_format_cannot_hold_is_refused_before_any_work(tmp_path, name, channels, dtype, message):
    with pytest.raises(UserError, match=message):
        ImageSink(tmp_path / name, (channels, 4, 4), np.dtype(dtype))
    assert list(tmp_path.iterdir()) == []


def test_a_jpeg_has_a_largest_side(tmp_path):
    with pytest.raises(UserError, match="JPEG cannot hold 70000 x 4 pixels"):
        ImageSink(tmp_path / "a.jpg", (3, 4, 70000), np.dtype("uint8"))


def test_a_colour_image_does_not_fit_a_grey_network(tmp_path):
    path, _ = LOSSLESS["png rgb"](tmp_path)
    with pytest.raises(UserError, match="has 3 colour channels; the network takes 1"):
        ImageSource(path, channels=1)


def test_the_value_range_is_that_of_the_network(tmp_path):
    path, image = LOSSLESS["png grey"](tmp_path)
    with ImageSource(path, 3, (-1.0, 1.0)) as source:
        values = source.read((slice(0, HEIGHT), slice(0, WIDTH)))
        assert np.allclose(values, image / 127.5 - 1, atol=1e-6)
        with ImageSink.like(tmp_path / "out.png", source, identity(value_range=(-1.0, 1.0)).card) as sink:
            sink.write((slice(0, HEIGHT), slice(0, WIDTH)), values, None)
            sink.finish(HEIGHT)
            sink.commit()
    assert np.array_equal(read_image(tmp_path / "out.png")[0], image)


def test_values_beyond_the_range_are_cut_off(tmp_path):
    with ImageSink(tmp_path / "a.png", (1, 2, 2), np.dtype("uint8")) as sink:
        sink.write((slice(0, 2), slice(0, 2)), np.array([[[-3, 0.5], [1.004, 7]]], np.float32), None)
        sink.finish(2)
        sink.commit()
    assert read_image(tmp_path / "a.png").tolist() == [[[0, 128], [255, 255]]]


@pytest.mark.parametrize("name", ["png rgb alpha", "tiff rgb 16"])
def test_each_row_is_decoded_once_for_tiles_from_top_to_bottom(tmp_path, monkeypatch, name):
    path, _ = LOSSLESS[name](tmp_path)
    source, decoded = ImageSource(path, 3), []
    rows = source.picture.rows
    source.picture.rows = lambda start, stop: decoded.append((start, stop)) or rows(start, stop)
    program = nearest(2)
    with ImageSink.like(tmp_path / "out.png", source, program.card) as sink:
        Engine(program, program.card, tile=8, overlap=4).run(source, sink)
    assert [row for start, stop in decoded for row in range(start, stop)] == list(range(1, HEIGHT))


def test_windows_may_come_in_any_order(tmp_path):
    path, image = LOSSLESS["png rgb"](tmp_path)
    generator = np.random.default_rng(0)
    with ImageSource(path) as source:
        for _ in range(50):
            top, bottom = sorted(generator.choice(HEIGHT + 1, 2, replace=False))
            left, right = sorted(generator.choice(WIDTH + 1, 2, replace=False))
            window = source.read((slice(top, bottom), slice(left, right)))
            assert np.array_equal(window, first(image)[:, top:bottom, left:right].astype(np.float32) / 255)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp", ".jpg"])
def test_a_single_grey_pixel_is_written(tmp_path, suffix):
    write_image(tmp_path / f"pixel{suffix}", np.array([[[7]]], np.uint8))
    with Image.open(tmp_path / f"pixel{suffix}") as image:
        assert (image.size, image.getpixel((0, 0))) == ((1, 1), 7)


def test_an_error_leaves_no_partial_output(tmp_path):
    path, _ = LOSSLESS["png rgb"](tmp_path)
    program = ToyProgram(lambda x: x * float("nan"))
    with pytest.raises(UserError, match="not finite"):
        copied(path, tmp_path / "out.png", program=program)
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_a_failure_while_the_file_is_written_keeps_rows_and_older_file(tmp_path, monkeypatch):
    def full(*arguments, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("foveal.data.io.image.encode._copy", full)
    (tmp_path / "out.png").write_bytes(b"older")
    sink = ImageSink(tmp_path / "out.png", (3, 4, 4), np.uint8, fingerprint="x")
    sink.append(np.zeros((3, 4, 4), np.uint8))
    with pytest.raises(OSError, match="No space"), sink:
        sink.commit()
    assert (tmp_path / "out.png").read_bytes() == b"older"
    assert sorted(each.name for each in tmp_path.iterdir()) == [".out.png.rows", ".out.png.state.npz", "out.png"]


def test_a_sink_is_not_committed_before_it_is_complete(tmp_path):
    sink = ImageSink(tmp_path / "a.png", (1, 4, 4), np.uint8)
    sink.append(np.zeros((1, 2, 4), np.uint8))
    with pytest.raises(ValueError, match="2 of 4 rows"):
        sink.commit()


def test_side_files_are_neither_read_nor_written_and_nothing_is_warned(tmp_path):
    path, image = LOSSLESS["tiff rgb"](tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.array_equal(read_image(path), first(image))
        write_image(tmp_path / "out.tif", first(image))
    assert sorted(each.name for each in tmp_path.iterdir()) == ["RGB.tiff", "out.tif"]


def test_tall_images_are_read_in_bands(tmp_path):
    image = pixels(3, height=2 * decode.BAND + 7, width=5)
    Image.fromarray(image).save(tmp_path / "tall.png")
    assert np.array_equal(read_image(tmp_path / "tall.png"), first(image))


def test_bands_without_a_colour_are_rgb(tmp_path):
    image = pixels(3)
    tifffile.imwrite(tmp_path / "a.tif", image, photometric="minisblack", planarconfig="contig")
    assert np.array_equal(read_image(tmp_path / "a.tif"), first(image))


def pages(tmp_path, count=3):
    images = [pixels(3, height=20 + page, width=30) + page for page in range(count)]
    with tifffile.TiffWriter(path := tmp_path / "pages.tif") as file:
        for image in images:
            file.write(image, photometric="rgb")
    return path, images


def test_a_page_is_chosen(tmp_path):
    path, images = pages(tmp_path)
    for page, image in enumerate(images, start=1):
        assert np.array_equal(decode.open_picture(path, page).whole(), first(image))
    with pytest.raises(
        UserError, match=r"pages\.tif: has 3 pages \(1: 30 x 20, 2: 30 x 21, 3: 30 x 22\); .*--page 1\.\.3"
    ):
        decode.open_picture(path)
    for page in (0, 4):
        with pytest.raises(UserError, match=rf"there is no page {page}; it has 3, give --page 1\.\.3"):
            decode.open_picture(path, page)


def test_each_page_has_its_own_orientation(tmp_path):
    image = pixels(3)
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(image, photometric="rgb")
        file.write(image, photometric="rgb", extratags=[(274, "H", 1, 3, True)])
    assert np.array_equal(decode.open_picture(tmp_path / "a.tif", 1).whole(), first(image))
    assert np.array_equal(decode.open_picture(tmp_path / "a.tif", 2).whole(), first(image)[:, ::-1, ::-1])


def test_smaller_copies_are_no_pages(tmp_path):
    image = pixels(3, height=64, width=64)
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(image, photometric="rgb")
        file.write(image[::2, ::2], photometric="rgb", subfiletype=1)
    assert np.array_equal(read_image(tmp_path / "a.tif"), first(image))


def test_what_has_one_page_has_no_second(tmp_path):
    for name in ("png rgb", "tiff rgb"):
        path, image = LOSSLESS[name](tmp_path)
        assert np.array_equal(decode.open_picture(path, 1).whole(), first(image))
        with pytest.raises(UserError, match="there is no page 2; it has 1"):
            decode.open_picture(path, 2)


def declared(path, places, value, size=4, order="little"):
    """Overwrite numbers in a header."""
    data = bytearray(path.read_bytes())
    for at in places:
        data[at : at + size] = value.to_bytes(size, order)
    path.write_bytes(with_checksums(data) if path.suffix == ".png" else data)
    return path


def tiff_tag(path, *tags):
    """Return where the values of tags stand in a little-endian TIFF."""
    with tifffile.TiffFile(path) as file:
        return [file.pages[0].tags[tag].offset + 8 for tag in tags]


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".jpg", ".tif", "deflate.tif"])
def test_huge_declared_sizes_are_refused_before_anything_is_made(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    if path.suffix == ".tif":
        tifffile.imwrite(path, pixels(3), photometric="rgb", compression="zlib" if "deflate" in path.name else None)
        declared(path, tiff_tag(path, 256, 257, 278), 60_000)
    else:
        Image.fromarray(pixels(3)).save(path)
    if suffix == ".png":
        declared(path, (16, 20), 60_000, order="big")
    elif suffix == ".bmp":
        declared(path, (18, 22), 60_000)
    elif suffix == ".jpg":
        frame = path.read_bytes().index(b"\xff\xc0")
        declared(path, (frame + 5, frame + 7), 60_000, size=2, order="big")
    tracemalloc.start()
    with pytest.raises(UserError, match=rf"{path.name}: the file is damaged .*; get or write it again") as error:
        read_image(path)
    assert "\n" not in str(error.value)
    assert tracemalloc.get_traced_memory()[1] < 10e6  # 10.8 GB are declared
    tracemalloc.stop()


def test_large_but_simple_images_are_read(tmp_path):
    image = Image.new("L", (4000, 3000))
    for suffix, options in {
        ".png": {},
        ".jpg": {"optimize": True},
        ".tif": {"compression": "tiff_lzw"},
        ".bmp": {},
    }.items():
        image.save(tmp_path / f"black{suffix}", **options)
        assert not read_image(tmp_path / f"black{suffix}").any()


def test_blocks_beyond_the_end_of_a_tiff_are_told(tmp_path):
    tifffile.imwrite(path := tmp_path / "a.tif", pixels(3), photometric="rgb")
    declared(path, tiff_tag(path, 273), 10**6)
    with pytest.raises(UserError, match=r"a\.tif: the file is damaged .*beyond its end"):
        read_image(path)


def test_an_image_of_which_parts_were_never_written_is_refused(tmp_path):
    tifffile.imwrite(path := tmp_path / "a.tif", pixels(3), photometric="rgb")
    declared(path, tiff_tag(path, 279), 0)
    with pytest.raises(UserError, match=r"a\.tif: the file is damaged .*never written"):
        read_image(path)


def test_a_colour_that_the_palette_lacks_is_damage(tmp_path):
    Image.fromarray(pixels(3)).quantize(16).save(path := tmp_path / "a.bmp")
    start = int.from_bytes(path.read_bytes()[10:14], "little")
    declared(path, [start + 4], 200, size=1)
    with pytest.raises(UserError, match=r"a\.bmp: the file is damaged .*colour 200 of a palette of 16"):
        read_image(path)


def test_grey_jpeg_is_decoded_by_rows_and_damage_in_it_is_told(tmp_path):
    image = pixels(1, height=300, width=200)
    Image.fromarray(image).save(path := tmp_path / "a.jpg", quality=95)
    picture = decode.open_picture(path)
    expected = np.asarray(Image.open(path))
    assert np.array_equal(picture.rows(100, 110)[0], expected[100:110])
    data = bytearray(path.read_bytes())
    data[-300:-200] = 50 * b"\xff\x00"  # no code consists of ones alone
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"a\.jpg: the file is damaged"):
        read_image(path)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp"])
def test_what_gdal_does_not_tell_is_found_when_the_file_is_read_back(tmp_path, monkeypatch, suffix):
    copy = rasterio.shutil.copy

    def damaging(source, path, **options):
        copy(source, path, **options)
        image = read_image(path)
        image[0, 3, 4] += 1
        copied = tmp_path / f"other{suffix}"
        with monkeypatch.context() as patch:
            patch.setattr(rasterio.shutil, "copy", copy)
            write_image(copied, image)
        copied.replace(path)

    monkeypatch.setattr(rasterio.shutil, "copy", damaging)
    with pytest.raises(OSError, match="other pixels are read than were written"):
        write_image(tmp_path / f"a{suffix}", np.zeros((3, 8, 8), np.uint8))
    assert list(tmp_path.iterdir()) == []

"""`foveal infer`: probabilities in place of labels, how far views disagree beside them, and what is one input."""

import json

import nibabel
import numpy as np
import openslide
import pydicom
import pytest
import rasterio
import torch
from pydicom.uid import ComputedRadiographyImageStorage

from foveal.core.cli import main
from foveal.core.inference.progress import Reporter
from foveal.core.inference.tta import variance_over_views, views_of
from foveal.core.weights.load import load_program
from foveal.data.io.image import read_image, write_image
from foveal.tests.fixtures import dicom, geotiff, nifti, slide
from foveal.tests.fixtures.pixelwise import Shades, save_bright, save_copy, save_program, save_shades


def noise(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def save_xray(path, number=0, series=None):
    """Write an image that does not say where it lies, in a series of its own if none is given."""
    dataset = dicom.image_dataset(noise(40, 30))
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = ComputedRadiographyImageStorage
    dataset.SeriesInstanceUID, dataset.SOPInstanceUID = series or f"1.2.3.{number}", f"1.2.4.{number}"
    return dicom.save(path, dataset)


def run(program, path, output, *options):
    return main(["infer", "--weights", str(program), "--input", str(path), "--output", str(output), *options])


@pytest.fixture
def photo(tmp_path):
    write_image(tmp_path / "photo.png", noise(3, 70, 51))
    return tmp_path / "photo.png"


def expected(program, x):
    """Scores and variance that a program gives for a whole array, (C, *spatial)."""
    program = load_program(str(program))
    scores = torch.from_numpy(np.ascontiguousarray(x, dtype=np.float32))[None]
    result = variance_over_views(program, scores, views_of(program.card), "softmax", averaged=False)[0]
    return result[:-1], result[-1].numpy()


def test_exclusive_classes_become_their_probabilities(photo, tmp_path):
    program = save_shades(tmp_path / "shades.pt", tile=128)
    assert run(program, photo, tmp_path / "out.png", "--probabilities") == 0
    scores, _ = expected(program, read_image(photo) / 255)
    assert np.abs(read_image(tmp_path / "out.png") / 255 - scores.softmax(0).numpy()).max() < 0.51 / 255


def test_independent_classes_become_their_probabilities(photo, tmp_path):
    program = save_bright(tmp_path / "bright.pt", 0.5)
    assert run(program, photo, tmp_path / "out.tif", "--probabilities") == 0
    level = read_image(photo).mean(axis=0, keepdims=True) / 255 - 0.5
    assert np.abs(read_image(tmp_path / "out.tif") / 255 - 1 / (1 + np.exp(-level))).max() < 0.51 / 255


def test_more_classes_than_an_image_has_channels_are_written_as_float_tiff(photo, tmp_path, capsys):
    program = save_shades(tmp_path / "shades.pt", more=2, tile=128)
    assert run(program, photo, tmp_path / "out", "--probabilities") == 0
    with rasterio.open(tmp_path / "out" / "photo.tif") as file:
        assert file.descriptions == ("dark", "middle", "bright", "none 0", "none 1")
        scores, _ = expected(program, read_image(photo) / 255)
        assert np.abs(file.read() - scores.softmax(0).numpy()).max() < 1e-6
    assert run(program, photo, tmp_path / "out.png", "--probabilities") == 1
    assert "an image holds 1 or 3 channels; the network makes 5. End the name in .tif" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--probabilities", "--uncertainty"])
def test_values_have_neither_probabilities_nor_uncertainty(photo, tmp_path, capsys, option):
    assert run(save_copy(tmp_path / "copy.pt"), photo, tmp_path / "out.png", option) == 2
    assert "gives values, not classes; leave out --probabilities and --uncertainty" in capsys.readouterr().err
    assert not (tmp_path / "out.png").exists()


@pytest.mark.parametrize(("name", "highest"), [("out.png", 65535), ("out.tif", 65535), ("out.bmp", 255)])
def test_the_uncertainty_of_an_image_is_stretched_over_the_bits_of_its_format(photo, tmp_path, name, highest):
    program = save_shades(tmp_path / "shades.pt", tile=128)
    assert run(program, photo, tmp_path / name, "--uncertainty") == 0
    scores, variance = expected(program, read_image(photo) / 255)
    assert np.array_equal(read_image(tmp_path / name)[0], scores.argmax(0))
    stored = read_image(tmp_path / name.replace("out", "out_uncertainty"))
    assert stored.dtype == (np.uint16 if highest > 255 else np.uint8)
    assert stored.shape == (1, 70, 51)
    assert np.abs(stored[0] / highest / 4 - variance).max() < 0.51 / highest / 4 + 1e-6
    assert variance.max() > 0.01


def test_what_is_written_beside_changes_nothing_of_the_output(photo, tmp_path):
    program = save_shades(tmp_path / "shades.pt")
    for number, options in enumerate([[], ["--tta"]]):
        plain, both = tmp_path / f"plain{number}.png", tmp_path / f"both{number}.png"
        assert run(program, photo, plain, *options) == 0
        assert run(program, photo, both, "--uncertainty", *options) == 0
        assert both.read_bytes() == plain.read_bytes()


@pytest.mark.parametrize("options", [[], ["--tta"]])
@pytest.mark.parametrize("activation", ["argmax", "softmax"])
def test_what_is_written_beside_changes_nothing_of_a_volume(tmp_path, activation, options):
    values = np.random.default_rng(0).random((10, 12, 14), dtype=np.float32)
    path = nifti.write(tmp_path / "head.nii", values)
    facts = {"channels": ("mr",), "outputs": ("a", "b", "c"), "dimensions": 3, "tile": 8, "overlap": 4}
    program = save_program(tmp_path / "mr.pt", Shades(), activation=activation, **facts)
    assert run(program, path, tmp_path / "plain.nii", *options) == 0
    assert run(program, path, tmp_path / "both.nii", "--uncertainty", *options) == 0
    assert (tmp_path / "both.nii").read_bytes() == (tmp_path / "plain.nii").read_bytes()


def test_the_uncertainty_of_a_volume_lies_where_it_does(tmp_path):
    path = nifti.write(tmp_path / "head.nii.gz", nifti.samples((20, 18, 16), dtype="float32") / 2000 + 0.5)
    program = save_shades(tmp_path / "mr.pt", channels=("mr",), dimensions=3, tile=32)
    assert run(program, path, tmp_path / "out.nii.gz", "--uncertainty") == 0
    before, after = nibabel.load(path), nibabel.load(tmp_path / "out_uncertainty.nii.gz")
    assert np.array_equal(after.affine, before.affine)
    assert after.get_data_dtype() == np.float32
    _, variance = expected(program, np.asarray(before.dataobj).T[None])
    assert np.abs(np.asarray(after.dataobj).T - variance).max() < 1e-6


def test_the_uncertainty_of_a_raster_lies_where_it_does(tmp_path):
    path = tmp_path / "scene.tif"
    geotiff.write_raster(path, geotiff.samples(1, height=60, width=50), names=("red",), nodata=0)
    program = save_program(tmp_path / "p.pt", Shades(), channels=("red",), activation="argmax", outputs=tuple("abc"))
    assert run(program, path, tmp_path / "out.tif", "--uncertainty") == 0
    with rasterio.open(path) as before, rasterio.open(tmp_path / "out_uncertainty.tif") as after:
        assert (after.crs, after.transform) == (before.crs, before.transform)
        assert after.dtypes == ("float32",)
        assert after.descriptions == ("uncertainty",)


def test_the_uncertainty_of_dicom_is_a_capture_of_its_values_or_a_volume(tmp_path):
    save_xray(tmp_path / "single.dcm")
    program = save_shades(tmp_path / "mr.pt", channels=("mr",), intensity={"window": [0, 255]}, tile=64)
    assert run(program, tmp_path / "single.dcm", tmp_path / "one.dcm", "--uncertainty") == 0
    capture = pydicom.dcmread(tmp_path / "one_uncertainty.dcm")
    _, variance = expected(program, noise(40, 30)[None] / 255)
    assert np.abs(capture.pixel_array * capture.RescaleSlope - variance).max() < 1e-5
    dicom.write_series(tmp_path / "ct", dicom.Grid(shape=(4, 20, 24)))
    assert run(program, tmp_path / "ct", tmp_path / "many.dcm", "--uncertainty") == 0
    assert nibabel.load(tmp_path / "many_uncertainty.nii.gz").shape == (24, 20, 4)


def test_the_uncertainty_of_a_slide_is_a_heatmap(tmp_path):
    path = slide.write_tiff(tmp_path / "slide.tiff", slide.stained(300, 260), levels=2)
    program = save_bright(tmp_path / "he.pt", 0.6, tile=64, overlap=8)
    assert run(program, path, tmp_path / "out.geojson", "--uncertainty") == 0
    with openslide.OpenSlide(tmp_path / "out_uncertainty.tif") as heatmap:
        assert heatmap.dimensions == (260, 300)


def test_a_run_that_ends_early_goes_on_with_both_outputs(tmp_path, monkeypatch, capsys):
    write_image(tmp_path / "tall.png", noise(3, 300, 40))
    program = save_shades(tmp_path / "shades.pt", tile=32, overlap=4)
    assert run(program, tmp_path / "tall.png", tmp_path / "whole.png", "--uncertainty") == 0
    progress, told = Reporter.progress, []

    def stop(self, done, total):
        told.append(done)
        if len(told) == 18:
            raise KeyboardInterrupt
        progress(self, done, total)

    monkeypatch.setattr(Reporter, "progress", stop)
    assert run(program, tmp_path / "tall.png", tmp_path / "cut.png", "--uncertainty") == 130
    assert not (tmp_path / "cut.png").exists()
    assert run(program, tmp_path / "tall.png", tmp_path / "cut.png", "--uncertainty") == 0
    assert told[18] > told[0]  # the first rows were not computed again
    for name in ("", "_uncertainty"):
        assert (tmp_path / f"cut{name}.png").read_bytes() == (tmp_path / f"whole{name}.png").read_bytes()
    assert not [each for each in tmp_path.iterdir() if each.name.startswith(".cut")]
    capsys.readouterr()
    assert run(program, tmp_path / "tall.png", tmp_path / "cut.png", "--uncertainty") == 0
    assert "done already" in capsys.readouterr().err


def test_the_manifest_names_both_outputs(photo, tmp_path):
    program = save_shades(tmp_path / "shades.pt")
    assert run(program, photo, tmp_path / "out", "--uncertainty") == 0
    manifest = json.loads((tmp_path / "out" / "foveal-manifest.json").read_text())
    (item,) = manifest["items"]
    assert (item["output"], item["uncertainty"]) == (
        str(tmp_path / "out" / "photo.png"),
        str(tmp_path / "out" / "photo_uncertainty.png"),
    )
    assert manifest["uncertainty"] is True


def test_class_numbers_are_not_written_as_jpeg(tmp_path, capsys):
    write_image(tmp_path / "photo.jpg", noise(3, 40, 30))
    program = save_shades(tmp_path / "shades.pt")
    assert run(program, tmp_path / "photo.jpg", tmp_path / "out") == 0
    assert set(np.unique(read_image(tmp_path / "out" / "photo.png"))) <= {0, 1, 2}
    assert run(program, tmp_path / "photo.jpg", tmp_path / "out.jpg") == 1
    assert "JPEG would change the numbers of classes; end the name in .png or .tif" in capsys.readouterr().err


@pytest.mark.parametrize("series", [None, "1.2.5"])
def test_dicom_files_that_are_images_of_their_own_are_taken_one_by_one(tmp_path, series):
    names = ["1.2.840.1", "1.2.840.2", "c.dcm"]
    for number, name in enumerate(names):
        save_xray(tmp_path / "in" / name, number, series)
    (tmp_path / "in" / "notes.txt").write_text("not taken")
    program = save_bright(tmp_path / "xray.pt", 100.0, channels=("xray",))
    assert run(program, tmp_path / "in", tmp_path / "out") == 0
    outputs = sorted(each.name for each in (tmp_path / "out").glob("[!.]*.dcm"))
    assert outputs == ["1.2.840.1.dcm", "1.2.840.2.dcm", "c.dcm"]


def test_a_series_stays_one_input(tmp_path):
    dicom.write_series(tmp_path / "ct", dicom.Grid(shape=(3, 20, 24)))
    program = save_bright(tmp_path / "ct.pt", 3000.0, channels=("ct",))
    assert run(program, tmp_path / "ct", tmp_path / "out") == 0
    assert (tmp_path / "out" / "ct.dcm").exists()


def test_one_series_is_chosen_of_several_single_images(tmp_path):
    for number in range(2):
        save_xray(tmp_path / "in" / f"{number}.dcm", number)
    program = save_bright(tmp_path / "xray.pt", 100.0, channels=("xray",))
    assert run(program, tmp_path / "in", tmp_path / "out.dcm", "--series", "2") == 0


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_slices_are_taken_along_the_axis_of_the_card(tmp_path, axis):
    samples = nifti.samples((10, 11, 12), dtype="float32") / 2000 + 0.5
    path = nifti.write(tmp_path / "head.nii", samples)
    program = save_shades(tmp_path / "mr.pt", channels=("mr",), axis=axis, tile=32)
    assert run(program, path, tmp_path / "out.nii") == 0
    slices = np.moveaxis(samples.T, 2 - axis, 0)  # as training takes them
    labels = [expected(program, each[None])[0].argmax(0).numpy() for each in slices]
    assert np.array_equal(nibabel.load(tmp_path / "out.nii").dataobj, np.moveaxis(labels, 0, 2 - axis).T)
    assert np.array_equal(nibabel.load(tmp_path / "out.nii").affine, nibabel.load(path).affine)

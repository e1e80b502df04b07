"""`foveal infer` on files of every format, with programs that work pixel by pixel."""

import errno
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import nibabel
import numpy as np
import openslide
import pydicom
import pytest
import rasterio
import SimpleITK

from foveal.core.cli import main
from foveal.core.inference.command import open_engine
from foveal.data.infer import Wanted, run_files
from foveal.data.io.image import read_image, write_image
from foveal.tests.fixtures import dicom, geotiff, nifti, slide, slow_infer
from foveal.tests.fixtures.pixelwise import Mean, save_bright, save_copy, save_program


def noise(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def image(folder):
    path = folder / "photo.png"
    write_image(path, noise(3, 70, 51))
    return path, save_copy(folder / "rgb.pt")


def raster(folder):
    path = folder / "scene.tif"
    geotiff.write_raster(path, geotiff.samples(4, height=90, width=75), names=("b", "g", "r", "n"), nodata=0)
    return path, save_copy(folder / "bands.pt", channels=("b", "g", "r", "n"))


def volume(folder):
    path = nifti.write(folder / "head.nii.gz", nifti.samples((40, 36, 50)))
    return path, save_copy(folder / "mr.pt", channels=("mr",), dimensions=3, tile=16, overlap=4)


def series(folder):
    dicom.write_series(folder / "ct", dicom.Grid(shape=(9, 20, 24), orientation=dicom.oblique()))
    return folder / "ct", save_bright(folder / "ct.pt", 3000.0, channels=("ct",), dimensions=3, tile=8, overlap=2)


def pathology(folder):
    path = slide.write_tiff(folder / "slide.tiff", slide.stained(300, 260), levels=2)
    return path, save_bright(folder / "he.pt", 0.6, tile=64, overlap=8)


def run(program, path, output, *options):
    return main(["infer", "--weights", str(program), "--input", str(path), "--output", str(output), *options])


def test_an_image_comes_out_as_it_went_in(tmp_path):
    path, program = image(tmp_path)
    assert run(program, path, tmp_path / "out.png") == 0
    assert np.array_equal(read_image(tmp_path / "out.png"), read_image(path))


def test_a_raster_comes_out_where_it_lay(tmp_path):
    path, program = raster(tmp_path)
    assert run(program, path, tmp_path / "out.tif", "--cog") == 0
    with rasterio.open(path) as before, rasterio.open(tmp_path / "out.tif") as after:
        assert (after.crs, after.transform, after.nodata) == (before.crs, before.transform, before.nodata)
        assert after.descriptions == before.descriptions
        assert np.array_equal(after.read(), before.read())


def test_bands_are_chosen_by_name(tmp_path):
    path, _ = raster(tmp_path)
    program = save_copy(tmp_path / "two.pt", channels=("r", "b"))
    assert run(program, path, tmp_path / "out.tif", "--bands", "r", "b") == 0
    with rasterio.open(path) as before, rasterio.open(tmp_path / "out.tif") as after:
        assert after.descriptions == ("r", "b")
        assert np.array_equal(after.read(), before.read([3, 1]))


def test_dates_of_a_place_are_taken_together(tmp_path):
    (tmp_path / "place").mkdir()
    for number in range(3):
        geotiff.write_raster(tmp_path / "place" / f"2020-0{number + 1}-01.tif", geotiff.samples(2, seed=number))
    program = save_program(tmp_path / "mean.pt", Mean(3), channels=("r", "n"), dates=3)
    assert run(program, tmp_path / "place", tmp_path / "out.tif", "--dates") == 0
    with rasterio.open(tmp_path / "out.tif") as after:
        mean = np.mean([geotiff.samples(2, seed=number) for number in range(3)], axis=0)
        assert np.abs(after.read() - mean).max() <= 0.51


def test_the_numbers_of_reflectance_are_told_by_options(tmp_path):
    (tmp_path / "place").mkdir()
    for month in (1, 2):
        names = ("B8", "B4")
        geotiff.write_raster(tmp_path / "place" / f"2023-0{month}-01.tif", geotiff.samples(2, seed=month), names=names)
    facts = {"channels": ("red", "nir"), "dates": 2, "unit": "reflectance", "mean": (0.5, 0.5), "std": (0.5, 0.5)}
    program = save_program(tmp_path / "mean.pt", Mean(2), **facts)
    mean = np.mean([geotiff.samples(2, seed=month) for month in (1, 2)], axis=0)[::-1]
    assert run(program, tmp_path / "place", tmp_path / "no.tif", "--dates") == 1
    for offset in ("0", "-1000"):
        output = tmp_path / f"{offset}.tif"
        assert run(program, tmp_path / "place", output, "--dates", "--offset", offset) == 0
        with rasterio.open(output) as after:
            assert after.descriptions == ("B4", "B8")
            assert np.abs(after.read() - mean).max() <= 0.52
            assert float(after.tags()["REFLECTANCE_ADD_OFFSET"]) == float(offset)


def test_a_volume_comes_out_where_it_lay(tmp_path):
    path, program = volume(tmp_path)
    assert run(program, path, tmp_path / "out.nii.gz") == 0
    before, after = nibabel.load(path), nibabel.load(tmp_path / "out.nii.gz")
    assert np.array_equal(after.affine, before.affine)
    assert np.array_equal(after.get_qform(), before.get_qform())
    assert np.array_equal(after.dataobj, before.dataobj)


def centroid(volume):
    """Of what is labelled, in the coordinates of SimpleITK (LPS millimetres)."""
    indices = np.argwhere(SimpleITK.GetArrayViewFromImage(volume) > 0)[:, ::-1].mean(axis=0)
    return np.array(volume.TransformContinuousIndexToPhysicalPoint(indices.tolist()))


def test_a_segmentation_has_one_place_in_dicom_and_nifti(tmp_path):
    path, program = series(tmp_path)
    for name in ("out.dcm", "out.nii"):
        assert run(program, path, tmp_path / name) == 0
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(path)))
    expected = centroid(reader.Execute() > 3000)
    assert np.abs(centroid(SimpleITK.ReadImage(tmp_path / "out.nii")) - expected).max() < 0.01
    assert np.abs(centroid_of_segmentation(tmp_path / "out.dcm") - expected).max() < 0.01


def centroid_of_segmentation(path):
    """Of a DICOM SEG, from the positions of its frames alone."""
    dataset = pydicom.dcmread(path)
    shared = dataset.SharedFunctionalGroupsSequence[0]
    across, down = np.reshape(shared.PlaneOrientationSequence[0].ImageOrientationPatient, (2, 3)).astype(float)
    row_mm, column_mm = map(float, shared.PixelMeasuresSequence[0].PixelSpacing)
    points = []
    for frame, groups in zip(dataset.pixel_array, dataset.PerFrameFunctionalGroupsSequence, strict=True):
        origin = np.array(groups.PlanePositionSequence[0].ImagePositionPatient, float)
        points += [origin + x * column_mm * across + y * row_mm * down for y, x in np.argwhere(frame)]
    return np.mean(points, axis=0)


def test_a_slide_becomes_a_heatmap_outlines_and_a_picture(tmp_path):
    path, program = pathology(tmp_path)
    for name in ("out.tif", "out.geojson", "out.png"):
        assert run(program, path, tmp_path / name) == 0
    with openslide.OpenSlide(tmp_path / "out.tif") as heatmap:
        assert heatmap.dimensions == (260, 300)
        assert float(heatmap.properties[openslide.PROPERTY_NAME_MPP_X]) == pytest.approx(0.5)
    assert json.loads((tmp_path / "out.geojson").read_text())["type"] == "FeatureCollection"
    assert read_image(tmp_path / "out.png").shape[0] == 3


def test_a_folder_of_many_formats_is_one_batch_with_a_manifest(tmp_path, capsys):
    (tmp_path / "in").mkdir()
    for number in (0, 1):
        nifti.write(tmp_path / "in" / f"{number}.nii.gz", nifti.samples((20, 18, 16), seed=number))
    dicom.write_series(tmp_path / "in" / "ct")
    (tmp_path / "in" / "2.nii.gz").write_bytes(b"no volume")
    (tmp_path / "in" / "notes.txt").write_text("not taken")
    program = save_copy(tmp_path / "any.pt", channels=("any",), dimensions=3, tile=16, overlap=4)
    assert run(program, tmp_path / "in", tmp_path / "out", "--suffix", ".nii") == 1
    assert sorted(each.name for each in (tmp_path / "out").glob("*.nii")) == ["0.nii", "1.nii", "ct.nii"]
    manifest = json.loads((tmp_path / "out" / "foveal-manifest.json").read_text())
    statuses = {Path(each["input"]).name: each["status"] for each in manifest["items"]}
    assert statuses == {"0.nii.gz": "done", "1.nii.gz": "done", "2.nii.gz": "failed", "ct": "done"}
    assert "2.nii.gz" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("make", "name", "options", "message"),
    [
        (raster, "out.nii", [], "can be written as .tif, .tiff"),
        (volume, "out.dcm", [], "can be written as .nii, .nii.gz"),
        (image, "out.png", ["--bands", "1"], None),
        (volume, "out.nii", ["--slide_mpp", "0.5"], None),
    ],
)
def test_options_and_outputs_of_another_format_are_told(tmp_path, capsys, caplog, make, name, options, message):
    path, program = make(tmp_path)
    assert run(program, path, tmp_path / name, *options) == (1 if message else 0)
    told = capsys.readouterr().err + caplog.text
    assert (message or f"{options[0]} has no effect") in told


@pytest.mark.parametrize("make", [image, raster, volume, series, pathology])
def test_a_disk_that_fills_up_at_any_write_leaves_nothing_half_written(tmp_path, monkeypatch, make):
    path, program = make(tmp_path)
    suffix = {image: ".png", volume: ".nii.gz", series: ".dcm"}.get(make, ".tif")
    assert run(program, path, tmp_path / f"whole{suffix}", "--quiet") == 0
    written = os.pwrite
    for fails_at in (0, 1, 5):
        count = iter(range(10**9))

        def full(*arguments, count=count, fails_at=fails_at):
            if next(count) == fails_at:
                raise OSError(errno.ENOSPC, "No space left on device")
            return written(*arguments)

        with monkeypatch.context() as patch:
            patch.setattr(os, "pwrite", full)
            assert run(program, path, tmp_path / f"cut{suffix}", "--quiet") == 2
        assert not (tmp_path / f"cut{suffix}").exists()
    assert run(program, path, tmp_path / f"cut{suffix}", "--quiet") == 0
    assert (tmp_path / f"cut{suffix}").read_bytes() == (tmp_path / f"whole{suffix}").read_bytes()
    assert not [each for each in tmp_path.iterdir() if each.name.startswith((".cut", ".whole"))]


def test_an_interrupted_explanation_does_not_stop_the_same_command(tmp_path, monkeypatch):
    class Drawing:
        fails = True

        def __init__(self, *_):
            pass

        def draw(self, image, path, title):
            if self.fails:
                raise KeyboardInterrupt
            path.write_text(title)

    monkeypatch.setattr("foveal.data.infer.Explainer", Drawing)
    path, program = image(tmp_path)
    engine, facts = open_engine(None, str(program), device="cpu")
    wanted = Wanted(explain=tmp_path / "see")
    with pytest.raises(KeyboardInterrupt):
        run_files(engine, facts, [path], tmp_path / "out.png", {}, wanted=wanted)
    assert not [*tmp_path.glob("out*"), *tmp_path.glob("see/*")]
    Drawing.fails = False
    run_files(engine, facts, [path], tmp_path / "out.png", {}, wanted=wanted)
    assert np.array_equal(read_image(tmp_path / "out.png"), read_image(path))
    assert (tmp_path / "see" / "out_explain.png").read_text() == "photo.png"


def test_an_output_that_is_the_input_is_refused(tmp_path, capsys):
    path, program = raster(tmp_path)
    before = path.read_bytes()
    assert run(program, path, path, "--overwrite") == 2
    assert "would replace an input" in capsys.readouterr().err
    assert path.read_bytes() == before


def start(pause, program, path, output):
    options = ["--weights", program, "--input", path, "--output", output, "--device", "cpu", "--overwrite"]
    return subprocess.Popen(
        [sys.executable, "-m", slow_infer.__name__, str(pause), *map(str, options)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_two_runs_on_one_output_are_told(tmp_path):
    path, program = raster(tmp_path)
    first = start(1.5, program, path, tmp_path / "out.tif")
    while not (tmp_path / ".out.tif.rows").exists():
        assert first.poll() is None, first.stderr.read()
        time.sleep(0.01)
    second = start(0, program, path, tmp_path / "out.tif")
    _, error = second.communicate()
    assert second.returncode == 1
    assert "another run writes this file now" in error
    _, error = first.communicate()
    assert first.returncode == 0, error
    with rasterio.open(path) as before, rasterio.open(tmp_path / "out.tif") as after:
        assert np.array_equal(after.read(), before.read())


@pytest.mark.slow
@pytest.mark.parametrize("make", [raster, volume])
def test_runs_killed_at_ten_random_moments_end_in_the_same_bytes(tmp_path, make):
    path, program = make(tmp_path)
    suffix = ".tif" if make is raster else ".nii.gz"
    _, error = (process := start(0, program, path, tmp_path / f"whole{suffix}")).communicate()
    assert process.returncode == 0, error
    generator, killed = random.Random(0), tmp_path / f"killed{suffix}"
    rows = tmp_path / f".killed{suffix}.rows"
    for _ in range(10):
        process = start(0.2, program, path, killed)
        while not rows.exists() and process.poll() is None:
            time.sleep(0.01)
        time.sleep(generator.uniform(0, 0.5))
        process.send_signal(signal.SIGKILL)
        process.communicate()
    _, error = (process := start(0, program, path, killed)).communicate()
    assert process.returncode == 0, error
    assert killed.read_bytes() == (tmp_path / f"whole{suffix}").read_bytes()

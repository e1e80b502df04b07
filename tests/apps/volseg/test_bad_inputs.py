"""What cannot be segmented is told in one line before any work; in a batch the rest goes on."""

import gzip
from pathlib import Path

import nibabel
import numpy as np
import pytest

from foveal.core.cli import main
from foveal.tests.fixtures import dicom, nifti
from foveal.tests.fixtures.pixelwise import save_shades

SHAPE = (10, 9, 8)


def noise(shape=SHAPE, dtype="float32"):
    return nifti.samples(shape, dtype)


def not_a_number(path):
    samples = noise()
    samples[3, 4, 5] = np.nan
    samples[0, 0, 0] = np.inf
    return nifti.write(path, samples), "2 voxels are no finite numbers (NaN or infinite)"


def constant(path):
    return nifti.write(path, np.full(SHAPE, 7, np.int16)), "all voxels have the value 7"


def flat(path):
    return nifti.write(path, noise((10, 9))), "is a single slice, not a volume"


def four_dimensional(path):
    return nifti.write(path, noise((*SHAPE, 3))), "holds 3 volumes (4D); the network takes 1 (mr)"


def spacing_zero(path):
    made = nifti.header(noise(), affine=None)
    made["pixdim"][1:4] = 0
    return nifti.write(path, noise(), made), "voxels are 0 mm apart"


def flat_affine(path):
    affine = nifti.AFFINES["straight"].copy()
    affine[:, 2] = 0
    made = nifti.header(noise(), sform_code=2)
    made["srow_x"], made["srow_y"], made["srow_z"] = affine[:3]
    return nifti.write(path, noise(), made), "its affine does not span space"


def corrupt_gzip(path):
    nifti.write(path, noise())
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 20] = bytes(20)
    path.write_bytes(content)
    return path, "damaged"


def cut_short(path):
    nifti.write(path, noise())
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:-100]))
    return path, "cut short"


def no_nifti(path):
    path.write_bytes(b"no volume at all")
    return path, "is not a NIfTI file"


def missing_slice(path):
    folder = path.with_name("series")
    dicom.write_series(folder, dicom.Grid(shape=(6, 9, 10)))
    series = sorted(folder.iterdir(), key=lambda each: dicom.pydicom.dcmread(each).ImagePositionPatient[2])
    series[3].unlink()
    return folder, "1 of the slices are missing"


def two_echoes(path):
    folder = path.with_name("series")
    dicom.write_series(folder, dicom.Grid(shape=(6, 9, 10)), slices=[0, 1, 2, 0, 1, 2])
    return folder, "lie at the same place as another"


def uneven(path):
    folder = path.with_name("series")
    dicom.write_series(folder, dicom.Grid(shape=(6, 9, 10)), slices=[0, 1, 2, 3, 4.3, 5])
    return folder, "not evenly spaced"


def two_series(path):
    folder = path.with_name("series")
    dicom.write_series(folder)
    for each in folder.iterdir():
        each.rename(each.with_name(f"first_{each.name}"))
    dicom.write_series(folder, series="1.2.77")
    return folder, "holds 2 series; choose one by --series"


def one_image(path):
    folder = path.with_name("series")
    dicom.write_series(folder, dicom.Grid(shape=(1, 9, 10)))
    return folder, "is a single slice, not a volume"


BAD = [
    not_a_number, constant, flat, four_dimensional, spacing_zero, flat_affine, corrupt_gzip, cut_short, no_nifti,
    missing_slice, two_echoes, uneven, two_series, one_image,
]  # fmt: skip


@pytest.fixture
def weights(tmp_path):
    return save_shades(tmp_path / "p.pt", app="volseg", channels=("mr",), dimensions=3, tile=16, overlap=4)


def run(weights, path, output):
    options = ["--weights", str(weights), "--input", str(path), "--output", str(output), "--device", "cpu"]
    return main(["volseg", "infer", *options])


@pytest.mark.parametrize("make", BAD, ids=lambda each: each.__name__)
def test_a_bad_input_is_one_line_and_leaves_nothing(tmp_path, weights, capsys, make):
    (tmp_path / "in").mkdir()
    path, message = make(tmp_path / "in" / "bad.nii.gz")
    assert run(weights, path, tmp_path / "out") == 1
    *_, line = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert message in line
    assert path.name in line
    assert [each.name for each in (tmp_path / "out").iterdir()] == ["foveal-manifest.json"]


def test_in_a_batch_the_others_are_done(tmp_path, weights, capsys):
    folder = tmp_path / "in"
    folder.mkdir()
    told = []
    for make in (not_a_number, constant, flat, corrupt_gzip):
        told.append(make(folder / f"{make.__name__}.nii.gz")[1])
    nifti.write(folder / "good.nii.gz", noise())
    dicom.write_series(folder / "ct")
    assert run(weights, folder, tmp_path / "out") == 1
    error = capsys.readouterr().err
    assert "4 of 6 inputs failed, the others are done" in error
    assert all(each in error for each in told)
    names = {each.name for each in (tmp_path / "out").iterdir() if not each.name.startswith(".")}
    assert names == {
        "good.nii.gz", "good_report.json", "good_report.png", "ct.dcm", "ct_report.json", "ct_report.png",
        "foveal-manifest.json", "foveal-report.csv",
    }  # fmt: skip


def test_weights_of_another_app_are_refused(tmp_path, capsys):
    weights = save_shades(tmp_path / "p.pt", app="medseg", channels=("mr",), dimensions=3)
    assert run(weights, nifti.write(tmp_path / "a.nii", noise()), tmp_path / "out") == 2
    assert "are for medseg, not for volseg" in capsys.readouterr().err


def test_an_output_that_is_the_input_is_refused(tmp_path, weights, capsys):
    path = nifti.write(tmp_path / "a.nii.gz", noise())
    before = Path(path).read_bytes()
    assert run(weights, path, tmp_path) == 2
    assert "would replace an input" in capsys.readouterr().err
    assert path.read_bytes() == before


def test_a_label_map_has_the_type_of_labels(tmp_path, weights):
    path = nifti.write(tmp_path / "a.nii", noise(dtype="int16"))
    assert run(weights, path, tmp_path / "out.nii") == 0
    assert nibabel.load(tmp_path / "out.nii").get_data_dtype() == np.uint8

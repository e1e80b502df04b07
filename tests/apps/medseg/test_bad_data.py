"""What cannot be trained on is told by `fit` in one line, before the run leaves anything."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from foveal.core.cli import main
from foveal.tests.fixtures.datasets_2d import merged, write_datasets
from foveal.tests.fixtures.dicom import image_dataset
from foveal.tests.fixtures.dicom import save as save_dicom
from foveal.tests.fixtures.small_runs import small

MASK = Path("datasets/chaos/train/GT/Subj_0slice_0.png")
XRAY = "datasets/rsna_pneumonia/stage_2_train_images"


def save(mask):
    Image.fromarray(mask.astype(np.uint8)).save(MASK)


def mask_of_another_size():
    save(np.asarray(Image.open(MASK))[:-3])
    return "Subj_0slice_0.png: ", "36 x 40", "36 x 37"


def label_outside_the_classes():
    save(np.where(np.asarray(Image.open(MASK)) == 252, 100, np.asarray(Image.open(MASK))))
    return "Subj_0slice_0.png: ", "100"


def colour_mask():
    save(np.random.default_rng(0).integers(0, 256, (40, 36, 3)))
    return "Subj_0slice_0.png: ", "colour"


def class_absent_from_training():
    for path in MASK.parent.iterdir():
        mask = np.asarray(Image.open(path))
        Image.fromarray(np.where(mask == 252, 0, mask).astype(np.uint8)).save(path)
    return "no training mask holds the class 4 (spleen)", ""


def empty_validation_folder():
    for path in Path("datasets/chaos/val").rglob("*.png"):
        path.unlink()
    return "datasets/chaos/val/Img", ""


def image_cut_short():
    path = Path("datasets/chaos/val/Img/Subj_0slice_0.png")
    path.write_bytes(path.read_bytes()[:200])
    return "val/Img/Subj_0slice_0.png: ", "damaged"


def too_few_volumes_to_validate():
    for path in sorted(Path("datasets/brats").rglob("*.nii.gz")):
        if "scan0" not in path.name:
            path.unlink()
    return "the part validation of 1 patients or volumes is empty", ""


def labels_of_another_size():
    Path("datasets/brats/labels/scan0.nii.gz").write_bytes(_short_volume())
    return "scan0.nii.gz", "labels"


def _short_volume():
    import nibabel

    volume = nibabel.load("datasets/brats/labels/scan0.nii.gz")
    return nibabel.Nifti1Image(np.asarray(volume.dataobj)[..., :2], volume.affine).to_bytes()


def dicom_without_pixels():
    path = next(Path(XRAY).iterdir())
    dataset = image_dataset(np.zeros((8, 8), np.uint8))
    del dataset.PixelData
    save_dicom(path, dataset)
    return f"{path.name}: ", "pixel"


def no_pneumonia_at_all():
    table = Path("datasets/rsna_pneumonia/stage_2_train_labels.csv")
    table.write_text(table.read_text().replace(",1\n", ",0\n"))
    return "no training image is of the class 'pneumonia'", ""


def missing_file_of_a_csv():
    Path("datasets/mine/pictures/3.png").unlink()
    return "labels.csv line 5: datasets/mine/pictures/3.png: there is no such file", "1 of 16 are missing"


BAD = [
    ("msga_chaos", mask_of_another_size),
    ("msga_chaos", label_outside_the_classes),
    ("msga_chaos", colour_mask),
    ("msga_chaos", class_absent_from_training),
    ("msga_chaos", empty_validation_folder),
    ("msga_chaos", image_cut_short),
    ("msga_brats", too_few_volumes_to_validate),
    ("msga_brats", labels_of_another_size),
    ("medusa_rsna", dicom_without_pixels),
    ("medusa_rsna", no_pneumonia_at_all),
    ("medusa_csv", missing_file_of_a_csv),
]


@pytest.mark.parametrize(("name", "damage"), BAD, ids=[damage.__name__ for _, damage in BAD])
def test_bad_data_is_one_line_before_training(name, damage, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    content = merged(f"configs/medseg/{name}.yaml")
    write_datasets(content)
    told = damage()
    assert main(["medseg", "fit", "--config", f"configs/medseg/{name}.yaml", *small(content)]) == 2
    _, *lines = capsys.readouterr().err.splitlines()  # the first says what was going to be trained
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    assert all(words in lines[0] for words in told), lines[0]
    assert not list(Path("runs").glob("*/*"))


def test_an_empty_share_for_validation_is_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    content = merged("configs/medseg/medusa_csv.yaml")
    write_datasets(content)
    options = [*small(content), "--data.init_args.validation_share", "0"]
    assert main(["medseg", "fit", "--config", "configs/medseg/medusa_csv.yaml", *options]) == 2
    assert "error: the validation set is empty. Raise data.validation_share" in capsys.readouterr().err

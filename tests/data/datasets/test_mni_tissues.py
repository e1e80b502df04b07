"""The pieces of the template, out of a package that looks like nilearn."""

import nibabel
import numpy as np
import pytest

from foveal.core.errors import UserError
from foveal.data.datasets import mni_tissues
from foveal.data.datasets.mni_tissues import FILE, MNITissues, template_file

SHAPE = (197, 233, 189)
ORIGIN = (-98.0, -134.0, -72.0)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def template(tmp_path, monkeypatch):
    """A template of three slabs along k: nothing, grey matter, white matter."""
    maps = {kind: np.zeros(SHAPE, np.uint8) for kind in ("t1", "gm", "wm")}
    maps["gm"][..., 60:100], maps["wm"][..., 90:] = 140, 200
    maps["t1"][:] = np.arange(SHAPE[1], dtype=np.uint8)[:, None]
    affine = np.eye(4)
    affine[:3, 3] = ORIGIN
    folder = tmp_path / "site" / "nilearn" / "datasets" / "data"
    folder.mkdir(parents=True)
    (tmp_path / "site" / "nilearn" / "__init__.py").write_text("raise ImportError('is not to be imported')")
    for kind, array in maps.items():
        nibabel.save(nibabel.Nifti1Image(array, affine), folder / FILE.format(kind))
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    return folder


def test_the_pieces_are_apart_and_lie_where_the_template_does(template):
    starts = {}
    for part in ("train", "validation"):
        (case,) = MNITissues(part).cases()
        image, labels = nibabel.load(case.images[0]), nibabel.load(case.label)
        assert image.shape == labels.shape
        assert np.allclose(image.affine, labels.affine)
        first = (image.affine[:3, 3] - ORIGIN).astype(int)
        assert first[0] == 98  # the middle of the head
        assert np.array_equal(image.dataobj[0, :, 0], np.arange(first[1], first[1] + image.shape[1]))
        starts[part] = (first[1], first[1] + image.shape[1])
    assert starts["train"][1] + 10 <= starts["validation"][0]


def test_a_voxel_is_of_the_most_probable_tissue(template):
    (case,) = MNITissues("train").cases()
    labels = np.asarray(nibabel.load(case.label).dataobj)
    assert (labels == labels[:1, :1]).all()
    assert [np.unique(labels[..., part]).tolist() for part in (slice(60), slice(60, 90), slice(90, None))] == [
        [0],
        [1],
        [2],
    ]


def test_pieces_are_made_once(template):
    (case,) = MNITissues("train").cases()
    for file in template.iterdir():
        file.unlink()
    assert MNITissues("train").cases() == [case]


def test_what_is_missing_is_told(template, monkeypatch):
    (template / FILE.format("wm")).unlink()
    with pytest.raises(UserError, match="holds no MNI152 template"):
        MNITissues("train").cases()
    monkeypatch.setattr(mni_tissues, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"nilearn is not installed; install it by `pip install 'foveal\[samples\]'`"):
        MNITissues("train").cases()


def test_the_template_of_the_installed_package_is_found():
    pytest.importorskip("nilearn")
    assert nibabel.load(template_file("gm")).shape == SHAPE

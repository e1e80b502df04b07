"""`volseg infer --explain` with a small D-Former of random weights."""

import numpy as np
import pytest
import torch

from foveal.apps.volseg import explanation
from foveal.apps.volseg.infer import infer
from foveal.apps.volseg.models.dformer import DFormer
from foveal.core.errors import UserError
from foveal.core.weights.card import Card
from foveal.core.weights.label import Label
from foveal.core.weights.load import save_weights
from foveal.data.io.image import read_image
from foveal.tests.fixtures import nifti
from foveal.tests.fixtures.pixelwise import save_shades

NET = {"num_classes": 2, "dim": 4, "depths": [1, 2], "heads": [1, 2], "patch": [2, 2, 2], "group": [2, 2, 2]}
NET |= {"intervals": [4, 2], "supervised": 1}


@pytest.fixture
def weights(tmp_path):
    torch.manual_seed(0)
    net = DFormer(**NET).eval()
    network = {"class_path": "foveal.apps.volseg.models.dformer.DFormer", "init_args": NET}
    labels = (Label(value=1, name="organ", colour=(220, 40, 40)),)
    card = Card(
        name="toy", app="volseg", network=network, dimensions=3, channels=("mr",), size_multiple=net.size_multiple,
        tile=(8, 16, 16), overlap=0, fixed_tile=True, intensity={"zscore": True}, activation="argmax", labels=labels,
    )  # fmt: skip
    save_weights(net, card, tmp_path / "net.safetensors")
    return str(tmp_path / "net.safetensors")


def write_volume(path, shape=(20, 17, 9)):
    nifti.write(path, np.random.default_rng(0).random(shape, np.float32), affine=nifti.AFFINES["oblique"])
    return path


def test_three_planes_are_drawn_and_an_interrupted_run_goes_on(tmp_path, weights, monkeypatch):
    drawn, draw = {}, explanation.draw_panels

    def record(panels, path, title, caption):
        drawn.update(panels=panels, title=title, caption=caption)
        draw(panels, path, title, caption=caption)

    monkeypatch.setattr(explanation, "draw_panels", record)
    volume = write_volume(tmp_path / "case.nii.gz")
    infer(tmp_path / "out.nii.gz", [volume], [weights], explain=tmp_path / "see", device="cpu", quiet=True)
    picture = read_image(tmp_path / "see" / "out_explain.png")
    assert picture.shape[2] > 1500
    assert [each.title for each in drawn["panels"][::2]] == ["axial", "coronal", "sagittal"]
    assert drawn["title"] == "case"
    assert "the 2 x 4 x 4 tokens of the deepest stage" in drawn["caption"]
    assert "8 x 16 x 16 voxels" in drawn["caption"]
    assert {each.ends for each in drawn["panels"][1::2]} == {(0.0, 1.0)}
    shares = np.concatenate([each.attention.ravel() for each in drawn["panels"][1::2]])
    assert shares.min() >= 0
    assert 0 < shares.max() <= 1
    drawn.clear()
    infer(tmp_path / "out.nii.gz", [volume], [weights], explain=tmp_path / "see", device="cpu", quiet=True)
    assert not drawn  # all of it is there


def test_an_interrupted_picture_does_not_stop_the_same_command(tmp_path, weights, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    volume = write_volume(tmp_path / "case.nii.gz")
    with monkeypatch.context() as patch:
        patch.setattr(explanation, "draw_panels", interrupted)
        with pytest.raises(KeyboardInterrupt):
            infer(tmp_path / "out", [volume], [weights], explain=tmp_path / "see", device="cpu", quiet=True)
    assert not [*tmp_path.glob("out/case*"), *tmp_path.glob("see/*")]
    infer(tmp_path / "out", [volume], [weights], explain=tmp_path / "see", device="cpu", quiet=True)
    assert (tmp_path / "out" / "case.nii.gz").exists()
    assert (tmp_path / "see" / "case_explain.png").exists()


def test_other_networks_and_wrong_folders_are_refused(tmp_path, weights):
    volume = write_volume(tmp_path / "case.nii.gz")
    shades = save_shades(tmp_path / "s.pt", app="volseg", dimensions=3, tile=16, overlap=8, channels=("mr",))
    with pytest.raises(UserError, match="one D-Former"):
        infer(tmp_path / "o.nii.gz", [volume], [str(shades)], explain=tmp_path / "see", device="cpu", quiet=True)
    with pytest.raises(UserError, match="one D-Former"):
        infer(tmp_path / "o.nii.gz", [volume], [weights] * 2, explain=tmp_path / "see", device="cpu", quiet=True)
    with pytest.raises(UserError, match="pictures go to a folder"):
        infer(tmp_path / "o.nii.gz", [volume], [weights], explain=tmp_path / "see.nii.gz", device="cpu", quiet=True)

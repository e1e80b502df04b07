"""Pictures of where segmentation networks look, with networks whose attention is known."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from foveal.core import explanation
from foveal.core.attention.convolutional import SpatialGate
from foveal.core.attention.position import PositionAttention
from foveal.core.errors import UserError
from foveal.core.explanation import Explainer, marked_score, mean_map
from foveal.core.weights.card import Card
from foveal.core.weights.label import Label
from foveal.data.io.image import read_image

OBJECT = (Label(value=1, name="object", colour=(220, 40, 40)),)
CARD = Card(
    name="toy", app="medseg", network={"class_path": "x"}, channels=("grey",), size_multiple=4, tile=16, overlap=0,
    activation="argmax", labels=OBJECT,
)  # fmt: skip


class Bright(nn.Module):
    """Every position attends to the bright ones, and what they bring makes it an object."""

    def __init__(self) -> None:
        super().__init__()
        self.position = PositionAttention(1, reduction=1)
        for parameter in self.position.parameters():
            nn.init.zeros_(parameter)
        nn.init.constant_(self.position.query.bias, 1.0)
        nn.init.constant_(self.position.key.weight, 8.0)
        nn.init.constant_(self.position.value.weight, 1.0)
        nn.init.constant_(self.position.gamma, 1.0)

    def forward(self, x: Tensor) -> Tensor:
        found = self.position(x[:, :1])
        return torch.cat([torch.full_like(found, 1.2), found], 1)


def shown(monkeypatch: pytest.MonkeyPatch) -> dict:
    """Return what is handed to the drawing, which still draws."""
    drawn, draw = {}, explanation.draw_attention

    def record(image, maps, path, title, caption):
        drawn.update(image=image, maps={name: each for name, each, _ in maps}, caption=caption)
        draw(image, maps, path, title, caption=caption)

    monkeypatch.setattr(explanation, "draw_attention", record)
    return drawn


def test_the_bright_corner_that_decides_is_shown(tmp_path, monkeypatch):
    drawn = shown(monkeypatch)
    image = np.zeros((1, 12, 16), np.float32)
    image[0, 8:, 12:] = 1.0
    Explainer(Bright().eval(), CARD, torch.device("cpu")).draw(image, tmp_path / "a_explain.png", "a.png")
    assert read_image(tmp_path / "a_explain.png").shape[2] > 800
    for each in drawn["maps"].values():
        assert each.shape == (12, 16)
        assert each[8:, 12:].min() > 10 * each[:8, :12].max()
    assert drawn["maps"]["attention"].mean() == pytest.approx(1.0)  # 1 where all are alike
    assert "for object where it was marked" in drawn["caption"]
    assert "12 x 16 pixels" in drawn["caption"]
    assert "no proof" in drawn["caption"]


def test_gates_are_shown_as_they_are(tmp_path, monkeypatch):
    drawn = shown(monkeypatch)
    torch.manual_seed(0)
    net = nn.Sequential(SpatialGate(3)).eval()
    image = np.random.default_rng(0).random((1, 8, 8), np.float32)
    Explainer(net, CARD, torch.device("cpu")).draw(image, tmp_path / "a_explain.png", "a.png")
    with torch.no_grad():
        wanted = net(torch.from_numpy(image)[None]) / torch.from_numpy(image)[None]
    np.testing.assert_allclose(drawn["maps"]["0"], wanted[0, 0].numpy(), rtol=1e-5)


def test_large_images_are_seen_smaller_and_frames_kept(tmp_path, monkeypatch):
    drawn = shown(monkeypatch)
    monkeypatch.setattr(explanation, "LONGEST", 16)
    Explainer(Bright().eval(), CARD, torch.device("cpu")).draw(
        np.random.default_rng(0).random((1, 30, 61), np.float32), tmp_path / "a_explain.png", "a.png"
    )
    assert drawn["image"].shape == (1, 8, 16)


def test_networks_without_attention_and_exported_programs_are_refused():
    with pytest.raises(UserError, match="toy has no attention to show"):
        Explainer(nn.Conv2d(1, 2, 1), CARD, torch.device("cpu"))
    with pytest.raises(UserError, match="give its checkpoint"):
        Explainer(lambda x: x, CARD, torch.device("cpu"))


def test_the_score_is_that_of_what_is_marked():
    logits = torch.tensor([[[[0.0, 2.0, 1.0]], [[3.0, 1.0, 2.0]]]])
    assert marked_score(logits) == 2.0  # of 3, -1 and 1
    assert marked_score(logits[:, :1] - 5, exclusive=False) == -4.0  # nothing is marked


def test_maps_of_several_sizes_have_their_mean_at_the_largest():
    maps = [torch.ones(1, 1, 2, 2), torch.full((1, 1, 4, 4), 3.0)]
    np.testing.assert_allclose(mean_map(maps), np.full((4, 4), 2.0))

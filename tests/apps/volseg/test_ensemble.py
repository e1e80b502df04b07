"""Several networks as one."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from foveal.apps.volseg.ensemble import Ensemble, open_ensemble
from foveal.core.errors import UserError
from foveal.core.weights.card import Card
from foveal.core.weights.load import load_program
from foveal.tests.fixtures.pixelwise import save_shades

CARD = Card(
    name="fold 0", app="volseg", network={"class_path": "toy"}, dimensions=3, tile=8, overlap=2, channels=("mr",),
    activation="argmax", outputs=("background", "liver"),
)  # fmt: skip


class Scores(nn.Module):
    """Gives seeded scores, or the probabilities of them."""

    def __init__(self, seed, **changes):
        super().__init__()
        self.conv = nn.Conv3d(1, 2, 1)
        generator = torch.Generator().manual_seed(seed)
        nn.init.normal_(self.conv.weight, generator=generator)
        self.card = replace(CARD, name=f"fold {seed}", **changes)

    def forward(self, x):
        y = self.conv(x)
        return y.softmax(dim=1) if self.card.probabilities else y


def noise(batch=2):
    return torch.rand(batch, 1, 4, 5, 6, generator=torch.Generator().manual_seed(9))


def test_the_mean_is_that_of_the_probabilities():
    members = [Scores(0), Scores(1), Scores(2, probabilities=True)]
    x = noise()
    expected = torch.stack([members[0](x).softmax(1), members[1](x).softmax(1), members[2](x)]).mean(0)
    found = Ensemble(members, "abc")
    torch.testing.assert_close(found(x), expected)
    assert found.card.probabilities
    assert found.card.name == "fold 0 and 2 more"
    torch.testing.assert_close(Ensemble(members[:1], "a")(x), members[0](x).softmax(1), rtol=0, atol=0)


def test_exported_programs_are_members_too_tile_by_tile(tmp_path):
    weights = [str(save_shades(tmp_path / f"{more}.pt", app="volseg", channels=("mr",), dimensions=3)) for more in "ab"]
    program, facts = open_ensemble(weights, "cpu")
    seen = []
    run = program.programs[0].run
    program.programs[0].run = lambda x: seen.append(len(x)) or run(x)
    x = noise()
    torch.testing.assert_close(program(x), load_program(weights[0])(x).softmax(1))
    assert seen == [1, 1]
    assert [each["name"] for each in facts["weights"]] == ["toy", "toy"]
    assert all(len(each["sha256"]) == 64 for each in facts["weights"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"channels": ("ct",)}, "its card says channels"),
        ({"spacing": (1.0, 1.0, 2.0)}, "its card says spacing"),
        ({"intensity": {"zscore": True}}, "its card says intensity"),
        ({"outputs": ("background", "spleen")}, "its card says outputs"),
        ({"activation": "sigmoid"}, "gives no exclusive classes"),
    ],
)
def test_members_of_another_task_are_refused(changes, message):
    with pytest.raises(UserError, match=f"--weights b.ckpt: {message}"):
        Ensemble([Scores(0), Scores(1, **changes)], ["a.ckpt", "b.ckpt"])


def test_what_the_members_were_trained_on_may_differ():
    Ensemble([Scores(0), Scores(1, training={"fold": 1}, metrics={"dice": 0.9}, licence="MIT")], ["a", "b"])

"""Evaluation of whole volumes in their own grid, and the card."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from lightning.pytorch.trainer.states import TrainerFn
from torch import nn

from foveal.apps.volseg.task import VolumeSegmentation
from foveal.core.errors import UserError
from foveal.core.losses.deep_supervision import AuxiliarySupervision, DeepSupervision, StepDecay
from foveal.core.losses.segmentation import SegmentationLoss
from foveal.core.weights.card import Card
from foveal.tests.fixtures.volumes import affine_of, arrays, data_module, save, write_pairs

SHAPE = (16, 14, 10)


class Bright(nn.Module):
    """Tells three classes by a voxel's value: the labels times 100 of `arrays`, in the window that is -1..1."""

    in_channels, num_classes, size_multiple = 1, 3, 4
    centres = (-0.5, 0.0, 0.5)

    def __init__(self, gives_probabilities=False):
        super().__init__()
        self.gives_probabilities = gives_probabilities
        self.steepness = nn.Parameter(torch.tensor(20.0))

    def forward(self, x):
        logits = torch.cat([-self.steepness * (x - each).square() for each in self.centres], 1)
        return logits.softmax(1) if self.gives_probabilities else logits


def made(folder, net=None, fitting=True, testing=False, data=None, **arguments):
    """The task, and its data, as the Trainer has them."""
    net = net or Bright()
    task = VolumeSegmentation(net, arguments.pop("loss", SegmentationLoss()), **arguments)
    task.network = {"class_path": "toy"}
    options = {"patch_size": (8, 8, 8), "modality": "CT", "window": (-100, 300)} | (data or {})
    module = data_module(folder / "cache", net, train=[write_pairs(folder)], **options)
    module.setup("fit")
    state = SimpleNamespace(fn=TrainerFn.FITTING if fitting else TrainerFn.TESTING)
    task._trainer = SimpleNamespace(datamodule=module, testing=testing, state=state, current_epoch=45, global_step=7)
    return task


def case_of(task, number=0):
    return task.trainer.datamodule.evaluation[number]


def moved(folder, task, spacing=(1.0, 1.0, 1.5), order=(0, 1, 2), flips=()):
    """Write the first case again, its axes exchanged and mirrored, where they lay before."""
    values, labels = arrays(0)
    codes = np.eye(4)[[*order, 3]].T @ np.diag([*(-1.0 if axis in flips else 1.0 for axis in range(3)), 1.0])
    affine = affine_of(spacing) @ codes
    files = []
    for name, array in (("image", values), ("label", labels)):
        turned = np.flip(array.transpose(order), flips)
        files.append(save(turned, folder / "moved" / f"{name}.nii.gz", affine))
    return {**case_of(task), "images": files[:1], "label": files[1]}


@pytest.mark.parametrize("gives_probabilities", [False, True])
def test_a_network_that_is_right_scores_one_in_every_class(tmp_path, gives_probabilities):
    task = made(tmp_path, Bright(gives_probabilities))
    scores, pictures = task.evaluate(case_of(task))
    assert scores["set"] == "validation"
    assert scores["name"] == case_of(task)["name"]
    for name in ("", "_class 1", "_class 2"):
        assert scores[f"dice{name}"] == scores[f"nsd{name}"] == 1
        assert scores[f"hd95{name}"] == 0
    assert len(pictures) == 2
    assert np.array_equal(*pictures)


@pytest.mark.parametrize(("order", "flips"), [((1, 2, 0), ()), ((2, 0, 1), (0,)), ((0, 1, 2), (0, 1, 2))])
def test_cases_are_scored_however_they_are_stored(tmp_path, order, flips):
    task = made(tmp_path)
    scores, _ = task.evaluate(moved(tmp_path, task, order=order, flips=flips))
    assert scores["dice"] == 1


def test_predictions_come_back_to_the_grid_of_the_file(tmp_path):
    task = made(tmp_path, data={"spacing": (1.0, 0.5, 0.5)})
    labels = task.predict_step(case_of(task), 0)
    assert labels.shape == (1, *SHAPE[::-1])
    scores, _ = task.evaluate(case_of(task))
    assert 0.5 < scores["dice"] <= 1


def test_distances_are_millimetres(tmp_path):
    task = made(tmp_path, Wrong())
    near, _ = task.evaluate(case_of(task))
    far, _ = task.evaluate(moved(tmp_path, task, spacing=(2.0, 2.0, 3.0)))
    assert near["hd95"] == pytest.approx(math.hypot(16, 14, 15))  # what is missed lies a diagonal away
    assert far["hd95"] == pytest.approx(2 * near["hd95"])
    assert near["dice"] == 0


class Wrong(Bright):
    """Sees nothing but background."""

    def forward(self, x):
        return super().forward(x) - 1000 * torch.tensor([0.0, 1.0, 1.0]).view(3, 1, 1, 1)


def test_the_protocol_and_the_tolerance_are_those_of_the_config(tmp_path):
    task = made(tmp_path, Wrong(), protocol="synapse3d")
    assert (task.units, made(tmp_path / "strict").units["hd95"]) == ({}, "mm")  # the script counts in voxels
    scores, _ = task.evaluate(case_of(task))
    assert {name: scores[name] for name in ("dice", "hd95")} == {"dice": 0, "hd95": 0}
    assert "nsd" not in scores
    prediction, truth = np.zeros((2, 8, 8, 8), np.uint8)
    prediction[2:4, 2:6, 2:6] = truth[2:5, 2:6, 2:6] = 1
    shares = []
    for tolerance in (0.5, 1.0):
        task.protocol, task.tolerance_mm = "strict", tolerance
        shares.append(task._scores(prediction, truth, task.card(), (1.0, 1.0, 1.0))["nsd"])
    assert shares[0] < shares[1] == 1


def test_the_mean_is_of_the_classes_that_are_scored(tmp_path):
    task = made(tmp_path, classes=["liver", "spleen"], scored=["spleen"])
    task.setup("fit")
    scores, _ = task.evaluate(case_of(task))
    assert {"dice", "hd95"} < scores.keys()
    assert not any("liver" in name for name in scores)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"classes": ["liver"]}, r"names 1 classes \(liver\); a network of 3 outputs tells 2 apart"),
        ({"classes": ["liver", "spleen"], "scored": ["splen"]}, "no class 'splen'; did you mean 'spleen'"),
    ],
)
def test_names_that_do_not_fit_are_told_before_training(tmp_path, arguments, words):
    task = made(tmp_path, **arguments)
    with pytest.raises(UserError, match=words):
        task.setup("fit")


def test_the_loss_takes_all_resolutions_and_the_epoch(tmp_path):
    task = made(tmp_path, loss=AuxiliarySupervision(SegmentationLoss(), StepDecay()))
    task.net.forward = lambda x: (Bright.forward(task.net, x), torch.zeros(2, 3, 2, 2, 2))
    batch = {"image": torch.zeros(2, 1, 4, 4, 4), "mask": torch.randint(3, (2, 4, 4, 4))}
    first = float(task.training_loss(batch).detach())
    task.on_train_epoch_start()
    outputs = [each.detach() for each in task.net(batch["image"])]
    targets = [batch["mask"], batch["mask"][:, ::2, ::2, ::2]]
    plain, coarse = (float(task.loss.loss(*each)) for each in zip(outputs, targets, strict=True))
    assert first == pytest.approx(plain + 0.4 * coarse)
    assert float(task.training_loss(batch).detach()) == pytest.approx(plain + 0.4 * 0.8 * coarse)
    task.loss = DeepSupervision(SegmentationLoss())
    assert float(task.training_loss(batch).detach()) == pytest.approx((2 * plain + coarse) / 3)


def test_the_card_holds_the_plan(tmp_path):
    task = made(tmp_path, Bright(gives_probabilities=True), classes=["liver", "spleen"], licence="CC0")
    card = Card.from_json(task.card().to_json())
    plan = task.trainer.datamodule.plan
    assert (card.dimensions, card.tile, card.overlap) == (3, (8, 8, 8), (4, 4, 4))
    assert (card.spacing, card.orientation) == ((1.5, 1.0, 1.0), "SPL")
    assert card.intensity == {"window": [-100, 300]}
    assert card.probabilities
    assert card.activation == "argmax"
    assert card.outputs == ("background", "liver", "spleen")
    assert [(each.value, each.name) for each in card.labels] == [(1, "liver"), (2, "spleen")]
    assert len({each.colour for each in card.labels}) == 2
    assert card.training["plan"] == plan.plain()
    assert card.training["data"]["train"]["cases"] == 4
    assert card.licence == "CC0"


def test_a_checkpoint_is_evaluated_with_the_plan_that_it_was_trained_with(tmp_path):
    task = made(tmp_path)
    trained = {"card": task.card().to_json()}
    for fitting, spacing in ((False, (1.5, 1.0, 1.0)), (True, (3.0, 2.0, 2.0))):
        other = made(tmp_path, fitting=fitting, data={"spacing": (3.0, 2.0, 2.0)})
        other.on_load_checkpoint(trained)
        assert other.card().spacing == spacing


def test_mirrored_views_are_taken_in_the_test_alone(tmp_path):
    calls = []
    for testing in (False, True):
        task = made(tmp_path, tta=True, testing=testing)
        task.net.register_forward_hook(lambda *_: calls.append(1))
        task.evaluate(case_of(task))
        calls.append(0)
    assert calls.index(0) * 8 == len(calls) - calls.index(0) - 2


def test_pictures_are_drawn_of_the_first_cases_alone(tmp_path):
    task = made(tmp_path)
    task.pictures = [[]] * task.num_samples
    assert task.evaluate(case_of(task))[1] == []


def test_the_report_shows_the_planes_of_the_case_that_was_evaluated(tmp_path):
    task = made(tmp_path, classes=["liver", "spleen"])
    _, pictures = task.evaluate(case_of(task))
    found = task.exhibit(pictures)
    assert found.kind == "volume"
    assert list(found.pictures) == ["image", "truth", "network"]
    assert [name for name, _ in found.facts["classes"]] == ["liver", "spleen"]
    assert np.array_equal(found.pictures["truth"], found.pictures["network"])
    assert sorted(found.facts["shape"]) == sorted(SHAPE)

from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from foveal.apps.medseg.task import MedicalSegmentation
from foveal.apps.polyp.task import PolypSegmentation
from foveal.core.errors import UserError
from foveal.core.inference.engine import Engine
from foveal.core.losses.segmentation import SegmentationLoss
from foveal.core.losses.structure import StructureLoss


class Net(nn.Conv2d):
    """One convolution."""

    size_multiple = 4

    def __init__(self, num_classes, in_channels=3):
        torch.manual_seed(0)
        super().__init__(in_channels, num_classes, 3, padding=1)
        self.num_classes = num_classes


class Bright(nn.Module):
    """Says of each pixel whether it is bright."""

    size_multiple, in_channels, num_classes = 4, 3, 1

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(40.0))

    def forward(self, x):
        return (x.mean(1, keepdim=True) - 0.5) * self.scale


def item(size=(30, 42), slices=1):
    images = [torch.rand(3, *size, generator=torch.Generator().manual_seed(n)) for n in range(slices)]
    masks = torch.stack([(image.mean(0) > 0.5).long() for image in images])
    return {"set": "a", "name": "b", "images": images, "masks": masks, "spacing": (2.0, 0.5), "step": 3.0}


def made(kind, net, **arguments):
    task = kind(net, **arguments)
    task.network = {"class_path": "toy"}
    return task


binary = partial(made, PolypSegmentation, loss=StructureLoss(), classes=["polyp"])


def test_a_network_that_is_right_scores_one():
    task = binary(Bright())
    case, pictures = task.evaluate(item())
    assert case["dice_at_half"] == 1
    assert case["mae"] < 0.2
    assert [picture.shape for picture in pictures] == [(30, 42, 3)] * 3
    assert np.array_equal(pictures[1], pictures[2])


def test_evaluation_computes_what_the_engine_gives():
    task = binary(Net(1), frame=[16, 24], mean=[0.5] * 3, std=[0.2] * 3)
    image = item()["images"][0]
    card = task.card()
    assert card.frame == (16, 24)
    mask = Engine(task.net, card).array(image.numpy())
    probabilities = task._probabilities(image)
    assert probabilities.shape == (1, 30, 42)
    assert np.array_equal(task.predicted(probabilities[None])[0].numpy(), mask[0])


@pytest.mark.parametrize("num_classes", [2, 4])
def test_each_class_of_a_subject_is_scored_over_all_its_slices(num_classes):
    names = ["liver", "spleen", "kidney"][: num_classes - 1]
    task = made(MedicalSegmentation, Net(num_classes), loss=SegmentationLoss(), classes=names)
    found = []
    scores = task.scores
    task.scores = lambda *of: found.append(of[2]) or scores(*of)
    case, _ = task.evaluate(item(slices=3))
    task.evaluate(item(slices=1))
    assert found == [(3.0, 2.0, 0.5), (2.0, 0.5)]
    assert {"dice", "iou", "hd95", "assd", "nsd"} <= case.keys()
    assert ("dice_liver" in case) == (num_classes > 2)
    card = task.card()
    assert (card.activation, card.outputs) == ("argmax", ("background", *names))
    assert [label.name for label in card.labels] == names


def test_the_loss_is_that_of_normalised_images():
    batch = {"image": torch.rand(2, 3, 32, 32), "mask": torch.rand(2, 1, 32, 32).round()}
    task = binary(Net(1), mean=[0.4, 0.5, 0.6], std=[0.1, 0.2, 0.3])
    image = (batch["image"] - torch.tensor([0.4, 0.5, 0.6]).view(3, 1, 1)) / torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1)
    assert torch.equal(task.training_loss(batch), StructureLoss()(task.net(image), batch["mask"]))


def test_training_images_take_the_scales_in_turn(monkeypatch):
    task = binary(Net(1), scales=[0.75, 1.0, 1.25])
    sizes = []
    task.net.register_forward_pre_hook(lambda net, inputs: sizes.append(tuple(inputs[0].shape[2:])))
    for step in range(4):
        monkeypatch.setattr(PolypSegmentation, "global_step", step)
        assert task.training_loss({"image": torch.rand(1, 3, 32, 64), "mask": torch.rand(1, 1, 32, 64)}).isfinite()
    assert sizes == [(24, 48), (32, 64), (40, 80), (24, 48)]


def test_several_classes_of_polyps_are_learned_and_scored():
    task = made(PolypSegmentation, Net(3), loss=StructureLoss(), classes=["adenoma", "hyperplastic"])
    masks = torch.randint(0, 3, (2, 32, 32), generator=torch.Generator().manual_seed(0))
    assert task.training_loss({"image": torch.rand(2, 3, 32, 32), "mask": masks}).isfinite()
    case, _ = task.evaluate(item())
    assert {"mean_dice", "dice_adenoma", "dice_hyperplastic"} <= case.keys()


def test_classes_that_do_not_fit_the_network_are_told():
    with pytest.raises(UserError, match=r"names 1 classes \(liver\); a network of 4 outputs tells 3 apart"):
        MedicalSegmentation(Net(4), loss=SegmentationLoss(), classes=["liver"])


@pytest.mark.parametrize(("count", "names"), [(1, ("grey",)), (3, ("red", "green", "blue")), (4, ("grey",) * 4)])
def test_the_card_names_every_channel_of_the_network(count, names):
    task = made(MedicalSegmentation, Net(2, count), loss=SegmentationLoss(), classes=["liver"])
    assert task.card().channels == names

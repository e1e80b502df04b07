"""MPU-Net: the network, its attention and its gate, its losses and the scores that its authors print."""

from collections.abc import Mapping

import numpy as np
import torch
from differentiate import run
from parity import Case
from torch import Tensor, nn

import foveal
from foveal.apps.volseg.models.mpunet import serialised_attention
from foveal.apps.volseg.models.mpunet_adapter import ATTENTION, GATE
from foveal.core.attention.gate import AttentionGate
from foveal.core.losses.tversky import TverskyEntropyLoss, tversky_loss
from foveal.core.metrics.segmentation import segmentation_scores
from foveal.core.weights.adapters import fill, rename

SCORES = {
    "dice": "dice",
    "accuracy": "accuracy",
    "precision": "recall",
    "specificity": "npv",
    "iou": "iou",
    "mcc": "mcc",
}
"""What the authors call a score, and what it is: they exchange false positives and false negatives."""


def outputs(case: Case) -> dict[str, np.ndarray]:
    """Return what a case of this variant can ask for."""
    variant = case.meta["variant"]
    if variant.startswith("gate"):
        return run(gate(case), case.inputs)
    if variant.startswith("pam"):
        return run(attention(case), case.inputs)
    return network(case) if case.shapes else losses(case) | scores(case)


def network(case: Case) -> dict[str, np.ndarray]:
    """Return the mean prediction, its gradient and the predictions that it is the mean of."""
    net = foveal.load_reference("mpunet", case.weights(), case.meta["config"])

    def probabilities(image: Tensor) -> Mapping[str, Tensor]:
        sides = {f"side_{i}": side for i, side in enumerate(net.predictions(image), start=1)}
        return {"out": net(image)} | sides

    return run(probabilities, case.inputs)


def gate(case: Case) -> nn.Module:
    """Return the attention gate, for the image's features and a gating signal of another size."""
    config = case.meta["config"]
    block = AttentionGate(config["x_channels"], config["g_channels"], config["inner_channels"])
    return filled(block, case, [("^gate", ""), *GATE, (r"^\.", "")])


def attention(case: Case) -> nn.Module:
    """Return the layers at the bottom."""
    config = case.meta["config"]
    block = serialised_attention(config["in_channels"], config["out_channels"])
    return filled(block, case, [(r"^pam", ""), *ATTENTION, (r"^\.", "")])


def filled(block: nn.Module, case: Case, rules: list[tuple[str, str]]) -> nn.Module:
    """Return a block in float64 and evaluation mode with the case's weights."""
    fill(block.double(), rename({name: torch.from_numpy(value) for name, value in case.weights().items()}, rules))
    return block.eval()


def losses(case: Case) -> dict[str, np.ndarray]:
    """Return the hybrid loss and the Dice loss, and their gradients."""
    probabilities, truth = (torch.from_numpy(array) for array in case.inputs)
    probabilities.requires_grad_()
    values = {
        "tversky_bce": TverskyEntropyLoss()(probabilities, truth.argmax(1)),
        "dice": tversky_loss(probabilities, truth, false=0.5, missed=0.5, smooth=0.5),
    }
    gradients = {f"grad_{name}": torch.autograd.grad(value, probabilities)[0] for name, value in values.items()}
    return {name: value.detach().numpy().reshape(value.shape or 1) for name, value in (values | gradients).items()}


def scores(case: Case) -> dict[str, np.ndarray]:
    """Return the scores of every class, over the whole batch, by the authors' names."""
    predicted, true = (torch.from_numpy(array).argmax(1) for array in case.inputs)
    classes = range(case.inputs[0].shape[1])
    each = [segmentation_scores(predicted == i, true == i, "lits_mpunet") for i in classes]
    return {f"metric_{theirs}": np.array([one[ours] for one in each]) for theirs, ours in SCORES.items()}

"""MSGA and its training loss."""

import numpy as np
from differentiate import run
from parity import Case
from torch import Tensor

import foveal
from foveal.apps.medseg.models.msga import MSGA, SCALES
from foveal.core.losses.guided_attention import GuidedAttentionLoss


def outputs(case: Case) -> dict[str, np.ndarray]:
    """Return the logits, those of every stage and scale and their gradient; or the loss, its terms and its gradient."""
    network = foveal.load_reference("msga", case.weights(), case.meta["config"])
    if len(case.inputs) == 1:
        return run(lambda image: logits(network, image), case.inputs)
    weights = {name: case.meta["config"].get(f"w_{name}", 1.0) for name in ("semantic", "reconstruction")}
    loss = GuidedAttentionLoss(**weights)
    return run(lambda image, labels: losses(network, loss, image, labels), case.inputs)


def logits(network: MSGA, image: Tensor) -> dict[str, Tensor]:
    """Return the mean logits and all that it is made of, and the first stage's."""
    predictions = network.supervised(image).predictions
    names = [f"stage{stage}_{scale}" for stage in (1, 2) for scale in range(1, SCALES + 1)]
    return {"out": network(image)} | dict(zip(names, predictions, strict=True))


def losses(network: MSGA, loss: GuidedAttentionLoss, image: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """Return the loss and its terms; the case counts the codes from the coarsest."""
    terms = loss.terms(*network.supervised(image), labels)
    return {
        "out": loss.total(terms),
        "ce": terms.segmentation,
        "semantic": terms.semantic.flip(0),
        "reconstruction": terms.reconstruction,
    }

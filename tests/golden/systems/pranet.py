"""PraNet: the network, its losses and its six measures."""

from collections.abc import Mapping

import numpy as np
import torch
from differentiate import run
from parity import Case
from torch import Tensor

import foveal
from foveal.core.losses.structure import StructureLoss
from foveal.core.metrics.saliency import pooled_scores, saliency_scores

TOLERANCES = {  # libraries choose differently among equally near pixels of the object, see `unique_nearest`
    "metrics*/wf": 2e-4,
    "metrics*/out": 2e-4,
}
SIX = ("mean_dice", "mean_iou", "weighted_f", "s_measure", "max_e", "mae")


def outputs(case: Case) -> dict[str, np.ndarray]:
    """Return what a case of this variant can ask for."""
    if case.shapes:
        return network(case)
    return losses(case) if case.meta["variant"].startswith("losses") else measures(case)


def network(case: Case) -> dict[str, np.ndarray]:
    """Return the four maps at the image's size and the gradient of the prediction."""
    net = foveal.load_reference("pranet", case.weights(), case.meta["config"])
    net.train("train" in case.meta["variant"])
    net.training = True  # gives four maps, whether the norms take stored statistics or those of the batch

    def maps(image: Tensor) -> Mapping[str, Tensor]:
        rough, deep, middle, fine = net(image)
        return {"lateral_5": rough, "lateral_4": deep, "lateral_3": middle, "out": fine}

    return run(maps, case.inputs)


def losses(case: Case) -> dict[str, np.ndarray]:
    """Return the loss of four maps as published and the terms of both forms."""
    config = case.meta["config"]
    options = {"window": config.get("pool", 31), "factor": config.get("factor", 5)}
    published, intended = (StructureLoss(form, **options) for form in ("published", "intended"))

    def terms(*arrays: Tensor) -> Mapping[str, Tensor]:
        *maps, mask = arrays
        return {
            "out": published(maps, mask),
            "each": torch.stack([published(each, mask) for each in maps]),
            "intended": intended(maps, mask),
            "intended_each": torch.stack([intended(each, mask) for each in maps]),
        }

    return run(terms, case.inputs)


def measures(case: Case) -> dict[str, np.ndarray]:
    """Return the six measures of a set of images, and curves and scores of each."""
    predictions, masks = (torch.from_numpy(images) for images in case.inputs)
    scores = [saliency_scores(*pair) for pair in zip(predictions, masks, strict=True)]
    pooled = pooled_scores(scores)
    names = {"s": "s_measure", "wf": "weighted_f", "mae": "mae"}
    curves = {
        "dice": "dice",
        "iou": "iou",
        "e": "e_measure",
        "sensitivity": "sensitivity",
        "specificity": "specificity",
    }
    return {
        "out": np.array([pooled[name].mean for name in SIX]),
        "wf_unique": np.array([unique_nearest(mask > 128) for mask in masks]),
        **{name: np.array([getattr(each, field) for each in scores]) for name, field in names.items()},
        **{name: torch.stack([getattr(each, field) for each in scores]).numpy() for name, field in curves.items()},
    }


def unique_nearest(truth: Tensor) -> int:
    """Return 1 where no pixel of the background has two nearest pixels of the object: weighted F is definite."""
    objects, rest = truth.nonzero(), (~truth).nonzero()
    if not len(objects):
        return 0
    for part in rest.split(512):  # bounds the memory
        squares = (part[:, None] - objects).square().sum(dim=-1)
        if ((squares == squares.amin(dim=1, keepdim=True)).sum(dim=1) > 1).any():
            return 0
    return 1

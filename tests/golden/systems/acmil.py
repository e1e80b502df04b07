"""ACMIL: the network, masked by given numbers or not, and its loss."""

from collections.abc import Mapping

import numpy as np
import torch
from differentiate import run
from parity import Case
from torch import Tensor

import foveal
from foveal.core.losses.branch_attention import BranchAttentionLoss
from foveal.kernels.gated_attention_pool import MASKED


def outputs(case: Case) -> dict[str, np.ndarray]:
    """Return logits, scores, terms of the loss, and the gradient of the slide's logits or, masked, of the loss."""
    config = dict(case.meta["config"])
    label = torch.tensor([config.pop("label", 0)])
    net = foveal.load_reference("acmil", case.weights(), config)
    masking = len(case.inputs) > 1

    def everything(bag: Tensor) -> Mapping[str, Tensor]:
        found = net.outputs(bag, masking, numbers(case) if masking else None)
        terms = BranchAttentionLoss().terms(*found, label)
        masked = found.scores == MASKED
        named = found._asdict() | {f"loss_{name}": value for name, value in terms._asdict().items()}
        named["attn"] = named.pop("scores").masked_fill(masked, 0)  # as the cases store it
        named["loss_total"] = BranchAttentionLoss()(found, label)
        shown = {"masked": masked.to(torch.uint8)} if masking else {}
        return named | shown | {"out": named["loss_total"] if masking else found.slide}

    return run(everything, case.inputs[:1])


def numbers(case: Case) -> Tensor:
    """Return the uniform numbers in our order, (maps, branches, ranks), from (branches, ranks) or heads between."""
    given = torch.from_numpy(case.inputs[1])
    return given[None] if given.ndim == 2 else given.transpose(0, 1)

"""D-Former: the network, its blocks and its loss."""

from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from differentiate import run
from group_block import group_block
from parity import Case
from torch import Tensor

import foveal
from foveal.core.losses.segmentation import cross_entropy, soft_dice_loss


def outputs(case: Case) -> dict[str, np.ndarray]:
    """Return what a case of this variant can ask for."""
    variant = case.meta["variant"]
    if variant.startswith("block"):
        return run(group_block(case), case.inputs)
    return network(case) if case.shapes else losses(case)


def network(case: Case) -> dict[str, np.ndarray]:
    """Return the logits of the whole and half resolution and the gradient of the former."""
    config = {name: value for name, value in case.meta["config"].items() if not name.startswith("out_")}
    net = foveal.load_reference("dformer", case.weights(), config)
    net.training = True  # gives all resolutions; nothing in it behaves otherwise in training

    def logits(image: Tensor) -> Mapping[str, Tensor]:
        levels = net(padded(image, net.embedding.project.kernel_size))
        return dict(zip(("out", "aux_half"), levels if isinstance(levels, tuple) else (levels,), strict=True))

    results = run(logits, case.inputs)
    d, h, w = case.meta["config"].get("out_stride", (1, 1, 1))
    return results | {"out_strided": results["out"][:, :, ::d, ::h, ::w]}


def padded(image: Tensor, patch: tuple[int, int, int]) -> Tensor:
    """Return the image with zeros behind its end up to whole patches: the reference does so inside."""
    missing = [-side % step for side, step in zip(image.shape[2:], patch, strict=True)]
    return F.pad(image, [0, missing[2], 0, missing[1], 0, missing[0]])


def losses(case: Case) -> dict[str, np.ndarray]:
    """Return cross entropy plus soft Dice for Dice of each sample and of the batch, and of two resolutions."""
    config = case.meta["config"]
    logits = [torch.from_numpy(array).requires_grad_() for array in case.inputs[::2]]
    labels = [torch.from_numpy(array)[:, 0].long() for array in case.inputs[1::2]]

    def loss(level: int, pooled: bool) -> Tensor:
        options = {"include_background": config["do_bg"], "ignore_empty": False, "smooth": config["smooth"]}
        dice = soft_dice_loss(logits[level], labels[level], **options, pooled=pooled)
        return cross_entropy(logits[level], labels[level]) + dice - 1  # theirs is minus the Dice

    each, whole = loss(0, pooled=False), loss(0, pooled=True)
    deep = sum(weight * loss(i, pooled=True) for i, weight in enumerate(config["level_weights"]))
    results = {"dice_ce_batch0": each, "dice_ce_batch1": whole, "deep_supervision": deep}
    gradients = {
        f"grad_{name}": torch.autograd.grad(results[name], logits[0], retain_graph=True)[0] for name in results
    }
    return {name: value.detach().numpy().reshape(value.shape or 1) for name, value in (results | gradients).items()}

"""DLGSANet and its evaluation protocol."""

import numpy as np
import torch
from differentiate import run
from parity import Case

import foveal
from foveal.core.metrics.image import quantise
from foveal.core.metrics.super_resolution import super_resolution_scores

LARGEST_BORDER = 16


def outputs(case: Case) -> dict[str, np.ndarray]:
    """Return the enlarged image and its gradient, or the scores of a pair of images."""
    if not case.shapes:
        return scores(*(torch.from_numpy(array) for array in case.inputs))
    network = foveal.load_reference("dlgsanet", case.weights(), case.meta["config"])
    return run(network.train("train" in case.meta["variant"]), case.inputs)


def scores(estimate: torch.Tensor, truth: torch.Tensor) -> dict[str, np.ndarray]:
    """Return the scores of (3, H, W) images for every border, the 8-bit image and the training loss."""
    found = {
        "rgb8": quantise(estimate).permute(1, 2, 0).numpy(),
        "l1": (estimate - truth).abs().mean().numpy(),
    }
    for border in range(min(LARGEST_BORDER, (min(truth.shape[-2:]) - 11) // 2) + 1):
        for colours, luma in (("y", True), ("rgb", False)):
            pair = super_resolution_scores(estimate, truth, border, luma)
            found |= {f"{name}_{colours}_crop{border}": np.array(score) for name, score in pair.items()}
    return found | ({"out": found["psnr_y_crop4"]} if "psnr_y_crop4" in found else {})

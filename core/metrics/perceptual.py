"""LPIPS, a distance of pictures in the features of a trained network."""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import UserError


class PerceptualDistance:
    """LPIPS with AlexNet (Zhang et al. 2018, arXiv 1801.03924), as torchmetrics computes it; 0 for equal pictures.

    The weights of AlexNet are downloaded by torchvision when first used. No module, so that a checkpoint of what uses
    it is without them.

    Raises:
        UserError: torchvision is not installed, or its weights cannot be had.
    """

    def __init__(self) -> None:
        try:
            from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

            self.metric = LearnedPerceptualImagePatchSimilarity("alex", normalize=True)
        except (ImportError, OSError) as error:
            raise UserError(
                f"LPIPS needs torchvision and the weights of AlexNet, which it downloads ({error}); "
                "install it and connect once, or leave --model.lpips out."
            ) from None

    @torch.no_grad()
    def __call__(self, estimate: Tensor, truth: Tensor) -> float:
        """Return the distance of two pictures (3, H, W) on the CPU, clamped to 0..1."""
        return self.metric(*(image[None].clamp(0, 1) for image in (estimate, truth))).item()

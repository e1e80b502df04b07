"""Efficient local attention: gates along each axis from a one-dimensional convolution of the means over the others."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .coordinate import axis_means, weigh_along_axes


class EfficientLocalAttention(nn.Module):
    """Weights positions by the product of a gate along each axis (Xu and Wan 2024, ELA, arXiv 2403.01123, sec. 3).

    A gate is sigmoid(group norm(convolution(mean over the other axes))), with the same weights along all axes. The
    sizes that go by the paper's names, as (kernel, groups, norm_groups), C the channels: tiny (5, C, 32), base
    (7, C, 16), small (5, C / 8, 16), large (7, C / 8, 16). timm's form is `shared=False, norm_groups=1, silu=True`.

    Args:
        dim: channels in and out.
        kernel: taps of the convolution, odd.
        groups: groups of the convolution; None for one for each channel.
        norm_groups: groups of the norm.
        shared: one convolution and norm for all axes; else one for each.
        silu: put SiLU after the norm.
        spatial_dims: 2 for maps, 3 for volumes.
    Shape: channels-first, (N, C, H, W) -> (N, C, H, W), or the same with depth. Any size.
    """

    def __init__(
        self,
        dim: int,
        kernel: int = 7,
        groups: int | None = None,
        norm_groups: int = 16,
        shared: bool = True,
        silu: bool = False,
        spatial_dims: int = 2,
    ) -> None:
        super().__init__()
        self.silu, self.shared = silu, shared
        self.units = nn.ModuleList(
            nn.Sequential(
                nn.Conv1d(dim, dim, kernel, padding=kernel // 2, groups=groups or dim, bias=False),
                nn.GroupNorm(norm_groups, dim),
            )
            for _ in range(1 if shared else spatial_dims)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the gated map."""
        means = axis_means(x)
        gates: list[Tensor] = []
        for axis, unit in enumerate(self.units):
            for mean in means if self.shared else means[axis : axis + 1]:
                logits = unit(mean)
                gates.append(torch.sigmoid(F.silu(logits) if self.silu else logits))
        return weigh_along_axes(x, gates)

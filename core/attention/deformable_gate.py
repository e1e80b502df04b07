"""A gate that looks where the features tell it to: deformable convolution, made linear in positions."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...kernels.linear import linear
from ..blocks.dimensions import CONVOLUTIONS, INSTANCE_NORMS

# B batch, C channels, M = ratio C channels inside, T taps of the kernel, n spatial axes, P positions


class DeformableGate(nn.Module):
    """x sigmoid(norm(deformable convolution of narrow features)) (Salajegheh et al. 2023, DAS, arXiv 2311.12091).

    The features are gelu(instance norm(pointwise(depth-wise x))). The authors published no code: this follows the
    paper's abstract and the usual deformable convolution, without modulation (Dai et al. 2017). Offsets start at zero.

    Args:
        dim: channels in and out.
        ratio: channels inside, as a share of `dim`.
        kernel: side of the convolutions in pixels, odd.
        spatial_dims: 2 for maps, 3 for volumes.
    Shape: channels-first, (B, C, H, W) -> (B, C, H, W), or the same with depth. Any size.
    """

    def __init__(self, dim: int, ratio: float = 0.2, kernel: int = 3, spatial_dims: int = 2) -> None:
        super().__init__()
        inside, padding = max(1, int(dim * ratio)), kernel // 2
        convolution = CONVOLUTIONS[spatial_dims]
        self.kernel = [kernel] * spatial_dims
        self.narrow = nn.Sequential(
            convolution(dim, dim, kernel, padding=padding, groups=dim, bias=False),
            convolution(dim, inside, 1, bias=False),
            INSTANCE_NORMS[spatial_dims](inside, affine=True),
            nn.GELU(),
        )
        self.offset = convolution(inside, spatial_dims * kernel**spatial_dims, kernel, padding=padding)
        self.deformable = convolution(inside, dim, kernel, padding=padding)
        self.norm = nn.LayerNorm(dim)
        nn.init.zeros_(self.offset.weight)
        nn.init.zeros_(self.offset.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return the gated map."""
        features = self.narrow(x)
        columns_BPK = sampled_columns(features, self.offset(features), self.kernel)
        seen_BPC = linear(columns_BPK, self.deformable.weight.flatten(1), self.deformable.bias)
        return x * torch.sigmoid(self.norm(seen_BPC)).transpose(1, 2).view_as(x)


def sampled_columns(x: Tensor, offsets: Tensor, kernel: list[int]) -> Tensor:
    """Return what a deformable convolution sees at each position: each tap of its kernel, moved by its offset.

    Args:
        x: (B, M, *spatial), sampled linearly, zero outside.
        offsets: (B, T n, *spatial) in pixels; for each tap one number for each axis, in the order of the axes.
        kernel: its odd lengths along the axes, T in all.

    Returns:
        (B, P, M T), for the flattened weights of a convolution.
    """
    sizes = list(x.shape[2:])
    axes = len(sizes)
    offsets = offsets.unflatten(1, (-1, axes))  # B, T, n, *spatial
    grid: list[Tensor] = []
    for axis in range(axes - 1, -1, -1):  # grid_sample wants the last axis first, in units of half the map
        reach = torch.arange(kernel[axis], device=x.device) - kernel[axis] // 2
        taps = along(reach, axis, axes, kernel).flatten()
        place = along(torch.arange(sizes[axis], device=x.device), axis, axes, sizes)
        position = offsets[:, :, axis] + (taps.view([-1] + [1] * axes) + place)
        grid.append((2.0 * position + 1.0) / sizes[axis] - 1.0)
    where = torch.stack(grid, -1).flatten(1, 2)
    seen = F.grid_sample(x, where, mode="bilinear", padding_mode="zeros", align_corners=False)
    return seen.unflatten(2, (-1, sizes[0])).flatten(3).permute(0, 3, 1, 2).flatten(2)


def along(values: Tensor, axis: int, axes: int, sizes: list[int]) -> Tensor:
    """Return values that change along one of several axes, expanded to all sizes."""
    shape = [1] * axes
    shape[axis] = -1
    return values.view(shape).expand(sizes)

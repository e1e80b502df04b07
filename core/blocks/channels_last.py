"""Token mixers of channels-last maps among convolutions: units to use beside them, and their way into networks.

B batch, C channels.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .dimensions import BATCH_NORMS, CONVOLUTIONS


class DepthwiseConvolution(nn.Module):
    """Each channel convolved with its own kernel, zeros beyond the border; the size stays.

    Args:
        dim: channels in and out.
        kernel: side of the kernels in pixels, odd.
        spatial_dims: 2 for maps, 3 for volumes.
    Shape: (B, *spatial, C) -> (B, *spatial, C).
    """

    def __init__(self, dim: int, kernel: int = 3, spatial_dims: int = 2) -> None:
        super().__init__()
        self.conv = CONVOLUTIONS[spatial_dims](dim, dim, kernel, padding=kernel // 2, groups=dim)

    def forward(self, x: Tensor) -> Tensor:
        """Return the convolved map."""
        return self.conv(x.movedim(-1, 1)).movedim(1, -1)


class PatchReduction(nn.Module):
    """Fewer tokens for keys and values: patches of side x side go through one linear map and a layer norm.

    Wang et al. 2021, PVT, arXiv 2102.12122, sec. 3.3, as the authors' code has it: a convolution with kernel = stride.

    Args:
        dim: channels in and out.
        side: of the patches in pixels; what is left at the end of an axis is not seen.
        spatial_dims: 2 for maps, 3 for volumes.
    Shape: (B, *spatial, C) -> (B, *(spatial // side), C).
    """

    def __init__(self, dim: int, side: int, spatial_dims: int = 2) -> None:
        super().__init__()
        self.conv = CONVOLUTIONS[spatial_dims](dim, dim, side, side)
        self.norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor) -> Tensor:
        """Return the reduced map."""
        return self.norm(self.conv(x.movedim(-1, 1)).movedim(1, -1))


class LocalPatchInteraction(nn.Module):
    """Depth-wise convolution, GELU, batch norm, depth-wise convolution (El-Nouby et al. 2021, XCiT, sec. 3.3).

    The positions of cross-covariance attention do not see one another; this lets neighbours.

    Args:
        dim: channels in and out.
        kernel: side of the kernels in pixels, odd.
        spatial_dims: 2 for maps, 3 for volumes.
    Shape: (B, *spatial, C) -> (B, *spatial, C).
    """

    def __init__(self, dim: int, kernel: int = 3, spatial_dims: int = 2) -> None:
        super().__init__()
        convolution = CONVOLUTIONS[spatial_dims]
        self.conv1 = convolution(dim, dim, kernel, padding=kernel // 2, groups=dim)
        self.norm = BATCH_NORMS[spatial_dims](dim)
        self.conv2 = convolution(dim, dim, kernel, padding=kernel // 2, groups=dim)

    def forward(self, x: Tensor) -> Tensor:
        """Return the unit's output; the residual is the caller's."""
        x = F.gelu(self.conv1(x.movedim(-1, 1)))
        return self.conv2(self.norm(x)).movedim(1, -1)


class ChannelsLast(nn.Module):
    """A token mixer of channels-last maps, for a network whose maps are channels-first.

    Args:
        mixer: takes and returns (B, *spatial, C).
    Shape: (B, C, *spatial) -> (B, C, *spatial).
    """

    def __init__(self, mixer: nn.Module) -> None:
        super().__init__()
        self.mixer = mixer

    def forward(self, x: Tensor) -> Tensor:
        """Return the mixed map."""
        return self.mixer(x.movedim(1, -1)).movedim(-1, 1)


def depthwise(x: Tensor, kernels: Tensor, bias: Tensor | None = None) -> Tensor:
    """Convolve each channel with its own kernel, zeros beyond the border: what `DepthwiseConvolution` does.

    Args:
        x: (B, *spatial, C).
        kernels: (C, 1, *sides), odd sides.
        bias: (C,) or None.

    Returns:
        (B, *spatial, C).
    """
    ones = [1] * (x.dim() - 2)
    padding = [side // 2 for side in kernels.shape[2:]]
    none = [0] * len(padding)
    kernels, bias = kernels.to(x.dtype), None if bias is None else bias.to(x.dtype)  # autocast of CPUs does not
    y = torch.convolution(x.movedim(-1, 1), kernels, bias, ones, padding, ones, False, none, x.shape[-1])
    return y.movedim(1, -1)

"""Feed-forward units that follow a token mixer."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...kernels.backend import runs_on_cpu
from .dimensions import CONVOLUTIONS
from .linear import Linear

LOT = 2**18
"""Hidden numbers for each thread of a CPU that stay in its caches."""


class FeedForward(nn.Sequential):
    """Two linear layers with a GELU between them, for channels-last tokens of any number of axes.

    Args:
        dim: channels in and out.
        ratio: hidden channels as a multiple of `dim`.
        drop: dropout after the activation and after the second layer, in training.
        approximate: "tanh" for the GELU's approximation, "none" for its exact form.
    Shape: (B, ..., C) -> (B, ..., C).
    """

    def __init__(self, dim: int, ratio: float = 4.0, drop: float = 0.0, approximate: str = "none") -> None:
        hidden = int(dim * ratio)
        super().__init__(
            Linear(dim, hidden), nn.GELU(approximate), nn.Dropout(drop), Linear(hidden, dim), nn.Dropout(drop)
        )
        self.hidden = hidden

    def forward(self, x: Tensor) -> Tensor:
        """Return the tokens; in inference on a CPU some of many follow others, so that no hidden map is ever made."""
        is_inference = not self.training and not torch.is_grad_enabled()  # training draws what it drops at once
        if not torch.jit.is_scripting() and is_inference and runs_on_cpu(x):
            at_once = torch.get_num_threads() * LOT // self.hidden
            if x.numel() // x.shape[-1] > 4 * at_once > 0:
                lots = x.reshape(-1, x.shape[-1]).split(at_once)
                return torch.cat([self._layers(lot) for lot in lots]).view(x.shape)
        return self._layers(x)

    def _layers(self, x: Tensor) -> Tensor:
        for layer in self:
            x = layer(x)
        return x


class GatedDepthwiseFeedForward(nn.Module):
    """Gated feed-forward unit with a depth-wise convolution of side 3 (Zamir et al. 2022, Restormer, sec. 3.2).

    Args:
        dim: channels in and out.
        expansion: width of each of the two halves, as a multiple of `dim`.
        bias: give the convolutions biases.
        spatial_dims: 2 for maps, 3 for volumes.
    Shape: (N, C, H, W) -> (N, C, H, W), or the same with depth.
    """

    def __init__(self, dim: int, expansion: float = 2.0, bias: bool = False, spatial_dims: int = 2) -> None:
        super().__init__()
        hidden = int(dim * expansion)
        convolution = CONVOLUTIONS[spatial_dims]
        self.project_in = convolution(dim, 2 * hidden, 1, bias=bias)
        self.depthwise = convolution(2 * hidden, 2 * hidden, 3, padding=1, groups=2 * hidden, bias=bias)
        self.project_out = convolution(hidden, dim, 1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return the unit's output; the residual is the caller's."""
        # Two narrow maps instead of the halves of a wide one: with channels last, a half is not one piece of memory.
        content = self._half(x, 0)
        gate = self._half(x, 1)
        return self.project_out(F.gelu(content) * gate)

    def _half(self, x: Tensor, part: int) -> Tensor:
        weight, bias = self.project_in.weight.chunk(2)[part], _half_of(self.project_in.bias, part)
        kernel, offset = self.depthwise.weight.chunk(2)[part], _half_of(self.depthwise.bias, part)
        if x.dim() == 5:
            return F.conv3d(F.conv3d(x, weight, bias), kernel, offset, padding=1, groups=kernel.shape[0])
        return F.conv2d(F.conv2d(x, weight, bias), kernel, offset, padding=1, groups=kernel.shape[0])


def _half_of(bias: Tensor | None, part: int) -> Tensor | None:
    return None if bias is None else bias.chunk(2)[part]

"""Attention gates: a map is weighted, position by position, by what a gating signal says of it."""

import torch
from torch import Tensor, nn

from ..blocks.dimensions import BATCH_NORMS, CONVOLUTIONS
from ..blocks.resampling import linear_resize

# B batch, C channels


class AttentionGate(nn.Module):
    """Additive attention gate: x times a(relu(f(x) + g(gate))), one weight for each position.

    Oktay et al. 2018, "Attention U-Net: Learning Where to Look for the Pancreas", arXiv 1804.03999, sec. 2.2. The
    defaults are the common form at one size, with batch norm after each of the three pointwise convolutions (also
    MPU-Net's and MONAI's); the authors' own has `stride=2, norm=False, projected=True`.

    Args:
        dim: channels of the map.
        gate_dim: channels of the gating signal.
        hidden: channels in which both are added.
        stride: positions of the map along an axis that share a weight, one number or one for each axis; its convolution
            gathers them. A map that is no multiple is cut at its end, and the weights stretched over it again.
        norm: put batch norm after the convolutions; without it the sum of the two has one bias, not two.
        projected: end with a pointwise convolution and batch norm.
        spread: let the weights add up to 1 over all positions (softmax) instead of lying in 0..1 each (sigmoid); the
            authors' "concatenation_residual".
        spatial_dims: 2 for maps, 3 for volumes.
    Shape: x (B, dim, H, W) and gate (B, gate_dim, h, w) of any size, to which it is resized linearly (half-pixel
        centres), or both with depth -> (B, dim, H, W).
    """

    def __init__(
        self,
        dim: int,
        gate_dim: int,
        hidden: int,
        stride: int | tuple[int, ...] = 1,
        norm: bool = True,
        projected: bool = False,
        spread: bool = False,
        spatial_dims: int = 3,
    ) -> None:
        super().__init__()
        convolution, batch_norm = CONVOLUTIONS[spatial_dims], BATCH_NORMS[spatial_dims]

        def unit(layer: nn.Module) -> nn.Module:
            return nn.Sequential(layer, batch_norm(layer.out_channels)) if norm else nn.Sequential(layer)

        self.of_map = unit(convolution(dim, hidden, stride, stride, bias=norm))
        self.of_gate = unit(convolution(gate_dim, hidden, 1))
        self.score = unit(convolution(hidden, 1, 1))
        self.project = nn.Sequential(convolution(dim, dim, 1), batch_norm(dim)) if projected else nn.Identity()
        self.spread = spread

    def forward(self, x: Tensor, gate: Tensor) -> Tensor:
        """Return the weighted map."""
        return self.project(x * self.position_gate(x, gate))

    def position_gate(self, x: Tensor, gate: Tensor) -> Tensor:
        """Return the weight of each position of the map, (B, 1, H, W) or with depth."""
        gathered = self.of_map(x)
        score = self.score((gathered + _resized(self.of_gate(gate), gathered)).relu_())
        weights = score.flatten(2).softmax(-1).view_as(score) if self.spread else torch.sigmoid(score)
        return _resized(weights, x)


def _resized(x: Tensor, like: Tensor) -> Tensor:
    # Asked here too, as exported programs resize what has its size already, which costs as much as the gate.
    return x if x.shape[2:] == like.shape[2:] else linear_resize(x, like.shape[2:])

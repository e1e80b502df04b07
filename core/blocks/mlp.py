"""Feed-forward units that follow a token mixer."""

import torch.nn.functional as F
from torch import Tensor, nn


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
            nn.Linear(dim, hidden), nn.GELU(approximate), nn.Dropout(drop), nn.Linear(hidden, dim), nn.Dropout(drop)
        )


class GatedDepthwiseFeedForward(nn.Module):
    """Gated feed-forward unit with a depth-wise 3x3 convolution (Zamir et al. 2022, Restormer, sec. 3.2; no biases).

    Args:
        dim: channels in and out.
        expansion: width of each of the two halves, as a multiple of `dim`.
    Shape: (N, C, H, W) -> (N, C, H, W).
    """

    def __init__(self, dim: int, expansion: float = 2.0) -> None:
        super().__init__()
        hidden = int(dim * expansion)
        self.project_in = nn.Conv2d(dim, 2 * hidden, 1, bias=False)
        self.depthwise = nn.Conv2d(2 * hidden, 2 * hidden, 3, padding=1, groups=2 * hidden, bias=False)
        self.project_out = nn.Conv2d(hidden, dim, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the unit's output; the residual is the caller's."""
        # Two narrow maps instead of the halves of a wide one: with channels last, a half is not one piece of memory.
        project_content, project_gate = self.project_in.weight.chunk(2)
        content_kernel, gate_kernel = self.depthwise.weight.chunk(2)
        content = _depthwise(F.conv2d(x, project_content), content_kernel)
        gate = _depthwise(F.conv2d(x, project_gate), gate_kernel)
        return self.project_out(F.gelu(content) * gate)


def _depthwise(x: Tensor, weight: Tensor) -> Tensor:
    return F.conv2d(x, weight, padding=1, groups=x.shape[1])

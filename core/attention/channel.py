"""Attention between channels, over the whole map or inside overlapping windows of it."""

import torch
from torch import Tensor, nn

from ...kernels.channel_attention import channel_scores, mix_channels
from ..blocks.dimensions import CONVOLUTIONS


class ChannelAttention(nn.Module):
    """Self-attention between channels whose projections look at neighbours too: y = v f(t q̂ᵀ k̂)ᵀ for each head.

    With the softmax for f it is the transposed attention of Restormer (Zamir et al. 2022, arXiv 2111.09881, eq. 1);
    with the default ReLU the sparse one of DLGSANet (Li et al. 2023, sec. 3.3).

    In training, and where `window` is None, the channels are compared over the whole map. In evaluation they are
    compared inside overlapping windows of about the training patch's size and the results averaged (Chu et al. 2022,
    test-time local converter), because statistics over a whole photograph differ from those seen in training.

    Args:
        dim: channels in and out.
        heads: attention heads; must divide `dim`.
        window: side of the evaluation windows in pixels, or None for the whole map; maps alone have windows.
        weighting: f, what makes weights of the scores (..., heads, dim / heads, dim / heads) over the last axis, such
            as `nn.Softmax(-1)`; by default the ReLU.
        bias: give the convolutions biases.
        spatial_dims: 2 for maps, 3 for volumes.
    Shape: channels-first, (N, C, H, W) -> (N, C, H, W), or the same with depth.

    Raises:
        ValueError: windows of a volume.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        window: int | None = None,
        weighting: nn.Module | None = None,
        bias: bool = False,
        spatial_dims: int = 2,
    ) -> None:
        super().__init__()
        if window is not None and spatial_dims != 2:
            raise ValueError("maps alone have evaluation windows; leave out window for volumes")
        self.window = window
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.weighting = nn.ReLU() if weighting is None else weighting
        convolution = CONVOLUTIONS[spatial_dims]
        self.qkv = convolution(dim, 3 * dim, 1, bias=bias)
        self.depthwise = convolution(3 * dim, 3 * dim, 3, padding=1, groups=3 * dim, bias=bias)
        self.project_out = convolution(dim, dim, 1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return the mixed map; the residual is the caller's."""
        tokens = self.depthwise(self.qkv(x)).flatten(2).transpose(1, 2)
        window = self.window
        if self.training or window is None:
            mixed = self._mix(tokens)
        else:
            mixed = self._mix_windows(tokens, x.shape[2], x.shape[3], window)
        return self.project_out(mixed.transpose(1, 2).view(x.shape))

    def _mix(self, tokens: Tensor) -> Tensor:
        """(..., L, 3C) -> (..., L, C)."""
        q, k, v = tokens.chunk(3, -1)
        return mix_channels(self.weighting(channel_scores(q, k, self.temperature)), v)

    def _mix_windows(self, tokens: Tensor, height: int, width: int, window: int) -> Tensor:
        """(N, H W, 3C) -> (N, H W, C), averaged over the windows that hold a position."""
        sources, places = window_tables(height, width, window, tokens.device)
        windows = tokens.index_select(1, sources.flatten()).unflatten(1, sources.shape)
        mixed = self._mix(windows).flatten(1, 2)
        total = mixed.index_select(1, places[0])
        for corner in range(1, 4):
            total = total + mixed.index_select(1, places[corner])
        return total / 4


def window_tables(height: int, width: int, window: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return how to cut a map of height x width positions into windows, and how to find each position in them.

    Returns:
        (windows, positions of a window): which position of the flattened map stands where in each window.
        (4, height * width): four places in the flattened windows that hold the position. A position held by two
        windows is named twice, one held by a single window four times, so that a plain mean of the four is due.
    """
    row_starts, window_height, row_holders = windows_along(height, window, device)
    column_starts, window_width, column_holders = windows_along(width, window, device)
    rows = row_starts[:, None] + torch.arange(window_height, device=device)
    columns = column_starts[:, None] + torch.arange(window_width, device=device)
    sources = rows[:, None, :, None] * width + columns[None, :, None, :]
    row_offsets = torch.arange(height, device=device) - row_starts[row_holders]
    column_offsets = torch.arange(width, device=device) - column_starts[column_holders]
    row_places = (row_holders * columns.shape[0] * window_height + row_offsets) * window_width
    column_places = column_holders * window_height * window_width + column_offsets
    places = row_places[:, None, :, None] + column_places[None, :, None, :]
    return sources.flatten(2, 3).flatten(0, 1), places.flatten(2, 3).flatten(0, 1)


def windows_along(size: int, window: int, device: torch.device) -> tuple[Tensor, int, Tensor]:
    """Place evenly stepped windows along one axis so that they cover it.

    Returns:
        (windows,): where they start.
        Their length, min(size, window).
        (2, size): the first and the last window that hold each position. There are no others, because the step is
        more than half of the length.
    """
    length = min(size, window)
    steps = (size - 1) // length
    step = (size - length + max(steps, 1) - 1) // max(steps, 1)
    starts = (torch.arange(steps + 1, device=device) * step).clamp(max=size - length)
    positions = torch.arange(size, device=device)
    first = (starts[:, None] + length <= positions).sum(0)
    last = (starts[:, None] <= positions).sum(0) - 1
    return starts, length, torch.stack([first, last])

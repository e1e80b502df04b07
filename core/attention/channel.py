"""Attention between channels, over the whole map or inside overlapping windows of it."""

import torch
from torch import Tensor, nn

from ...kernels.channel_attention import channel_attention


class ChannelAttention(nn.Module):
    """Sparse global self-attention between channels (Li et al. 2023, DLGSANet, sec. 3.3; projections of Restormer).

    In training, and where `window` is None, the channels are compared over the whole map. In evaluation they are
    compared inside overlapping windows of about the training patch's size and the results averaged (Chu et al. 2022,
    test-time local converter), because statistics over a whole photograph differ from those seen in training.

    Args:
        dim: channels in and out.
        heads: attention heads; must divide `dim`.
        window: side of the evaluation windows in pixels, or None for the whole map.
    Shape: (N, C, H, W) -> (N, C, H, W).
    """

    def __init__(self, dim: int, heads: int, window: int | None = None) -> None:
        super().__init__()
        self.heads = heads
        self.window = window
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.qkv = nn.Conv2d(dim, 3 * dim, 1, bias=False)
        self.depthwise = nn.Conv2d(3 * dim, 3 * dim, 3, padding=1, groups=3 * dim, bias=False)
        self.project_out = nn.Conv2d(dim, dim, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the mixed map; the residual is the caller's."""
        qkv = self.depthwise(self.qkv(x))
        window = self.window
        if self.training or window is None:
            return self.project_out(self._mix(qkv))
        return self.project_out(self._mix_windows(qkv, window))

    def _mix(self, qkv: Tensor) -> Tensor:
        """(..., 3C, h, w) -> (..., C, h, w)."""
        height, width = qkv.shape[-2], qkv.shape[-1]
        q, k, v = qkv.flatten(-2).unflatten(-2, (3, self.heads, -1)).unbind(-4)
        return channel_attention(q, k, v, self.temperature).flatten(-3, -2).unflatten(-1, (height, width))

    def _mix_windows(self, qkv: Tensor, window: int) -> Tensor:
        """(N, 3C, H, W) -> (N, C, H, W), averaged over the windows that hold a pixel.

        Copies with clone, not contiguous: whether a single window needs a copy must not bind an exported program to it.
        """
        rows = window_indices(qkv.shape[-2], window, qkv)
        columns = window_indices(qkv.shape[-1], window, qkv)
        windows = qkv[:, :, rows][:, :, :, :, columns].permute(0, 2, 4, 1, 3, 5)
        mixed = self._mix(windows.clone(memory_format=torch.contiguous_format).flatten(0, 2))
        mixed = mixed.unflatten(0, (qkv.shape[0], rows.shape[0], columns.shape[0])).permute(0, 3, 1, 4, 2, 5)
        mixed = mixed.clone(memory_format=torch.contiguous_format)
        return merge_windows(mixed, rows, columns, qkv.shape[-2], qkv.shape[-1])


def window_indices(size: int, window: int, like: Tensor) -> Tensor:
    """Return (windows, k), k = min(size, window): the indices of evenly stepped windows that cover one axis."""
    length = min(size, window)
    count = (size - 1) // length + 1
    step = (size - length + max(count - 1, 1) - 1) // max(count - 1, 1)
    starts = (torch.arange(count, device=like.device) * step).clamp(max=size - length)
    return starts[:, None] + torch.arange(length, device=like.device)


def merge_windows(windows: Tensor, rows: Tensor, columns: Tensor, height: int, width: int) -> Tensor:
    """Return (N, C, H, W), the mean over windows (N, C, row windows, h, column windows, w) that hold each pixel."""
    strips = windows.flatten(4, 5)
    strips = torch.zeros_like(strips[..., :1]).repeat(1, 1, 1, 1, width).index_add(4, columns.flatten(), strips)
    merged = strips.flatten(2, 3)
    merged = torch.zeros_like(merged[:, :, :1]).repeat(1, 1, height, 1).index_add(2, rows.flatten(), merged)
    return merged / (_coverage(rows, height, merged)[:, None] * _coverage(columns, width, merged))


def _coverage(indices: Tensor, size: int, like: Tensor) -> Tensor:
    """Return (size,): how many windows hold each index."""
    flat = indices.flatten()
    ones = torch.ones_like(flat, dtype=like.dtype)
    return torch.zeros(size, dtype=like.dtype, device=like.device).index_add(0, flat, ones)

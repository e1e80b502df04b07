"""Self-attention inside windows with a learned bias for each relative position.

Liu et al. 2021: "Swin Transformer", arXiv 2103.14030, sec. 3.2. Windows that are spread over the map: Tu et al. 2022,
"MaxViT", arXiv 2204.01697, sec. 3.2.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ...kernels.heads import check_heads, join_heads
from ...kernels.window_attention import projected_window_attention
from ...kernels.window_attention.layout import WindowLayout, cut, merge
from ..blocks.linear import Linear
from .offsets import offset_index
from .token_weights import TokenWeights, in_windows, numbered, window_scores
from .top_k import largest_softmax


class RelativePositionBias(nn.Module):
    """A learned number for each head and each offset of a query from a key inside a window.

    Args:
        heads: attention heads.
        window: tokens along each axis.

    Attributes:
        table: (offsets, heads); an offset's row is that of (query - key + window - 1), the last axis fastest.
    """

    index: Tensor

    def __init__(self, heads: int, window: Sequence[int]) -> None:
        super().__init__()
        self.window = list(window)
        self.table = nn.Parameter(torch.empty(math.prod(2 * side - 1 for side in window), heads))
        nn.init.trunc_normal_(self.table, std=0.02)
        self.register_buffer("index", offset_index(self.window), persistent=False)

    def forward(self, window: list[int], by_number: bool = False) -> Tensor:
        """Return (heads, N, N) for the N tokens of a window.

        Args:
            window: tokens along each axis, at most those of the table.
            by_number: take a smaller window's tokens for the first of a full one, as MONAI does, not for its corner.
        """
        index = self.index
        if window != self.window:
            tokens = torch.arange(index.shape[0], device=index.device).view(self.window)
            for axis, side in enumerate(window):
                tokens = tokens.narrow(axis, 0, side)
            chosen = tokens.flatten()
            if by_number:
                chosen = torch.arange(chosen.shape[0], device=index.device)
            index = index[chosen][:, chosen]
        bias = self.table.index_select(0, index.flatten())
        return bias.t().contiguous().view(-1, index.shape[0], index.shape[1])


class WindowAttention(nn.Module):
    """Self-attention inside the windows of a channels-last map (Liu et al. 2021, sec. 3.2).

    The map is padded at the end of each axis to whole windows with zeros before the projection.

    Args:
        dim: channels in and out.
        heads: attention heads; must divide `dim`.
        window: tokens along each axis; their number is the number of the map's axes.
        shift: by how many tokens the map is rolled along each axis before it is cut: half a window in every second
            block of a network, one for all axes or one for each.
        dilated: let a window's tokens lie as far apart as the map allows (MaxViT's grid).
        position_bias: add a learned bias for each relative position.
        qkv_bias: let queries, keys and values have biases.
        mask_padding: let padding be no key. Published networks attend to it, but for MaxViT's, which take no such size.
        roll_first: roll before padding (timm), not after it (the authors, torchvision, MONAI).
        short_axis: what to do with an axis that is not longer than its window: "shrink" the window to it without a
            shift; "number" for that with MONAI's biases, by the number of a token; "pad" it (torchvision).
        drop: dropout of the output, in training.
        attention_drop: dropout of the attention weights, in training; not with `top_k`.
        top_k: how many tokens of its window each attends to, those of its largest scores; 0 for all.
    Shape: (B, *spatial, C) -> (B, *spatial, C).

    Raises:
        ValueError: heads that do not divide `dim`; a shift not within the window; an unknown `short_axis`.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        window: Sequence[int] = (7, 7),
        shift: int | Sequence[int] = 0,
        dilated: bool = False,
        position_bias: bool = True,
        qkv_bias: bool = True,
        mask_padding: bool = False,
        roll_first: bool = False,
        short_axis: str = "shrink",
        drop: float = 0.0,
        attention_drop: float = 0.0,
        top_k: int = 0,
    ) -> None:
        super().__init__()
        shifts = [shift] * len(window) if isinstance(shift, int) else list(shift)
        check_heads(dim, heads)
        if len(shifts) != len(window) or not all(0 <= s < w for s, w in zip(shifts, window, strict=True)):
            raise ValueError(f"shift {shifts} must be at least 0 and below the window {list(window)} along each axis")
        if short_axis not in ("shrink", "number", "pad"):
            raise ValueError(f"short_axis must be shrink, number or pad, not {short_axis}")
        self.heads = heads
        self.window, self.shift = list(window), shifts
        self.dilated, self.roll_first, self.mask_padding = dilated, roll_first, mask_padding
        self.short_axis = short_axis
        self.attention_drop = attention_drop
        self.top_k = top_k
        self.qkv = Linear(dim, 3 * dim, bias=qkv_bias)
        self.position = RelativePositionBias(heads, window) if position_bias else None
        self.proj = Linear(dim, dim)
        self.drop = nn.Dropout(drop)

    def forward(self, x: Tensor) -> Tensor:
        """Return the map with what the tokens of each window have told one another."""
        if self.top_k > 0:
            return self.by_weights(x)
        layout = self.fitted(x.shape[1:-1])
        bias = self.bias(layout)
        drop = self.attention_drop if self.training else 0.0
        qkv, proj = self.qkv, self.proj
        return self.drop(
            projected_window_attention(x, qkv.weight, qkv.bias, proj.weight, proj.bias, self.heads, bias, layout, drop)
        )

    def by_weights(self, x: Tensor) -> Tensor:
        """Return the map by `weights` of any kind, all of which are made."""
        sizes = x.shape[1:-1]
        layout = self.fitted(sizes)
        scores, v = window_scores(self.qkv(cut(x, layout)), self.heads, self.bias(layout), layout, sizes)
        return self.drop(self.proj(merge(join_heads(torch.matmul(self.weights(scores), v)), sizes, layout)))

    def with_weights(self, x: Tensor) -> tuple[Tensor, list[TokenWeights]]:
        """Return what `forward` does, and the weights of the tokens; see `token_weights`."""
        sizes = x.shape[1:-1]
        layout = self.fitted(sizes)
        windows, numbers = self.qkv(cut(x, layout)), numbered(sizes, x)
        mixed, weights = in_windows(windows, self.heads, self.bias(layout), layout, numbers, sizes, self.weights)
        return self.proj(mixed), [weights]

    def bias(self, layout: WindowLayout) -> Tensor | None:
        """Return what is added to the scores of a window for the tokens' positions, (heads, N, N), or None."""
        if self.position is None:
            return None
        return self.position(layout.window, self.short_axis == "number")

    def weights(self, scores: Tensor) -> Tensor:
        """Return the weights of the keys, the last axis of the scores."""
        return largest_softmax(scores, self.top_k) if self.top_k > 0 else scores.softmax(-1)

    def fitted(self, sizes: list[int]) -> WindowLayout:
        """Return the layout for a map's sizes."""
        window: list[int] = []
        shift: list[int] = []
        for axis, size in enumerate(sizes):
            short = size <= self.window[axis]
            window.append(size if short and self.short_axis != "pad" else self.window[axis])
            shift.append(0 if short else self.shift[axis])
        return WindowLayout(window, shift, self.dilated, self.roll_first, self.mask_padding)

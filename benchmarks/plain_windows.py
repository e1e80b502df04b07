"""Plain forms of attention inside windows, stripes and neighbourhoods, as papers write them.

B batch, C channels, G windows, N tokens of a window or map, h heads, d channels of a head, K keys of a token.
"""

from __future__ import annotations

import torch
from torch import Tensor

from foveal.core.attention.cross_shaped import CrossShapedAttention
from foveal.core.attention.neighborhood import NeighborhoodAttention
from foveal.core.attention.window import RelativePositionBias, WindowAttention


def plain_windows(block: WindowAttention, x: Tensor) -> Tensor:
    """Roll, partition, scores, bias, mask, softmax, and back, of whole windows; a grid is another partition."""
    axes, window, shift = len(block.window), block.window, block.shift
    dims = list(range(1, axes + 1))
    if any(shift):
        x = torch.roll(x, [-s for s in shift], dims)
    B, *sizes, _ = x.shape
    windows = partition(x, window, block.dilated)
    G, N, h = windows.shape[0], windows.shape[1], block.heads
    q, k, v = block.qkv(windows).reshape(G, N, 3, h, -1).permute(2, 0, 3, 1, 4)
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
    scores = scores + bias_of(block.position, N).unsqueeze(0)
    if any(shift):
        mask = shift_mask(tuple(sizes), tuple(window), tuple(shift))
        scores = (scores.view(B, G // B, h, N, N) + mask[None, :, None]).view(G, h, N, N)
    y = block.proj((scores.softmax(-1) @ v).transpose(1, 2).reshape(G, N, -1))
    y = unpartition(y, sizes, window, block.dilated)
    return torch.roll(y, shift, dims) if any(shift) else y


MASKS: dict[tuple, Tensor] = {}


def shift_mask(sizes: tuple[int, ...], window: tuple[int, ...], shift: tuple[int, ...]) -> Tensor:
    """Return the mask of the cyclic shift, (G, N, N), made once as published networks do."""
    if (sizes, window, shift) not in MASKS:
        labels = torch.zeros(1, *sizes, 1)
        for axis, (size, side, by) in enumerate(zip(sizes, window, shift, strict=True)):
            place = torch.arange(size)
            part = (place >= size - side).float() + (place >= size - by).float()
            labels = 3 * labels + part.view(-1, *[1] * (len(sizes) - axis))
        labels = partition(labels, list(window)).squeeze(-1)
        MASKS[sizes, window, shift] = -100.0 * (labels[:, None] != labels[:, :, None])
    return MASKS[sizes, window, shift]


def bias_of(position: RelativePositionBias, N: int) -> Tensor:
    """Look up the bias of every pair of tokens, (h, N, N)."""
    return position.table[position.index.view(-1)].view(N, N, -1).permute(2, 0, 1).contiguous()


def partition(x: Tensor, window: list[int], dilated: bool = False) -> Tensor:
    """Cut a map into windows, (B, *sizes, C) -> (B * windows, tokens, C); dilated ones are grids."""
    B, *sizes, C = x.shape
    split = [
        n for size, side in zip(sizes, window, strict=True) for n in ((side, size // side)[:: 1 if dilated else -1])
    ]
    counts = [2 + 2 * axis if dilated else 1 + 2 * axis for axis in range(len(sizes))]
    sides = [1 + 2 * axis if dilated else 2 + 2 * axis for axis in range(len(sizes))]
    windows = x.view(B, *split, C).permute(0, *counts, *sides, 2 * len(sizes) + 1).contiguous()
    return windows.view(-1, windows[0].numel() // C // _product(split[int(dilated) :: 2]), C)


def unpartition(y: Tensor, sizes: list[int], window: list[int], dilated: bool = False) -> Tensor:
    """Undo `partition`."""
    n = len(sizes)
    counts = [size // side for size, side in zip(sizes, window, strict=True)]
    pairs = [(n + 1 + axis, 1 + axis) if dilated else (1 + axis, n + 1 + axis) for axis in range(n)]
    order = [0, *(each for pair in pairs for each in pair), 2 * n + 1]
    return y.view(-1, *counts, *window, y.shape[-1]).permute(order).reshape(-1, *sizes, y.shape[-1])


def _product(numbers: list[int]) -> int:
    return int(torch.tensor(numbers).prod())


def gathered_neighborhoods(block: NeighborhoodAttention, index: Tensor, x: Tensor) -> Tensor:
    """Gather every token's keys and values, then scores, softmax and sum; without projections."""
    B, C, h = x.shape[0], x.shape[-1] // 3, block.heads
    q, k, v = x.view(B, -1, 3, h, C // h).permute(2, 0, 3, 1, 4)
    keys, values = k[:, :, index], v[:, :, index]  # (B, h, N, K, d)
    scores = (keys @ (q * (C // h) ** -0.5).unsqueeze(-1)).squeeze(-1)
    y = (scores.softmax(-1).unsqueeze(-2) @ values).squeeze(-2)
    return y.transpose(1, 2).reshape(*x.shape[:-1], C)


def neighbors(sizes: tuple[int, ...], kernel: int, dilation: int) -> Tensor:
    """Return the keys of each token, (N, K)."""
    index = torch.zeros(1, 1, dtype=torch.long)
    for size in sizes:
        place = torch.arange(size)
        length = size // dilation + (place % dilation < size % dilation).long()
        start = torch.minimum((place // dilation - kernel // 2).clamp(min=0), length - kernel)
        keys = place[:, None] % dilation + dilation * (start[:, None] + torch.arange(kernel))
        index = (index[:, None, :, None] * size + keys[None, :, None, :]).flatten(2, 3).flatten(0, 1)
    return index


def plain_cross(block: CrossShapedAttention, x: Tensor) -> Tensor:
    """Stripes cut out of queries, keys and values of a map of whole stripes, with scores and softmax."""
    B, H, W, C = x.shape
    qkv = block.qkv(x).reshape(B, H, W, 3, C).permute(3, 0, 1, 2, 4)
    mixed = []
    for half, window in enumerate([[H, block.stripe], [block.stripe, W]]):
        q, k, v = (partition(each, window) for each in qkv[..., half * C // 2 : (half + 1) * C // 2])
        image = v.transpose(1, 2).reshape(-1, C // 2, *window)
        local = block.encodings[half](image).flatten(2).transpose(1, 2)
        q, k, v = (each.view(*each.shape[:2], block.heads // 2, -1).transpose(1, 2) for each in (q, k, v))
        weights = ((q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)).softmax(-1)
        y = (weights @ v).transpose(1, 2).reshape(local.shape) + local
        mixed.append(unpartition(y, [H, W], window))
    return block.proj(torch.cat(mixed, -1))

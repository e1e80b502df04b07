"""The table of cases: for each operation the sizes that are timed, and small odd ones that are checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import ceil, prod
from random import Random
from typing import NamedTuple

import torch
from torch import Tensor

from ..channel_attention import channel_scores, mix_channels
from ..dynamic_conv import dynamic_conv2d
from ..gated_attention_pool import gated_attention_pool
from ..neighborhood_attention import neighborhood_attention
from ..position_attention import position_attention
from ..window_attention import window_attention
from ..window_attention.layout import WindowLayout
from . import rivals
from .case import Case, Operand
from .floors import Work

HALF = 2  # bytes of a sample
SINGLE = 4
TILES = {1: 64, 2: 8, 3: 4}
"""Side of a tile of queries that shares its keys, by the axes of a map."""


def _some(random: Random) -> int:
    return random.randint(1, 3)


def _sizes(random: Random, axes: int) -> tuple[int, ...]:
    return tuple(random.randint(4, 14) for _ in range(axes))


def _width(random: Random) -> int:
    return random.choice([8, 16, 24, 30, 32])


def _by(sizes: Sequence[int]) -> str:
    return "x".join(map(str, sizes))


def window(batch: int, sizes: Sequence[int], heads: int, d: int, side: int, shift: int) -> Case:
    """Windows of `side` along each axis, with a trainable bias; blocks of keys are multiples of 16."""
    N, C = side ** len(sizes), heads * d
    windows = batch * prod(ceil(size / side) for size in sizes)
    tokens, pairs = windows * N, windows * heads * (ceil(N / 16) * 16) ** 2
    layout = WindowLayout([side] * len(sizes), [shift] * len(sizes))

    def call(qkv: Tensor, bias: Tensor) -> Tensor:
        return window_attention(qkv, bias, layout)

    return Case(
        "window_attention",
        f"window {side}, shift {shift}, B{batch} {_by(sizes)} C{C} h{heads}",
        [Operand((batch, *sizes, 3, heads, d)), Operand((heads, N, N), wide=True)],
        call,
        Work(tokens * (4 * C * HALF + heads * SINGLE), 4 * pairs * d, pairs),
        Work(tokens * (8 * C * HALF + heads * SINGLE), 10 * pairs * d, pairs),
        {"usual": lambda _: rivals.usual_windows(layout), "flex": lambda _: rivals.windows_by_flex(layout)},
    )


def neighborhood(
    batch: int, sizes: Sequence[int], heads: int, d: int, kernel: int, dilation: int = 1, biased: bool = False
) -> Case:
    """`kernel` keys along each axis; a tile of queries has the keys around it, the blocks a power of two."""
    axes, C, tokens = len(sizes), heads * d, batch * prod(sizes)
    keys = 1 << ((TILES[axes] + kernel - 1) ** axes - 1).bit_length()
    pairs = tokens * heads * keys
    around = [kernel] * axes, [dilation] * axes, [1] * axes, [False] * axes

    def call(qkv: Tensor, *bias: Tensor) -> Tensor:
        return neighborhood_attention(qkv, *around, *bias)

    bias = [Operand((heads, *[2 * kernel - 1] * axes), wide=True)] if biased else []
    return Case(
        "neighborhood_attention",
        f"kernel {kernel}, dilation {dilation}, B{batch} {_by(sizes)} C{C} h{heads}",
        [Operand((batch, *sizes, 3, heads, d)), *bias],
        call,
        Work(4 * tokens * C * HALF, 4 * pairs * d, pairs),
        Work(8 * tokens * C * HALF, 10 * pairs * d, pairs),
        {
            "sdpa": lambda device: rivals.neighborhoods_by_sdpa(tuple(sizes), kernel, device),
            "flex": lambda device: rivals.neighborhoods_by_flex(tuple(sizes), kernel, device),
        },
    )


def dynamic(batch: int, height: int, width: int, groups: int, channels: int, side: int) -> Case:
    """Kernels of `side` by `side` for every position, each for `channels` of a group."""
    values = batch * groups * channels * height * width * HALF
    kernels = batch * groups * side**2 * height * width * HALF
    return Case(
        "dynamic_conv",
        f"{side}x{side}, B{batch} {height}x{width} C{groups * channels} h{groups}",
        [Operand((batch, groups * channels, height, width)), Operand((batch, groups, side**2, height, width))],
        dynamic_conv2d,
        Work(2 * values + kernels),
        Work(3 * values + 2 * kernels),
    )


def gated(instances: int, channels: int, hidden: int, branches: int, masked: bool = False) -> Case:
    """A bag whose instances are read once; masked: the highest and the third score of each branch."""
    N, C, L, K = instances, channels, hidden, branches
    flops, gates = 4 * N * C * L, 2 * N * L

    def call(*operands: Tensor) -> Tensor:
        ranks = torch.tensor([[0, 2]] * K, device=operands[0].device) if masked else None
        return gated_attention_pool(*operands, 4 if masked else 0, ranks)[0]

    return Case(
        "gated_attention_pool",
        f"N{N} D{C} L{L} K{K}{', masked' if masked else ''}",
        [
            Operand((N, C)), Operand((2 * L, C), C**-0.5), Operand((2 * L,), 0.1, True),
            Operand((K, L), L**-0.5), Operand((K,), 0.1, True, False),
        ],
        call,
        Work(N * C * HALF, flops, gates),
        Work(2 * N * C * HALF, 3 * flops, gates),
    )  # fmt: skip


def channel(batch: int, positions: int, heads: int, d: int) -> Case:
    """Channels of each head compared over all positions, by the ReLU; channels first in memory."""
    C, values = heads * d, batch * positions * heads * d * HALF
    products = 2 * batch * positions * C * d

    def call(q: Tensor, k: Tensor, v: Tensor, temperature: Tensor) -> Tensor:
        return mix_channels(torch.relu(channel_scores(q.mT, k.mT, temperature)), v.mT)

    return Case(
        "channel_attention",
        f"ReLU, B{batch} L{positions} C{C} h{heads}",
        [*[Operand((batch, C, positions))] * 3, Operand((heads, 1, 1), wide=True)],
        call,
        Work(4 * values, 2 * products),
        Work(7 * values, 4 * products),
    )


def position(batch: int, positions: int, narrow: int, channels: int) -> Case:
    """All pairs of positions."""
    pairs, values = batch * positions**2, batch * positions * HALF
    return Case(
        "position_attention",
        f"B{batch} n{positions} qk{narrow} v{channels}",
        [
            Operand((batch, positions, narrow), narrow**-0.25), Operand((batch, positions, narrow), narrow**-0.25),
            Operand((batch, positions, channels)),
        ],
        position_attention,
        Work(values * (2 * narrow + 2 * channels), 2 * pairs * (narrow + channels), pairs),
        Work(values * (4 * narrow + 4 * channels), 2 * pairs * (3 * narrow + 2 * channels), pairs),
        {"usual": lambda _: rivals.usual_positions, "flex": lambda _: rivals.positions_by_flex},
    )  # fmt: skip


class Entry(NamedTuple):
    """An operation in the table.

    Attributes:
        timed: cases of the published sizes.
        odd: draws a small case of any size.
    """

    timed: Sequence[Case]
    odd: Callable[[Random], Case]


TABLE: Mapping[str, Entry] = {
    "window_attention": Entry(
        [
            window(8, (128, 128), 4, 32, 7, 3),
            window(4, (256, 256), 6, 30, 8, 4),
            window(4, (256, 256), 6, 30, 16, 8),
            window(2, (49, 49, 49), 3, 16, 7, 3),
        ],
        lambda r: window(
            _some(r), _sizes(r, r.choice([2, 3])), _some(r), _width(r), side := r.randint(2, 5), side // 2
        ),
    ),
    "neighborhood_attention": Entry(
        [neighborhood(8, (128, 128), 4, 32, 7), neighborhood(2, (48, 48, 48), 3, 16, 5)],
        lambda r: neighborhood(
            _some(r), _sizes(r, r.choice([1, 2, 3])), _some(r), _width(r), 3, r.randint(1, 3), r.random() < 0.5
        ),
    ),
    "dynamic_conv": Entry(
        [dynamic(4, 256, 256, 6, 8, 5), dynamic(4, 256, 256, 6, 8, 7)],
        lambda r: dynamic(_some(r), *_sizes(r, 2), _some(r), r.randint(1, 9), r.choice([3, 5, 7])),
    ),
    "gated_attention_pool": Entry(
        [gated(100_000, 512, 128, 5), gated(100_000, 1536, 256, 5)],
        lambda r: gated(r.randint(5, 200), r.randint(4, 70), r.randint(1, 40), r.randint(1, 5), r.random() < 0.5),
    ),
    "channel_attention": Entry(
        [channel(4, 65_536, 6, 8), channel(4, 65_536, 8, 48)],
        lambda r: channel(_some(r), r.randint(20, 300), _some(r), r.randint(1, 30)),
    ),
    "position_attention": Entry(
        [position(4, 4096, 64, 512), position(1, 16_384, 64, 512)],
        lambda r: position(_some(r), r.randint(8, 200), r.randint(1, 40), r.randint(1, 90)),
    ),
}

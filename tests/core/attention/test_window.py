"""Window attention against dense attention with a mask that is written down pair by pair, in float64."""

from itertools import product

import numpy as np
import pytest
import torch
from torch import Tensor

from foveal.core.attention.window import WindowAttention

CASES = {
    "line": ({"window": (5,), "shift": 2}, (13,)),
    "whole windows": ({"window": (4, 4), "shift": 2}, (8, 12)),
    "odd, pad then roll": ({"window": (4, 4), "shift": 2}, (9, 11)),
    "odd, roll then pad": ({"window": (4, 4), "shift": (2, 1), "roll_first": True}, (9, 11)),
    "odd, padding hidden": ({"window": (4, 3), "shift": (1, 1), "mask_padding": True}, (5, 8)),
    "odd, roll then pad, padding hidden": (
        {"window": (4, 3), "shift": 1, "mask_padding": True, "roll_first": True},
        (5, 8),
    ),
    "grid": ({"window": (3, 2), "dilated": True}, (6, 8)),
    "odd grid, padding hidden": ({"window": (3, 4), "dilated": True, "mask_padding": True}, (7, 9)),
    "volume": ({"window": (2, 3, 2), "shift": (1, 1, 1), "position_bias": False}, (3, 5, 4)),
    "short axis": ({"window": (4, 4), "shift": 2}, (3, 9)),
    "short axis padded": ({"window": (4, 4), "shift": 2, "short_axis": "pad"}, (3, 9)),
    "no biases": ({"window": (2, 2), "qkv_bias": False, "position_bias": False}, (3, 4)),
}


def attention(heads: int = 2, dim: int = 4, **options: object) -> WindowAttention:
    torch.manual_seed(0)
    block = WindowAttention(dim, heads, **options).double().eval()
    for parameter in block.parameters():
        torch.nn.init.normal_(parameter)
    return block


def plain(block: WindowAttention, x: Tensor) -> Tensor:
    """Go through the windows one after another; each token of a window is a place in the padded, rolled map."""
    sizes = x.shape[1:-1]
    short = [size <= side for size, side in zip(sizes, block.window, strict=True)]
    shrink = [flag and block.short_axis == "shrink" for flag in short]
    window = [size if flag else side for size, side, flag in zip(sizes, block.window, shrink, strict=True)]
    shift = [0 if flag else s for s, flag in zip(block.shift, short, strict=True)]
    whole = [-(-size // side) * side for size, side in zip(sizes, window, strict=True)]
    counts = [size // side for size, side in zip(whole, window, strict=True)]
    out = torch.empty_like(x)
    for corner in product(*map(range, counts)):
        members = []
        for token in product(*map(range, window)):
            at = [
                t * n + c if block.dilated else c * w + t
                for t, c, n, w in zip(token, corner, counts, window, strict=True)
            ]
            members.append((token, *source(at, sizes, whole, window, shift, block.roll_first)))
        mix(block, x, out, members)
    return out


def source(at, sizes, whole, window, shift, roll_first) -> tuple[tuple[int, ...] | None, tuple[int, ...]]:
    """Return where a place of the rolled map comes from, None for padding, and its label."""
    place, label = [], []
    for i, n, L, w, s in zip(at, sizes, whole, window, shift, strict=True):
        turn = n if roll_first else L
        p = (i + s) % turn if i < turn else n
        place.append(p)
        label.append(0 if s == 0 or i < L - w else 1 if i < L - s else 2)
    inside = all(p < n for p, n in zip(place, sizes, strict=True))
    return tuple(place) if inside else None, tuple(label)


def mix(block: WindowAttention, x: Tensor, out: Tensor, members: list) -> None:
    C, h = x.shape[-1], block.heads
    d = C // h
    tokens = [x.new_zeros(x.shape[0], C) if at is None else x[(slice(None), *at)] for _, at, _ in members]
    q, k, v = block.qkv(torch.stack(tokens, 1)).chunk(3, -1)
    for i, (place, at, label) in enumerate(members):
        if at is None:
            continue
        heads = []
        for head in range(h):
            part = slice(head * d, (head + 1) * d)
            scores = (q[:, i, None, part] * k[:, :, part]).sum(-1) / d**0.5
            for j, (other, there, part_of) in enumerate(members):
                if block.position is not None:
                    row = 0
                    for p, r, side in zip(place, other, block.window, strict=True):
                        row = row * (2 * side - 1) + p - r + side - 1
                    scores[:, j] += block.position.table[row, head]
                if label != part_of:
                    scores[:, j] -= 100
                if there is None and block.mask_padding:
                    scores[:, j] = -torch.inf
            heads.append((scores.softmax(-1)[..., None] * v[:, :, part]).sum(1))
        out[(slice(None), *at)] = block.proj(torch.cat(heads, -1))


@pytest.mark.parametrize(("options", "sizes"), CASES.values(), ids=CASES)
def test_every_form_is_the_formula(options: dict, sizes: tuple[int, ...]) -> None:
    block = attention(**options)
    x = torch.randn(2, *sizes, 4, dtype=torch.float64)
    with torch.no_grad():
        expected = plain(block, x)
        torch.testing.assert_close(block(x), expected)  # some windows after others
        torch.testing.assert_close(torch.jit.script(block)(x), expected)  # the map as a whole
    torch.testing.assert_close(block(x), expected)  # with a gradient


@pytest.mark.parametrize("name", ["odd, pad then roll", "odd, padding hidden", "odd grid, padding hidden"])
def test_gradients_of_input_and_weights(name: str) -> None:
    options, sizes = CASES[name]
    block = attention(**options)
    x = torch.randn(2, *sizes, 4, dtype=torch.float64, requires_grad=True)
    weights = [x, *block.parameters()]
    cotangent = torch.randn(2, *sizes, 4, dtype=torch.float64)
    found = torch.autograd.grad(block(x), weights, cotangent)
    expected = torch.autograd.grad(torch.jit.script(block)(x), weights, cotangent)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_gradcheck() -> None:
    block = attention(window=(2, 2), shift=1)
    x = torch.randn(1, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(block, (x,))


@pytest.mark.slow
@pytest.mark.filterwarnings("error")
def test_it_compiles_without_breaks() -> None:
    block = attention(window=(4, 4), shift=2)
    x = torch.randn(2, 9, 7, 4, dtype=torch.float64, requires_grad=True)
    wanted = block(x)  # with what is kept of a map's windows already made
    compiled = torch.compile(block, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(x), wanted)


def test_export_and_trace_take_the_same_values() -> None:
    block = attention(window=(4, 4), shift=2).requires_grad_(False)
    x = torch.randn(2, 9, 11, 4, dtype=torch.float64)
    exported = torch.export.export(block, (x,)).module()
    traced = torch.jit.trace(block, x)
    for program in (exported, traced):
        torch.testing.assert_close(program(x), block(x))


def test_dropped_weights_leave_the_mean() -> None:
    block = attention(window=(2, 2), attention_drop=0.5).train()
    x = torch.randn(1, 2, 2, 4, dtype=torch.float64)
    with torch.no_grad():
        mean = block(x.expand(5000, -1, -1, -1)).mean(0, keepdim=True)
        assert float((mean - block.eval()(x)).norm() / mean.norm()) < 0.1


def test_monais_biases_of_a_short_axis_go_by_number() -> None:
    block = attention(window=(3, 3), short_axis="number")
    whole = block.position([3, 3], True)
    np.testing.assert_array_equal(block.position([3, 2], True).detach(), whole[:, :6, :6].detach())


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"heads": 3}, "divide"),
        ({"shift": 7}, "shift"),
        ({"shift": (1,)}, "shift"),
        ({"short_axis": "x"}, "short_axis"),
    ],
)
def test_wrong_arguments(options: dict, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        attention(**options)

"""Windows in turns against the map as a whole, in float64, and what a caller may hand over."""

from importlib import import_module

import pytest
import torch

from foveal.kernels.window_attention import projected, projected_window_attention, reference, window_attention
from foveal.kernels.window_attention.layout import WindowLayout, cut, merge

LAYOUTS = {
    "shifted": ((8, 12), WindowLayout([4, 4], [2, 1])),
    "padded": ((5, 9), WindowLayout([4, 4], [2, 1])),
    "rolled first": ((5, 9), WindowLayout([4, 4], [2, 1], False, True)),
    "hidden": ((5, 9), WindowLayout([4, 4], [2, 1], False, False, True)),
    "grid": ((7, 9), WindowLayout([4, 2], [0, 0], True, False, True)),
    "volume": ((3, 4, 5), WindowLayout([2, 2, 3], [1, 1, 1])),
    "padded further": ((5, 7), WindowLayout([4, 2], [0, 0], True, False, True, [8, 4])),
    "padded further, seen": ((5, 7), WindowLayout([4, 2], [0, 0], True, False, False, [8, 4])),
}


@pytest.fixture
def in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let windows follow one another also where they are few."""
    for few in ("FEW_TOKENS", "FEW_SCORES"):
        monkeypatch.setattr(import_module("foveal.kernels.window_attention"), few, 0)


@pytest.mark.usefixtures("in_turns")
@pytest.mark.parametrize(("sizes", "layout"), LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("filled", [False, True])
def test_values_and_gradients_are_those_of_the_whole_map(
    sizes: tuple[int, ...], layout: WindowLayout, filled: bool
) -> None:
    torch.manual_seed(0)
    N = int(torch.tensor(layout.window).prod())
    qkv = torch.randn(2, *sizes, 3, 2, 3, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(2, N, N, dtype=torch.float64, requires_grad=True)
    fill = torch.randn(3, 2, 3, dtype=torch.float64, requires_grad=True) if filled else None
    wanted = [each for each in (qkv, bias, fill) if each is not None]
    found, expected = window_attention(qkv, bias, layout, fill), reference.window_attention(qkv, bias, layout, fill)
    torch.testing.assert_close(found, expected)
    cotangent = torch.randn_like(found)
    gradients = [torch.autograd.grad(y, wanted, cotangent, materialize_grads=True) for y in (found, expected)]
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs)
    with torch.inference_mode():
        torch.testing.assert_close(window_attention(qkv, bias, layout, fill), expected)


@pytest.mark.parametrize("layout", [layout for _, layout in LAYOUTS.values()], ids=LAYOUTS)
def test_merging_undoes_cutting(layout: WindowLayout) -> None:
    sizes = [7, 9, 5][: len(layout.window)]
    x = torch.randn(2, *sizes, 3)
    assert torch.equal(merge(cut(x, layout), sizes, layout), x)


def test_many_windows_at_a_time_and_few_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    x, weight = torch.randn(2, 8, 12, 4, dtype=torch.float64), torch.randn(12, 4, dtype=torch.float64)
    arguments = (x, weight, None, torch.eye(4, dtype=torch.float64), None, 2, None, LAYOUTS["shifted"][1])
    with torch.no_grad():
        many = projected_window_attention(*arguments)
        monkeypatch.setattr(projected, "NUMBERS", 1)
        torch.testing.assert_close(projected_window_attention(*arguments), many)


def test_half_precision() -> None:
    sizes, layout = LAYOUTS["padded"]
    qkv, bias = torch.randn(1, *sizes, 3, 2, 16), torch.randn(2, 16, 16)
    half = window_attention(qkv.bfloat16(), bias, layout)
    assert half.dtype == torch.bfloat16
    expected = window_attention(qkv.bfloat16().float(), bias, layout)
    assert float((half.float() - expected).norm() / expected.norm()) < 5e-3


@pytest.mark.usefixtures("in_turns")
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_windows_in_turns_are_computed_in_mixed_precision(dtype: torch.dtype) -> None:
    sizes, layout = LAYOUTS["padded"]
    x, qkv, bias = torch.randn(1, *sizes, 32), torch.randn(96, 32) / 5, torch.randn(2, 16, 16)
    kept = torch.randn(1, *sizes, 3, 2, 16)
    for call in (
        lambda: projected_window_attention(x, qkv, None, qkv[:32], None, 2, bias, layout),
        lambda: window_attention(kept, bias, layout),
    ):
        with torch.inference_mode():
            expected = call()
            with torch.autocast("cpu", dtype):
                found = call()
        assert float((found.float() - expected).norm() / expected.norm()) < 2e-2

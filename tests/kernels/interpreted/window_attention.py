import pytest
import torch
from operands import guarded, relative

from foveal.kernels import use_backend
from foveal.kernels.window_attention import projected_window_attention, reference, triton, window_attention
from foveal.kernels.window_attention.layout import WindowLayout

LIMITS = {torch.float64: 1e-6, torch.float32: 1e-5, torch.float16: 1e-2, torch.bfloat16: 2e-2}
"""Even in double precision the statistics are float32."""
# (sizes, layout, heads, channels)
CASES = {
    "shifted": ((8, 12), WindowLayout([4, 4], [2, 1]), 2, 8),
    "padded": ((5, 9), WindowLayout([4, 4], [2, 1]), 2, 3),
    "rolled first": ((5, 9), WindowLayout([4, 4], [2, 1], False, True), 1, 20),
    "smaller than a window": ((3, 2), WindowLayout([4, 5], [2, 3], False, True, True), 2, 3),
    "hidden": ((5, 9), WindowLayout([4, 4], [2, 1], False, False, True), 2, 3),
    "grid": ((7, 9), WindowLayout([4, 2], [0, 0], True, False, False), 1, 5),
    "hidden grid": ((7, 9), WindowLayout([4, 2], [0, 0], True, False, True), 1, 5),
    "volume": ((3, 4, 5), WindowLayout([2, 2, 3], [1, 0, 1]), 1, 3),
    "line": ((7,), WindowLayout([3], [1]), 1, 4),
    "large": ((7, 8), WindowLayout([7, 5], [3, 2]), 1, 6),
    "large hidden": ((7, 8), WindowLayout([5, 7], [2, 3], False, False, True), 1, 6),
    "large volume": ((4, 5, 3), WindowLayout([3, 4, 3], [1, 2, 0]), 1, 6),
}
"""The large windows are several blocks in float32."""


def operands(sizes, layout, heads, channels, dtype=torch.float32, batch=1, filled=True):
    generator = torch.Generator().manual_seed(sum(sizes) + channels)
    tokens = int(torch.tensor(layout.window).prod())
    shapes = [(batch, *sizes, 3, heads, channels), (heads, tokens, tokens), (3, heads, channels)]
    qkv, bias, fill = (torch.randn(shape, generator=generator) for shape in shapes)
    return qkv.to(dtype), bias, fill if filled else None


def agrees(tensors, layout):
    """Hold output and gradients against the equation in double precision."""
    tensors = [None if each is None else each.requires_grad_() for each in tensors]
    wide = [None if each is None else each.detach().double().requires_grad_() for each in tensors]
    qkv, bias, fill = wide
    expected, limit = reference.window_attention(qkv, bias, layout, fill), LIMITS[tensors[0].dtype]
    grad = torch.randn(expected.shape, generator=torch.Generator().manual_seed(1)).to(tensors[0].dtype)
    expected.backward(grad.double())
    with use_backend("triton"):
        found = window_attention(tensors[0], tensors[1], layout, tensors[2])
    found.backward(grad)
    assert found.dtype == tensors[0].dtype
    assert relative(found, expected) < limit
    for ours, theirs in zip(tensors, wide, strict=True):
        if ours is None:
            continue
        assert ours.grad.dtype == ours.dtype
        if theirs.grad.norm() > 1e-9:
            assert relative(ours.grad, theirs.grad) < 2 * limit
        else:  # of a filling that nobody sees
            assert ours.grad.norm() < 1e-9


@pytest.mark.parametrize(("sizes", "layout", "heads", "channels"), CASES.values(), ids=CASES)
def test_it_is_the_equation_with_every_gradient(sizes, layout, heads, channels):
    agrees(operands(sizes, layout, heads, channels), layout)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("case", ["hidden", "large hidden", "volume"])
def test_in_half_precision(case, dtype):
    agrees(operands(*CASES[case], dtype=dtype, filled=False), CASES[case][1])


@pytest.mark.parametrize("case", ["padded", "large"])
def test_a_large_window_in_half_precision_is_several_blocks(case, monkeypatch):
    monkeypatch.setitem(triton.ROWS, 2, 16)
    agrees(operands(*CASES[case], dtype=torch.float16), CASES[case][1])


@pytest.mark.parametrize("case", ["padded", "large"])
def test_without_a_bias(case):
    qkv, _, fill = operands(*CASES[case])
    agrees((qkv, None, fill), CASES[case][1])


@pytest.mark.parametrize("case", ["padded", "large"])
def test_runs_of_windows_have_sums_of_their_own(case, monkeypatch):
    monkeypatch.setattr(triton, "PROGRAMS", 12)
    agrees(operands(*CASES[case], batch=2), CASES[case][1])


@pytest.mark.parametrize("case", ["padded", "large"])
def test_it_neither_reads_nor_writes_beyond_its_operands(case):
    layout = CASES[case][1]
    qkv, bias, fill = pairs = [guarded(each) for each in operands(*CASES[case])]
    tensors = qkv[0], bias[0], fill[0]
    out, sums = triton.window_attention(*tensors, *layout[:5])
    (out, out_memory), (sums, sums_memory) = guarded(out), guarded(sums)
    grad, memory = guarded(torch.ones_like(out))
    results = out, sums, *triton.window_attention_backward(*tensors, out, sums, grad, *layout[:5])
    assert all(torch.isfinite(each).all() for each in results)
    memories = memory, out_memory, sums_memory, *(memory for _, memory in pairs)
    assert all(each.isnan().sum() == 128 for each in memories)


@pytest.mark.parametrize("case", ["hidden grid", "large"])
def test_every_result_is_written(case, monkeypatch):
    """What is allocated is NaN until a program stores to it."""
    empty = torch.Tensor.new_empty
    monkeypatch.setattr(torch.Tensor, "new_empty", lambda *args, **options: empty(*args, **options).fill_(torch.nan))
    tensors, layout = operands(*CASES[case]), CASES[case][1]
    out, sums = triton.window_attention(*tensors, *layout[:5])
    results = out, sums, *triton.window_attention_backward(*tensors, out, sums, torch.ones_like(out), *layout[:5])
    assert all(torch.isfinite(each).all() for each in results)


def test_the_layout_in_memory_does_not_matter():
    layout = WindowLayout([2, 3], [1, 1])
    qkv, bias, fill = operands((2, 4), layout, 2, 3, batch=2)
    others = [each.permute(*reversed(range(each.dim()))).contiguous() for each in (qkv, bias, fill)]
    others = [each.permute(*reversed(range(each.dim()))) for each in others]
    results = []
    with use_backend("triton"):
        for tensors in ((qkv, bias, fill), others):
            q, b, f = tensors = [each.detach().requires_grad_() for each in tensors]
            y = window_attention(q, b, layout, f)
            results.append([y.detach(), *torch.autograd.grad(y.square().sum(), tensors)])
    assert all(torch.equal(one, other) for one, other in zip(*results, strict=True))


@pytest.mark.parametrize("qkv_bias", [False, True])
def test_padding_is_zeros_before_a_projection(qkv_bias):
    sizes, layout, heads, channels = CASES["rolled first"]
    generator = torch.Generator().manual_seed(0)
    width = heads * channels
    shapes = [(1, *sizes, 7), (3 * width, 7), (3 * width,), (5, width), (5,), (heads, 16, 16)]
    x, weight, more, proj, proj_bias, bias = (torch.randn(shape, generator=generator) for shape in shapes)
    wanted = [x, weight, *([more] if qkv_bias else []), proj, proj_bias, bias]
    results = []
    for backend in ("triton", "reference"):
        for each in wanted:
            each.requires_grad_()
        arguments = x, weight, more if qkv_bias else None, proj, proj_bias, heads, bias, layout
        with use_backend(backend):
            y = projected_window_attention(*arguments)
            with torch.inference_mode():
                assert relative(projected_window_attention(*arguments), y) < 1e-5
        results.append([y, *torch.autograd.grad(y.square().sum(), wanted)])
    assert all(relative(ours, theirs) < 2e-5 for ours, theirs in zip(*results, strict=True))


def test_mixed_precision_trains_bias_and_projections():
    sizes, layout, heads, channels = CASES["padded"]
    generator = torch.Generator().manual_seed(0)
    width = heads * channels
    shapes = [(1, *sizes, width), (3 * width, width), (3 * width,), (width, width), (width,), (heads, 16, 16)]
    x, weight, more, proj, proj_bias, bias = wanted = [
        torch.randn(shape, generator=generator).requires_grad_() for shape in shapes
    ]
    arguments = x, weight, more, proj, proj_bias, heads, bias, layout
    exact = projected_window_attention(*arguments)
    with use_backend("triton"), torch.autocast("cpu", torch.bfloat16):
        found = projected_window_attention(*arguments)
    assert found.dtype == torch.bfloat16
    assert relative(found, exact) < 3e-2
    assert all(grad.dtype == torch.float32 for grad in torch.autograd.grad(found.float().sum(), wanted))


def test_what_does_not_fit_is_left_to_plain_pytorch():
    (qkv, bias, fill), layout = operands(*CASES["line"]), CASES["line"][1]
    with use_backend("triton"):
        with pytest.raises(RuntimeError, match="drops no"):
            window_attention(qkv, bias, layout, fill, 0.1)
        with pytest.raises(RuntimeError, match="200 channels"):
            window_attention(torch.zeros(1, 7, 3, 1, 200), bias, layout)
        with pytest.raises(RuntimeError, match="4 axes"):
            window_attention(torch.zeros(1, 2, 2, 2, 2, 3, 1, 2), None, WindowLayout([2] * 4, [0] * 4))


@pytest.mark.parametrize("optional", [False, True])
def test_it_is_a_proper_operator_that_compiles_in_one_graph(optional):
    layout = CASES["padded"][1]
    tensors = [each.requires_grad_() for each in operands((4, 5), layout, 1, 3)]
    qkv, bias, fill = tensors if optional else (tensors[0], None, None)
    torch.library.opcheck(triton.window_attention, (qkv, bias, fill, *layout[:5]))
    with use_backend("triton"):
        compiled = torch.compile(window_attention, fullgraph=True, backend="aot_eager")
        assert torch.equal(compiled(qkv, bias, layout, fill), window_attention(qkv, bias, layout, fill))

import pytest
import torch
import torch.nn.functional as F
from operands import guarded, relative

from foveal.kernels import use_backend
from foveal.kernels.dynamic_conv import dynamic_conv2d, predicted_conv2d, triton

LIMITS = {torch.float64: 1e-6, torch.float32: 1e-6, torch.float16: 2e-3, torch.bfloat16: 1e-2}
"""Sums are float32, also of double precision."""
# (batch, channels, kernels, side, height, width)
SIZES = [(2, 6, 2, 3, 5, 7), (1, 4, 4, 5, 6, 3), (1, 6, 1, 7, 1, 1), (1, 3, 1, 5, 5, 35), (2, 2, 1, 3, 130, 1)]
SIZES += [(1, 18, 1, 3, 4, 5), (1, 2, 1, 9, 3, 5), (2, 2, 2, 1, 4, 4)]  # more channels than a program has; the ends


def drawn(*shapes, dtype=torch.float32):
    generator = torch.Generator().manual_seed(sum(shapes[0]))
    return [torch.randn(shape, generator=generator).to(dtype) for shape in shapes]


def operands(batch, channels, groups, side, height, width, dtype=torch.float32):
    return drawn((batch, channels, height, width), (batch, groups, side * side, height, width), dtype=dtype)


def predicted_operands(batch, channels, groups, side, height, width, dtype=torch.float32):
    shapes = [(batch, channels, height, width), (batch, 4, height, width), (groups, side**2, 4), (groups, side**2)]
    return drawn(*shapes, dtype=dtype)


def equation(x, kernels):
    """Every neighbour of every position, times its weight."""
    side = int(kernels.shape[2] ** 0.5)
    patches = F.unfold(x, side, padding=side // 2).unflatten(1, (kernels.shape[1], -1, side * side))
    return torch.einsum("ngctp,ngtp->ngcp", patches, kernels.flatten(3)).reshape(x.shape)


def predicted_equation(x, features, weight, bias):
    return equation(x, torch.einsum("gtm,nmhw->ngthw", weight, features) + bias[:, :, None, None])


def agrees(function, formula, tensors):
    """Hold output and gradients against the equation in double precision."""
    tensors = [each.requires_grad_() for each in tensors]
    wide = [each.detach().double().requires_grad_() for each in tensors]
    expected, dtype = formula(*wide), tensors[0].dtype
    grad = torch.randn(expected.shape, generator=torch.Generator().manual_seed(1)).to(dtype)
    expected.backward(grad.double())
    with use_backend("triton"):
        found = function(*tensors)
    found.backward(grad)
    assert found.dtype == dtype
    assert relative(found, expected) < LIMITS[dtype]
    for ours, theirs in zip(tensors, wide, strict=True):
        assert ours.grad.dtype == dtype
        assert relative(ours.grad, theirs.grad) < 2 * LIMITS[dtype]


@pytest.mark.parametrize("size", SIZES)
def test_it_is_the_equation_with_every_gradient(size):
    agrees(dynamic_conv2d, equation, operands(*size))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_in_any_precision(dtype):
    agrees(dynamic_conv2d, equation, operands(2, 6, 2, 3, 5, 7, dtype=dtype))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_predicted_kernels_are_those_of_a_1x1_convolution_with_every_gradient(dtype):
    agrees(predicted_conv2d, predicted_equation, predicted_operands(2, 6, 2, 3, 5, 7, dtype=dtype))


def test_it_neither_reads_nor_writes_beyond_its_operands():
    pairs = [guarded(each) for each in operands(2, 6, 2, 5, 5, 7)]
    x, kernels = (part for part, _ in pairs)
    grad, memory = guarded(torch.ones_like(x))
    results = triton.dynamic_conv2d(x, kernels), *triton.dynamic_conv2d_backward(x, kernels, grad)
    assert all(torch.isfinite(each).all() for each in results)
    assert all(each.isnan().sum() == 128 for each in (memory, *(memory for _, memory in pairs)))


def test_every_result_is_written(monkeypatch):
    """What is allocated is NaN until a program stores to it."""
    empty = torch.Tensor.new_empty
    monkeypatch.setattr(torch.Tensor, "new_empty", lambda *args, **options: empty(*args, **options).fill_(torch.nan))
    x, kernels = operands(2, 6, 2, 3, 5, 35)
    results = triton.dynamic_conv2d(x, kernels), *triton.dynamic_conv2d_backward(x, kernels, torch.ones_like(x))
    assert all(torch.isfinite(each).all() for each in results)


@pytest.mark.parametrize("layout", ["channels_last", "permuted"])
def test_the_layout_in_memory_does_not_matter(layout):
    x, kernels = operands(2, 6, 2, 3, 5, 7)
    if layout == "channels_last":
        others = x.contiguous(memory_format=torch.channels_last), kernels
    else:
        others = x.mT.contiguous().mT, kernels.permute(4, 3, 2, 1, 0).contiguous().permute(4, 3, 2, 1, 0)
    with use_backend("triton"):
        results = []
        for a, b in ((x, kernels), others):
            a, b = a.detach().requires_grad_(), b.detach().requires_grad_()
            y = dynamic_conv2d(a, b)
            results.append([y.detach(), *torch.autograd.grad(y.square().sum(), (a, b))])
    assert all(torch.equal(one, other) for one, other in zip(*results, strict=True))


def test_larger_kernels_are_left_to_plain_pytorch():
    x, kernels = operands(1, 2, 1, 11, 3, 3)
    with use_backend("triton"), pytest.raises(RuntimeError, match="side 11"):
        dynamic_conv2d(x, kernels)
    assert relative(dynamic_conv2d(x, kernels), equation(x.double(), kernels.double())) < 1e-6


def test_mixed_precision_trains_the_prediction():
    tensors = [each.requires_grad_() for each in predicted_operands(1, 6, 2, 3, 5, 7)]
    exact = predicted_equation(*(each.detach().double() for each in tensors))
    with use_backend("triton"), torch.autocast("cpu", torch.bfloat16):
        found = predicted_conv2d(tensors[0].bfloat16(), *tensors[1:])
    assert relative(found, exact) < 2e-2
    assert all(grad.dtype == torch.float32 for grad in torch.autograd.grad(found.float().sum(), tensors))


@pytest.mark.parametrize("kind", ["dynamic", "predicted"])
def test_they_are_proper_operators_that_compile_in_one_graph(kind):
    made, function = (operands, dynamic_conv2d) if kind == "dynamic" else (predicted_operands, predicted_conv2d)
    tensors = [each.requires_grad_() for each in made(1, 4, 2, 3, 3, 5)]
    if kind == "dynamic":
        torch.library.opcheck(triton.dynamic_conv2d, tuple(tensors))
    else:
        torch.library.opcheck(triton.predicted_conv2d, tuple(tensors[:3]))
    with use_backend("triton"):
        compiled = torch.compile(function, fullgraph=True, backend="aot_eager")
        assert torch.equal(compiled(*tensors), function(*tensors))

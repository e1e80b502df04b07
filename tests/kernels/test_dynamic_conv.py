import numpy as np
import pytest
import torch

from foveal.kernels.dynamic_conv import dynamic_conv2d, predicted_conv2d

# (channels, kernels, side, height, width)
SIZES = [(6, 2, 3, 5, 7), (4, 4, 5, 6, 3), (12, 2, 7, 9, 8), (3, 1, 7, 1, 1), (2, 2, 1, 4, 4), (6, 3, 7, 2, 5)]


def brute_force(x, kernels):
    """The equation as loops over NumPy arrays: (N, C, H, W), (N, G, k*k, H, W) -> (N, C, H, W)."""
    count, channels, height, width = x.shape
    groups, side = kernels.shape[1], int(kernels.shape[2] ** 0.5)
    y = np.zeros_like(x)
    for n, c, h, w in np.ndindex(count, channels, height, width):
        for p, q in np.ndindex(side, side):
            row, column = h + p - side // 2, w + q - side // 2
            if 0 <= row < height and 0 <= column < width:
                y[n, c, h, w] += kernels[n, c * groups // channels, p * side + q, h, w] * x[n, c, row, column]
    return y


def operands(channels, groups, side, height, width, dtype=torch.float64, count=2):
    generator = torch.Generator().manual_seed(channels + side)
    shapes = [(count, channels, height, width), (count, groups, side * side, height, width)]
    return [torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype) for shape in shapes]


def relative(value, expected):
    return float((value.detach().double() - expected).norm() / expected.norm())


@pytest.mark.parametrize("size", SIZES)
def test_it_is_the_equation(size):
    x, kernels = operands(*size)
    expected = torch.from_numpy(brute_force(x.numpy(), kernels.numpy()))
    assert relative(dynamic_conv2d(x, kernels), expected) < 1e-14
    assert relative(dynamic_conv2d(x.float(), kernels.float()), expected) < 1e-6


@pytest.mark.parametrize("size", SIZES)
def test_gradients_are_those_of_finite_differences(size):
    x, kernels = (tensor[:1].requires_grad_() for tensor in operands(*size))
    assert torch.autograd.gradcheck(dynamic_conv2d, (x, kernels), fast_mode=True)


def test_half_precision_is_accumulated_in_single():
    x, kernels = operands(12, 2, 7, 9, 8, torch.bfloat16)
    expected = torch.from_numpy(brute_force(x.double().numpy(), kernels.double().numpy()))
    result = dynamic_conv2d(x, kernels)
    assert result.dtype == torch.bfloat16
    assert relative(result, expected) < 4e-3  # one rounding to eight bits


@pytest.mark.parametrize("layout", ["channels_last", "permuted"])
def test_the_layout_in_memory_does_not_matter(layout):
    x, kernels = operands(6, 2, 3, 5, 7)
    grad = torch.randn_like(x)
    results = []
    for change in (False, True):
        a, b = (tensor.clone() for tensor in (x, kernels))
        if change and layout == "channels_last":
            a = a.contiguous(memory_format=torch.channels_last)
        elif change:
            a, b = (
                a.transpose(2, 3).contiguous().transpose(2, 3),
                b.permute(4, 3, 2, 1, 0).contiguous().permute(4, 3, 2, 1, 0),
            )
        a.requires_grad_()
        b.requires_grad_()
        y = dynamic_conv2d(a, b)
        results.append([y.detach(), *torch.autograd.grad(y, (a, b), grad)])
    assert all(torch.allclose(one, other, rtol=1e-13, atol=1e-13) for one, other in zip(*results, strict=True))


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")
def test_scripting_gives_the_same():
    class Module(torch.nn.Module):
        def forward(self, x, kernels):
            return dynamic_conv2d(x, kernels)

    x, kernels = operands(6, 2, 3, 5, 7)
    assert torch.equal(torch.jit.script(Module())(x, kernels), dynamic_conv2d(x, kernels))


def predicted_operands(channels, groups, side, height, width):
    generator = torch.Generator().manual_seed(side)
    shapes = [(2, channels, height, width), (2, 4, height, width), (groups, side * side, 4), (groups, side * side)]
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]


@pytest.mark.parametrize("size", SIZES)
def test_predicted_kernels_are_those_of_a_1x1_convolution(size):
    x, features, weight, bias = predicted_operands(*size)
    kernels = torch.einsum("gtm,nmhw->ngthw", weight, features) + bias[None, :, :, None, None]
    expected = dynamic_conv2d(x, kernels)
    assert relative(predicted_conv2d(x, features, weight, bias), expected) < 1e-14


@pytest.mark.parametrize("size", SIZES[:4])
def test_gradients_through_the_prediction_are_those_of_finite_differences(size):
    inputs = tuple(tensor.requires_grad_() for tensor in predicted_operands(*size))
    assert torch.autograd.gradcheck(predicted_conv2d, inputs, fast_mode=True)


def test_mixed_precision_trains_the_prediction():
    x, features, weight, bias = (tensor.float().requires_grad_() for tensor in predicted_operands(12, 2, 7, 9, 8))
    exact = predicted_conv2d(x, features, weight, bias)
    with torch.autocast("cpu", torch.bfloat16):
        y = predicted_conv2d(x, features, weight, bias)
    assert relative(y, exact.detach().double()) < 1e-2
    grads = [torch.autograd.grad(out.square().sum(), (x, features, weight, bias)) for out in (exact, y.float())]
    assert all(relative(b, a.double()) < 2e-2 for a, b in zip(*grads, strict=True))

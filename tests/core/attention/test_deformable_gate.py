from itertools import product
from math import floor

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from foveal.core.attention.deformable_gate import DeformableGate, sampled_columns
from foveal.tests.fixtures.blocks import assert_is_formula, assert_programs_agree, random_block, random_map


def sample(image, position):
    """The value of (M, *spatial) at a position between pixels, corner by corner; zero outside."""
    value = image.new_zeros(image.shape[0])
    for corner in product((0, 1), repeat=len(position)):
        place = [floor(p.item()) + c for p, c in zip(position, corner, strict=True)]
        if all(0 <= one < side for one, side in zip(place, image.shape[1:], strict=True)):
            weight = 1.0
            for p, one in zip(position, place, strict=True):
                weight = weight * (1 - (p - one).abs())
            value = value + weight * image[(slice(None), *place)]
    return value


def brute_columns(x, offsets, kernel):
    sizes, taps = x.shape[2:], list(np.ndindex(*kernel))
    rows = []
    for b in range(x.shape[0]):
        for place in np.ndindex(*sizes):
            seen = []
            for number, tap in enumerate(taps):
                position = [
                    p + t - side // 2 + offsets[(b, number * len(sizes) + axis, *place)]
                    for axis, (p, t, side) in enumerate(zip(place, tap, kernel, strict=True))
                ]
                seen.append(sample(x[b], position))
            rows.append(torch.stack(seen, 1).flatten())
    return torch.stack(rows).view(x.shape[0], -1, x.shape[1] * len(taps))


@pytest.mark.parametrize(("size", "kernel"), [((4, 5), (3, 3)), ((1, 3), (3, 1)), ((2, 3, 2), (3, 1, 3))])
def test_columns_are_those_of_loops(size, kernel):
    x = random_map(2, 2, *size)
    offsets = (2 * random_map(2, len(size) * int(np.prod(kernel)), *size)).detach().requires_grad_()
    found, expected = sampled_columns(x, offsets, list(kernel)), brute_columns(x, offsets, kernel)
    torch.testing.assert_close(found, expected)
    probe = torch.randn_like(expected)
    for ours, theirs in zip(
        torch.autograd.grad(found, [x, offsets], probe),
        torch.autograd.grad(expected, [x, offsets], probe),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("size", [(5, 9), (3, 4, 5)])
def test_without_offsets_it_is_a_convolution(size):
    block = random_block(DeformableGate(10, spatial_dims=len(size)))
    torch.nn.init.zeros_(block.offset.weight)
    torch.nn.init.zeros_(block.offset.bias)

    def formula(x):
        seen = block.deformable(block.narrow(x)).movedim(1, -1)
        return x * F.layer_norm(seen, [10], block.norm.weight, block.norm.bias).movedim(-1, 1).sigmoid()

    x = random_map(1, 10, *size)
    torch.testing.assert_close(block(x), formula(x))


@pytest.mark.parametrize("batch", [1, 2])
def test_gradients_are_those_of_finite_differences(batch):
    block = random_block(DeformableGate(10))
    assert torch.autograd.gradcheck(block, (random_map(batch, 10, 4, 5),), fast_mode=True)


def test_narrow_features_are_the_formula():
    block = random_block(DeformableGate(10))

    def formula(x):
        y = F.conv2d(x, block.narrow[0].weight, padding=1, groups=10)
        y = torch.einsum("oc,nchw->nohw", block.narrow[1].weight.flatten(1), y)
        centred = y - y.mean((2, 3), keepdim=True)
        y = centred / (centred.square().mean((2, 3), keepdim=True) + 1e-5).sqrt()
        y = y * block.narrow[2].weight.view(-1, 1, 1) + block.narrow[2].bias.view(-1, 1, 1)
        return y * (1 + torch.erf(y / 2**0.5)) / 2

    assert_is_formula(block.narrow, formula, random_map(2, 10, 5, 7))


def test_programs_agree():
    block = random_block(DeformableGate(10))
    assert_programs_agree(block, random_map(2, 10, 5, 6), random_map(1, 10, 9, 4))

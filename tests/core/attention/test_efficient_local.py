import pytest
import torch
import torch.nn.functional as F

from foveal.core.attention.efficient_local import EfficientLocalAttention
from foveal.tests.fixtures.blocks import assert_is_formula, assert_programs_agree, random_block, random_map


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("silu", [False, True])
@pytest.mark.parametrize("size", [(5, 9), (3, 4, 5)])
def test_each_position_has_the_product_of_its_axes_gates(size, shared, silu):
    block = random_block(EfficientLocalAttention(8, 5, 4, 2, shared, silu, spatial_dims=len(size)))

    def gate(x, axis):
        convolution, norm = block.units[0 if shared else axis]
        mean = F.pad(x.movedim(2 + axis, 2).flatten(3).mean(3), [2, 2])
        taps = mean.unfold(2, 5, 1).unflatten(1, (4, 2))  # N, groups, channels of a group, length, taps
        y = torch.einsum("ngilt,goit->ngol", taps, convolution.weight.unflatten(0, (4, 2))).flatten(1, 2)
        halves = y.unflatten(1, (2, 4))
        centred = halves - halves.mean((2, 3), keepdim=True)
        normed = (centred / (centred.square().mean((2, 3), keepdim=True) + 1e-5).sqrt()).flatten(1, 2)
        normed = normed * norm.weight[:, None] + norm.bias[:, None]
        return (normed * normed.sigmoid() if silu else normed).sigmoid()

    def formula(x):
        for axis in range(len(size)):
            shape = [1] * len(size)
            shape[axis] = size[axis]
            x_gate = gate(original, axis).view(2, 8, *shape)
            x = x * x_gate
        return x

    original = random_map(2, 8, *size)
    assert_is_formula(block, formula, original)


def test_one_convolution_serves_all_axes():
    assert len(list(EfficientLocalAttention(32).parameters())) == 3
    assert len(list(EfficientLocalAttention(32, shared=False, spatial_dims=3).parameters())) == 9


@pytest.mark.parametrize("shared", [False, True])
def test_programs_agree(shared):
    block = EfficientLocalAttention(8, norm_groups=2, shared=shared, silu=not shared)
    assert_programs_agree(block, random_map(2, 8, 5, 6), random_map(1, 8, 9, 4))

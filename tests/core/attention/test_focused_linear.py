import math

import pytest
import torch
import torch.nn.functional as F

from foveal.core.attention.focused_linear import FocusedLinearAttention
from foveal.tests.fixtures.blocks import assert_is_formula, assert_programs_agree, random_block, random_map


def focused(block, x):
    x = (F.relu(x) + 1e-6) / F.softplus(block.scale)
    sharp = x**block.power
    return sharp / sharp.norm(dim=-1, keepdim=True) * x.norm(dim=-1, keepdim=True)


@pytest.mark.parametrize(
    ("size", "reduction", "shape"), [((4, 5), 1, (4, 5)), ((6, 4), 2, (4, 7)), ((3, 2, 4), 1, (2, 3, 3))]
)
def test_it_is_the_formula_written_as_a_map_of_all_pairs(size, reduction, shape):
    block = random_block(FocusedLinearAttention(6, 2, size, kernel=3, reduction=reduction))
    mode = "bilinear" if len(size) == 2 else "trilinear"

    def formula(x):
        k, v = block.kv(block.reduce(x)).chunk(2, -1)
        k = k + F.interpolate(block.positions, k.shape[1:-1], mode=mode).movedim(1, -1)
        q, k, values = focused(block, block.q(x).flatten(1, -2)), focused(block, k.flatten(1, -2)), v.flatten(1, -2)
        mixed = []
        for q_h, k_h, v_h in zip(*(t.chunk(2, -1) for t in (q, k, values)), strict=True):
            pairs = q_h @ k_h.mT / k.shape[1]
            mixed.append(pairs / (pairs.sum(-1, keepdim=True) + 1e-6) @ v_h)
        values = F.interpolate(values.mT, math.prod(shape), mode="linear").unflatten(2, shape)
        convolve = F.conv2d if len(size) == 2 else F.conv3d
        local = [convolve(part, block.kernels, block.bias, padding=1, groups=3) for part in values.chunk(2, 1)]
        return block.proj(torch.cat(mixed, -1).view(x.shape) + torch.cat(local, 1).movedim(1, -1))

    assert_is_formula(block, formula, random_map(2, *shape, 6))


def test_powers_are_made_in_single_precision():
    block = random_block(FocusedLinearAttention(8, 2, (3, 3)))
    x = 30 * random_map(1, 3, 3, 8).detach()
    expected = block(x)
    found = block.half()(x.half())
    assert found.dtype == torch.float16
    assert (found - expected).norm() < 2e-2 * expected.norm()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_mixed_precision_holds_the_features_of_many_positions(dtype):
    block, x = random_block(FocusedLinearAttention(8, 2, (4, 4))).float(), 5 * random_map(1, 64, 64, 8).detach().float()
    expected = block(x)
    with torch.autocast("cpu", dtype=dtype):
        found = block(x)
    assert found.dtype == dtype
    assert (found - expected).norm() < 2e-2 * expected.norm()


@pytest.mark.parametrize("reduction", [1, 2])
def test_programs_agree(reduction):
    block = FocusedLinearAttention(8, 2, (7, 5), reduction=reduction)
    assert_programs_agree(block, random_map(2, 6, 8, 8), random_map(1, 9, 10, 8), channels=-1)


def test_heads_that_do_not_divide_are_refused():
    with pytest.raises(ValueError, match="heads 3 must divide dim 8"):
        FocusedLinearAttention(8, 3, (4, 4))

import pytest
import torch

from foveal.core.attention.single_head import SingleHeadAttention
from foveal.tests.fixtures.blocks import assert_is_formula, assert_programs_agree, random_block, random_map


def normed(x, norm):
    """Batch norm with its stored statistics, written out."""
    shape = [-1] + [1] * (x.ndim - 2)
    scale = norm.weight / (norm.running_var + 1e-5).sqrt()
    return (x - norm.running_mean.view(shape)) * scale.view(shape) + norm.bias.view(shape)


def pointwise(unit, x):
    return normed(torch.einsum("oc,nc...->no...", unit.conv.weight.flatten(1), x), unit.norm)


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize(("size", "attended"), [((5, 9), 6), ((3, 4, 5), 2), ((1, 1), 6)])
def test_first_channels_attend_beside_the_rest(batch, size, attended):
    block = random_block(SingleHeadAttention(8, attended, qk_dim=4, spatial_dims=len(size)))

    def formula(x):
        some, rest = x[:, :attended], x[:, attended:]
        flat = some.flatten(1)
        centred = flat - flat.mean(1, keepdim=True)
        whitened = (centred / (centred.square().mean(1, keepdim=True) + 1e-5).sqrt()).view_as(some)
        shape = [-1] + [1] * len(size)
        q, k, v = (
            pointwise(block.qkv, whitened * block.norm.weight.view(shape) + block.norm.bias.view(shape))
            .flatten(2)
            .split([4, 4, attended], 1)
        )
        weights = torch.softmax(q.mT @ k / 2, -1)
        return pointwise(block.project, torch.cat([(v @ weights.mT).view_as(some), rest], 1).relu())

    assert_is_formula(block, formula, random_map(batch, 8, *size))


def test_a_new_branch_adds_nothing():
    assert torch.equal(SingleHeadAttention(8, 4)(torch.randn(2, 8, 3, 5)), torch.zeros(2, 8, 3, 5))


@pytest.mark.parametrize("attended", [2, 6])
def test_programs_agree(attended):
    block = random_block(SingleHeadAttention(8, attended, qk_dim=4))
    assert_programs_agree(block, random_map(2, 8, 5, 6), random_map(1, 8, 9, 4))

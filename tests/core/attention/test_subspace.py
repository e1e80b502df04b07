import pytest
import torch
import torch.nn.functional as F

from foveal.core.attention.subspace import SubspaceAttention
from foveal.tests.fixtures.blocks import assert_is_formula, assert_programs_agree, random_block, random_map


def normed(norm, x, channels):
    shape = [-1] + [1] * (x.ndim - 2)
    mean, deviation = norm.running_mean[channels], (norm.running_var[channels] + 1e-5).sqrt()
    scaled = (x - mean.view(shape)) / deviation.view(shape)
    return scaled * norm.weight[channels].view(shape) + norm.bias[channels].view(shape)


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("size", [(5, 9), (3, 4, 5)])
def test_groups_one_by_one_give_the_same(batch, size):
    block = random_block(SubspaceAttention(6, 3, spatial_dims=len(size)))
    pool = F.max_pool2d if len(size) == 2 else F.max_pool3d
    shape = [-1] + [1] * len(size)

    def group(x, number):
        channels = slice(2 * number, 2 * number + 2)
        scaled = x * block.scale.weight[channels].view(shape) + block.scale.bias[channels].view(shape)
        pooled = pool(normed(block.scale_norm, scaled, channels).relu(), 3, 1, 1)
        one = slice(number, number + 1)
        score = torch.einsum("c,nc...->n...", block.score.weight[number].flatten(), pooled)[:, None]
        score = normed(block.score_norm, score + block.score.bias[number], one).relu()
        weights = score.exp() / score.exp().flatten(1).sum(1).view(batch, *[1] * (1 + len(size)))
        return x * weights + x

    def formula(x):
        return torch.cat([group(part, number) for number, part in enumerate(x.split(2, 1))], 1)

    assert_is_formula(block, formula, random_map(batch, 6, *size))


def test_a_group_that_looks_nowhere_looks_everywhere():
    block = SubspaceAttention(4, 2).eval()
    torch.nn.init.constant_(block.score.bias, -1e3)
    x = torch.randn(1, 4, 3, 5)
    torch.testing.assert_close(block(x), x * (1 + 1 / 15))


def test_programs_agree():
    assert_programs_agree(SubspaceAttention(8, 2), random_map(2, 8, 5, 6), random_map(1, 8, 9, 4))


def test_groups_must_divide_the_channels():
    with pytest.raises(ValueError, match="4 subspaces do not divide 6 channels"):
        SubspaceAttention(6)

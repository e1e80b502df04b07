import pytest
import torch
import torch.nn.functional as F

from foveal.core.attention.convolutional import ConvolutionalBlockAttention
from foveal.tests.fixtures.blocks import assert_is_formula, assert_programs_agree, random_block, random_map


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("size", [(5, 9), (3, 4, 5)])
def test_first_the_channels_then_the_positions(batch, size):
    block = random_block(ConvolutionalBlockAttention(8, reduction=4, kernel=3, spatial_dims=len(size)))
    squeeze, excite, score = block.channels.squeeze, block.channels.excite, block.positions.score
    convolve = F.conv2d if len(size) == 2 else F.conv3d

    def formula(x):
        vectors = x.flatten(2).mean(2), x.flatten(2).max(2).values
        logits = sum((v @ squeeze.weight.T + squeeze.bias).relu() @ excite.weight.T + excite.bias for v in vectors)
        x = x * logits.sigmoid().view(batch, 8, *[1] * len(size))
        summary = torch.stack([x.max(1).values, x.mean(1)], 1)
        where = convolve(summary, score.conv.weight, padding=1)
        norm = score.norm
        where = (where - norm.running_mean) / (norm.running_var + 1e-5).sqrt() * norm.weight + norm.bias
        return x * where.sigmoid()

    assert_is_formula(block, formula, random_map(batch, 8, *size))


def test_programs_agree():
    assert_programs_agree(ConvolutionalBlockAttention(8, 2), random_map(2, 8, 5, 6), random_map(1, 8, 9, 4))

import pytest
import torch
import torch.nn.functional as F

from foveal.core.attention.additive import AdditiveAttention
from foveal.tests.fixtures.blocks import assert_is_formula, assert_programs_agree, random_block, random_map


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("qkv_bias", [False, True])
@pytest.mark.parametrize("size", [(5, 9), (3, 4, 5)])
def test_gated_queries_and_keys_are_added(batch, size, qkv_bias):
    block = random_block(AdditiveAttention(4, qkv_bias, spatial_dims=len(size)))
    convolve, shape = F.conv2d if len(size) == 2 else F.conv3d, [-1] + [1] * len(size)

    def depthwise(layer, x):
        return convolve(x, layer.weight, layer.bias, padding=1, groups=4)

    def gated(gates, x):
        local, norm = gates[0].score, gates[0].score[1]
        scale = norm.weight / (norm.running_var + 1e-5).sqrt()
        y = (depthwise(local[0], x) - norm.running_mean.view(shape)) * scale.view(shape) + norm.bias.view(shape)
        x = x * torch.einsum("c,nc...->n...", local[3].weight.flatten(), y.relu()).sigmoid()[:, None]
        mean = x.flatten(2).mean(2)
        return x * torch.einsum("oc,nc->no", gates[1].score.weight, mean).sigmoid().view(batch, 4, *shape[1:])

    def formula(x):
        qkv = torch.einsum("oc,nc...->no...", block.qkv.weight.flatten(1), x)
        q, k, v = (qkv + block.qkv.bias.view(shape) if qkv_bias else qkv).split(4, 1)
        return depthwise(block.project, depthwise(block.mix, gated(block.gate_query, q) + gated(block.gate_key, k)) * v)

    assert_is_formula(block, formula, random_map(batch, 4, *size))


def test_programs_agree():
    assert_programs_agree(AdditiveAttention(4), random_map(2, 4, 5, 6), random_map(1, 4, 9, 4))

import math

import pytest
import torch
from torch import nn

from foveal.core.attention.channel import ChannelAttention
from foveal.core.attention.dense import SelfAttention
from foveal.core.attention.top_k import TopKSoftmax, largest_softmax
from foveal.core.attention.window import WindowAttention
from foveal.tests.fixtures.blocks import assert_is_formula, assert_programs_agree, random_block, random_map


@pytest.mark.parametrize("length", [1, 2, 7, 12])
def test_weights_are_a_sum_of_masked_softmaxes(length):
    block = random_block(TopKSoftmax())

    def formula(scores):
        total = 0
        for weight, share in zip(block.weights, (1 / 2, 2 / 3, 3 / 4, 4 / 5), strict=True):
            smallest = scores.topk(max(1, math.floor(length * share + 1e-9)), -1).values[..., -1:]
            total = total + weight * scores.masked_fill(scores < smallest, -math.inf).softmax(-1)
        return total

    assert_is_formula(block, formula, random_map(2, 3, 5, length))


def test_of_equal_scores_no_more_are_kept():
    weights = TopKSoftmax(((1, 2),))(torch.zeros(6))
    torch.testing.assert_close(weights.sort().values, 0.2 * torch.tensor([0, 0, 0, 1 / 3, 1 / 3, 1 / 3]))


def test_large_scores_do_not_overflow():
    weights = TopKSoftmax()(torch.tensor([1e4, 0.0, -1e4, 5.0]))
    torch.testing.assert_close(weights, torch.tensor([0.8, 0.0, 0.0, 0.0]))


def test_all_scores_kept_once_is_the_softmax():
    block, scores = TopKSoftmax(((1, 1),)), torch.randn(3, 5)
    torch.testing.assert_close(block(scores), 0.2 * scores.softmax(-1))


@pytest.mark.parametrize("spatial", [(5, 6), (3, 4, 5)])
def test_as_the_weighting_of_channel_attention_it_mixes_channels(spatial):
    block = random_block(ChannelAttention(12, 2, weighting=TopKSoftmax(), spatial_dims=len(spatial)))
    plain = random_block(ChannelAttention(12, 2, weighting=nn.Softmax(-1), spatial_dims=len(spatial)))
    block.weighting.shares = [(1, 1)]
    block.weighting.weights = nn.Parameter(torch.ones(1, dtype=torch.float64))
    x = random_map(1, 12, *spatial)
    plain.load_state_dict({name: value for name, value in block.state_dict().items() if "weighting" not in name})
    torch.testing.assert_close(block(x), plain(x))


def test_programs_agree():
    block = ChannelAttention(12, 2, weighting=TopKSoftmax())
    assert_programs_agree(block, random_map(2, 12, 5, 6), random_map(1, 12, 9, 4))


@pytest.mark.parametrize("block", [SelfAttention(4, 2, top_k=3), WindowAttention(4, 2, (3, 3), 1, top_k=3)])
def test_attention_to_the_largest_scores(block: nn.Module) -> None:
    x = torch.randn(2, 6, 6, 4, dtype=torch.float64)
    block = block.double()
    y, weights = block.with_weights(x)
    assert ((weights[0].weights > 0).sum(-1) <= 3).all()
    torch.testing.assert_close(weights[0].weights.sum(-1), torch.ones_like(weights[0].weights[..., 0]))
    torch.testing.assert_close(block(x), y)
    torch.testing.assert_close(torch.jit.script(block)(x), y)
    block.top_k = 36
    every = block(x)
    block.top_k = 0
    torch.testing.assert_close(block(x), every)


def test_of_equal_scores_the_first_are_kept() -> None:
    scores = torch.tensor([[1.0, 2.0, 1.0, 1.0, 2.0]], requires_grad=True)
    e = torch.e
    expected = torch.tensor([[1.0, e, 0.0, 0.0, e]]) / (1 + 2 * e)
    weights = largest_softmax(scores, 3)
    torch.testing.assert_close(weights, expected)
    assert torch.autograd.grad(weights[0, 1], scores)[0][0, 2:4].tolist() == [0, 0]

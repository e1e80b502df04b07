import math

import pytest
import torch

from foveal.core.attention.channel import ChannelAttention
from foveal.kernels.channel_attention import channel_attention

SIZES = [(5, 7, 8), (9, 8, 8), (17, 8, 8), (20, 31, 6), (3, 40, 5), (1, 1, 4), (50, 9, 4), (16, 16, 8)]


def windows(size, window):
    """Starts and length of the windows along one axis, by the rule as published."""
    length = min(size, window)
    count = (size - 1) // length + 1
    step = length if count == 1 else math.ceil((size - length) / (count - 1) - 1e-8)
    starts = []
    while not starts or starts[-1] + length < size:
        start = len(starts) * step
        starts.append(size - length if start + length >= size else start)
    return starts, length


def by_loops(block, x, window):
    """Windows one by one, averaged where they overlap."""
    qkv = block.depthwise(block.qkv(x))
    total, count = torch.zeros_like(x), torch.zeros_like(x)
    (tops, height), (lefts, width) = (windows(size, window) for size in x.shape[2:])
    for top in tops:
        for left in lefts:
            place = (..., slice(top, top + height), slice(left, left + width))
            q, k, v = qkv[place].flatten(2).mT.chunk(3, -1)
            total[place] += channel_attention(q, k, v, block.temperature).mT.unflatten(2, (height, width))
            count[place] += 1
    return block.project_out(total / count)


@pytest.mark.parametrize(("height", "width", "window"), SIZES)
def test_windows_are_placed_and_averaged_as_published(height, width, window):
    torch.manual_seed(0)
    block = ChannelAttention(12, heads=2, window=window).double().eval()
    x = torch.randn(2, 12, height, width, dtype=torch.float64)
    expected = by_loops(block, x, window)
    assert float((block(x) - expected).detach().norm() / expected.detach().norm()) < 1e-12


def test_training_compares_over_the_whole_map():
    torch.manual_seed(0)
    block = ChannelAttention(12, heads=2, window=4).double()
    x = torch.randn(1, 12, 9, 10, dtype=torch.float64)
    whole = block(x)
    assert torch.allclose(whole, by_loops(block, x, 10), rtol=1e-12, atol=1e-12)
    assert not torch.allclose(whole, block.eval()(x))


def test_gradients_reach_every_parameter_in_both_modes():
    for training in (True, False):
        block = ChannelAttention(12, heads=3, window=4).train(training)
        block(torch.randn(1, 12, 9, 6)).square().sum().backward()
        assert all(parameter.grad.abs().sum() > 0 for parameter in block.parameters())

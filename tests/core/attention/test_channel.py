import math

import pytest
import torch
import torch.nn.functional as F

from foveal.core.attention.channel import ChannelAttention
from foveal.kernels.channel_attention import channel_scores, mix_channels

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
            mixed = mix_channels(torch.relu(channel_scores(q, k, block.temperature)), v)
            total[place] += mixed.mT.unflatten(2, (height, width))
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


def written_out(block, x):
    """One head after the other, with normalised copies, over the whole map or volume."""
    q, k, v = block.depthwise(block.qkv(x)).flatten(2).chunk(3, 1)
    heads = zip(*(t.chunk(len(block.temperature), 1) for t in (q, k, v)), block.temperature, strict=True)
    mixed = [
        block.weighting(F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).mT * scale) @ v for q, k, v, scale in heads
    ]
    return block.project_out(torch.cat(mixed, 1).view_as(x))


@pytest.mark.parametrize("size", [(5, 7), (3, 4, 5)])
@pytest.mark.parametrize("batch", [1, 2])
def test_softmax_in_maps_and_volumes_is_the_formula(size, batch):
    torch.manual_seed(0)
    block = ChannelAttention(12, 3, weighting=torch.nn.Softmax(-1), bias=True, spatial_dims=len(size)).double()
    x = torch.randn(batch, 12, *size, dtype=torch.float64, requires_grad=True)
    expected, found = written_out(block, x), block(x)
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-13)
    gradients = [torch.autograd.grad(y.square().sum(), [x, *block.parameters()]) for y in (found, expected)]
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)


def test_windows_of_volumes_are_refused():
    with pytest.raises(ValueError, match="maps alone"):
        ChannelAttention(12, 3, window=4, spatial_dims=3)

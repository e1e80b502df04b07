import pytest
import torch

from foveal.core.attention.pooled_gate import PooledChannelGate


def some_map(height=5, width=7):
    return torch.randn(2, 4, height, width, generator=torch.Generator().manual_seed(0))


def test_without_scores_the_softmax_pools_the_mean():
    gate = PooledChannelGate(4)
    torch.nn.init.zeros_(gate.score.weight)
    torch.testing.assert_close(gate.pooled(some_map()), some_map().mean((2, 3)))


def test_the_sum_adds_all_positions():
    torch.testing.assert_close(PooledChannelGate(4, pooling="sum").pooled(some_map()), some_map().sum((2, 3)))


@pytest.mark.parametrize(("pooling", "same"), [("softmax", True), ("sum", False)])
def test_only_the_softmax_is_free_of_the_size_of_a_constant_map(pooling, same):
    torch.manual_seed(0)
    gate = PooledChannelGate(4, pooling=pooling)
    small, large = (gate.pooled(torch.ones(1, 4, side, side)) for side in (3, 9))
    assert torch.allclose(small, large) is same


def test_positions_with_high_scores_count_most():
    gate = PooledChannelGate(4)
    x = some_map()
    with torch.no_grad():
        gate.score.weight.zero_()[0, 0] = 1000.0
    brightest = x[:, 0].flatten(1).argmax(1)
    torch.testing.assert_close(gate.pooled(x), x.flatten(2)[torch.arange(2), :, brightest])


def test_another_pooling_is_refused():
    with pytest.raises(ValueError, match="pooling must be 'softmax' or 'sum', not 'mean'"):
        PooledChannelGate(4, pooling="mean")

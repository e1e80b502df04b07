import pytest
import torch

from foveal.core.attention.pooled_gate import PooledChannelGate
from foveal.tests.fixtures.blocks import assert_is_formula, assert_programs_agree, random_block, random_map


def some_map(height=5, width=7):
    return torch.randn(2, 4, height, width, generator=torch.Generator().manual_seed(0))


def test_without_scores_the_softmax_pools_the_mean():
    gate = PooledChannelGate(4)
    torch.nn.init.zeros_(gate.score.weight)
    torch.testing.assert_close(gate.pooled(some_map())[:, 0], some_map().mean((2, 3)))


def test_the_sum_adds_all_positions():
    torch.testing.assert_close(PooledChannelGate(4, pooling="sum").pooled(some_map())[:, 0], some_map().sum((2, 3)))


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
    torch.testing.assert_close(gate.pooled(x)[:, 0], x.flatten(2)[torch.arange(2), :, brightest])


@pytest.mark.parametrize("size", [(5, 7), (2, 3, 4)])
def test_mean_and_maximum_pass_the_same_layers(size):
    gate = random_block(PooledChannelGate(4, 2, "mean_and_max", bias=True, spatial_dims=len(size)))

    def formula(x):
        tokens = x.flatten(2)
        logits = sum(gate.excite(gate.squeeze(each).relu()) for each in (tokens.mean(2), tokens.max(2).values))
        return (tokens * logits.sigmoid()[:, :, None]).view_as(x)

    assert_is_formula(gate, formula, random_map(2, 4, *size))


@pytest.mark.parametrize("pooling", ["softmax", "sum", "mean_and_max"])
def test_programs_agree(pooling):
    gate = PooledChannelGate(4, pooling=pooling, spatial_dims=3)
    assert_programs_agree(gate, random_map(2, 4, 3, 4, 5), random_map(1, 4, 6, 5, 7))


def test_another_pooling_is_refused():
    with pytest.raises(ValueError, match="pooling must be 'softmax', 'sum' or 'mean_and_max', not 'mean'"):
        PooledChannelGate(4, pooling="mean")

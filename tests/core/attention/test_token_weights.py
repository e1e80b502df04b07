"""Every mixer that writes its weights out gives what it gives in its fast form, and its weights explain that."""

import pytest
import torch
from torch import Tensor, nn

from foveal.core.attention.adaptive_sparse import AdaptiveSparseAttention
from foveal.core.attention.agent import AgentAttention, ClassTokenAgentAttention
from foveal.core.attention.bilevel import BiLevelRoutingAttention
from foveal.core.attention.cross_shaped import CrossShapedAttention
from foveal.core.attention.dense import SelfAttention
from foveal.core.attention.efficient import EfficientAttention
from foveal.core.attention.global_query import GlobalQueryAttention
from foveal.core.attention.hilo import HiLoAttention
from foveal.core.attention.instance_sparse import InstanceSparseAttention
from foveal.core.attention.mixture_of_heads import MixtureOfHeadsAttention
from foveal.core.attention.neighborhood import NeighborhoodAttention
from foveal.core.attention.position import PositionAttention
from foveal.core.attention.single_head import SingleHeadAttention
from foveal.core.attention.token_weights import TokenWeights
from foveal.core.attention.volume_groups import VolumeGroupAttention
from foveal.core.attention.window import WindowAttention

LAST = {
    "dense": (SelfAttention, (8, 2), {}, (3, 5)),
    "windows": (WindowAttention, (8, 2, (3, 2)), {}, (6, 4)),
    "shifted windows with padding": (WindowAttention, (8, 2, (4, 4)), {"shift": 2}, (9, 6)),
    "windows rolled first": (WindowAttention, (8, 2, (4, 4)), {"shift": (2, 1), "roll_first": True}, (9, 11)),
    "grid with hidden padding": (WindowAttention, (8, 2, (3, 4)), {"dilated": True, "mask_padding": True}, (7, 9)),
    "windows of a volume": (WindowAttention, (8, 2, (2, 3, 2)), {"shift": (1, 1, 1)}, (3, 5, 4)),
    "neighbourhoods": (NeighborhoodAttention, (8, 2, (3, 3)), {"position_bias": True}, (5, 6)),
    "dilated neighbourhoods": (NeighborhoodAttention, (8, 2, (3, 5)), {"dilation": (2, 1), "stride": 2}, (7, 9)),
    "causal neighbourhoods": (NeighborhoodAttention, (8, 2, (3,)), {"causal": True, "dilation": 2}, (9,)),
    "padded neighbourhoods": (NeighborhoodAttention, (8, 2, (5, 3)), {"pad_short": True}, (3, 7)),
    "stripes": (CrossShapedAttention, (8, 2, 2), {}, (5, 7)),
    "stripes of a volume": (CrossShapedAttention, (6, 3, 2), {"axes": 3}, (3, 4, 5)),
    "volume groups": (VolumeGroupAttention, (8, 2, (2, 3, 3)), {}, (3, 5, 7)),
    "spread volume groups": (VolumeGroupAttention, (8, 2, (2, 2, 2)), {"dilated": True, "interval": 4}, (6, 8, 7)),
    "spread volume groups, padded in depth": (
        VolumeGroupAttention,
        (8, 2, (2, 2, 2)),
        {"dilated": True, "interval": 4},
        (6, 8, 8),
    ),
    "low volume": (VolumeGroupAttention, (8, 2, (2, 4, 4)), {"dilated": True}, (3, 3, 5)),
    "routed regions": (BiLevelRoutingAttention, (8, 2, 3, 2), {}, (7, 8)),
    "routed regions rounded down": (BiLevelRoutingAttention, (8, 2, 3, 2), {"floor": True, "qk_dim": 4}, (7, 8)),
    "chosen keys": (InstanceSparseAttention, (8, 12, 2), {"keep": 0.5, "patterns": 9, "reduction": 1}, (12,)),
    "efficient": (EfficientAttention, (8, 2), {}, (3, 5)),
    "adaptive sparse windows": (AdaptiveSparseAttention, (8, 2, (3, 4), 2), {}, (5, 7)),
}
"""Mixers whose values are the last channels of `qkv`, and which mix these by their weights alone."""
OTHERS = {
    "position": (PositionAttention, (8,), {"reduction": 4}, (8, 3, 5)),
    "single head": (SingleHeadAttention, (8, 4, 3), {}, (8, 3, 5)),
    "agents": (AgentAttention, (8, 2, (4, 5)), {"agents": 2}, (6, 5, 8)),
    "agents and patches": (AgentAttention, (8, 2, (4, 6)), {"agents": 2, "reduction": 2}, (5, 6, 8)),
    "agents and a class token": (ClassTokenAgentAttention, (8, 2, (3, 4)), {"agents": 2}, (13, 8)),
    "high and low": (HiLoAttention, (8, 4, (2, 2)), {}, (5, 6, 8)),
    "mixture of heads": (MixtureOfHeadsAttention, (8, 4, (4, 4), 1, 2), {}, (3, 5, 8)),
}


def made(kind: type[nn.Module], given: tuple, options: dict) -> nn.Module:
    torch.manual_seed(0)
    block = kind(*given, **options).double().eval()
    for parameter in block.parameters():
        nn.init.normal_(parameter, std=0.5)
    return block


def mixed(block: nn.Module, x: Tensor, weights: list[TokenWeights]) -> Tensor:
    """Mix the values of a map by weights that are laid out over it."""
    laid = torch.cat([each.over_map() for each in weights], 1)
    values = block.qkv(x.flatten(1, -2))[..., -8 if x.shape[-1] == 8 else -6 :]
    heads = values.unflatten(-1, (laid.shape[1], -1)).transpose(1, 2)
    return block.proj((laid @ heads).transpose(1, 2).flatten(2)).view(x.shape)


@pytest.mark.parametrize("name", LAST)
def test_weights_laid_out_over_the_map_give_the_output(name: str) -> None:
    kind, given, options, grid = LAST[name]
    block = made(kind, given, options)
    nn.init.zeros_(block.qkv.bias)  # so that what goes to padding brings nothing
    for each in block.modules():
        if each is not block and isinstance(each, nn.Conv1d | nn.Conv2d | nn.Conv3d):
            nn.init.zeros_(each.weight)
            nn.init.zeros_(each.bias)
    x = torch.randn(2, *grid, given[0], dtype=torch.float64)
    _, weights = block.with_weights(x)
    assert torch.allclose(mixed(block, x, weights), block(x), rtol=0, atol=1e-10)
    assert all(each.grid == list(grid) for each in weights)


@pytest.mark.parametrize("name", [*LAST, *OTHERS])
def test_written_out_attention_has_the_output_and_gradient_of_the_fast_form(name: str) -> None:
    kind, given, options, grid = (LAST | OTHERS)[name]
    block = made(kind, given, options)
    shape = (*grid, given[0]) if name in LAST else grid
    x = torch.randn(2, *shape, dtype=torch.float64, requires_grad=True)
    y, weights = block.with_weights(x)
    fast = block(x)
    assert torch.allclose(y, fast, rtol=0, atol=1e-10)
    direction = torch.randn_like(y)
    ours, theirs = (torch.autograd.grad((out * direction).sum(), x)[0] for out in (y, fast))
    assert torch.allclose(ours, theirs, rtol=0, atol=1e-9)
    grads = torch.autograd.grad((block.with_weights(x)[0] * direction).sum(), x)  # made anew each time
    assert torch.allclose(grads[0], theirs, rtol=0, atol=1e-9)
    assert all(len(each.weights) == len(each.queries) == len(each.keys) for each in weights)


EVERY = LAST | OTHERS


@pytest.mark.parametrize("name", [name for name, (kind, *_) in EVERY.items() if kind is not AdaptiveSparseAttention])
def test_rows_add_up_to_one_but_for_padding(name: str) -> None:
    kind, given, options, grid = EVERY[name]
    block = made(kind, given, options)
    for part in block.with_weights(torch.randn(2, *((*grid, given[0]) if name in LAST else grid)).double())[1]:
        assert torch.allclose(part.weights.sum(-1), torch.ones(()).double(), atol=1e-10)
        rows = part.over_map().sum(-1)
        lost = ((part.keys < 0)[:, None, None] * part.weights).sum(-1).max()
        assert rows.max() <= 1 + 1e-10
        assert rows.min() >= 1 - lost - 1e-10


def test_queries_of_the_whole_map_ask_every_window() -> None:
    block = made(GlobalQueryAttention, (8, 2, (2, 3)), {})
    x, query = torch.randn(2, 5, 6, 8).double(), torch.randn(2, 2, 3, 8).double()
    y, (weights,) = block.with_weights(x, query)
    assert torch.allclose(y, block(x, query), rtol=0, atol=1e-10)
    laid = weights.over_map()
    assert (laid[:, :, 0].reshape(2, 2, 5, 6) > 0)[0, 0].nonzero().tolist() == [
        [row, column] for row in (0, 1) for column in (0, 1, 2)
    ]
    assert torch.allclose(laid.sum(-1), torch.ones(()).double())  # padding is no key


def test_a_large_map_is_not_laid_out() -> None:
    numbers = torch.zeros(1, 1, dtype=torch.long)
    weights = TokenWeights(torch.ones(1, 1, 1, 1), numbers, numbers, 1, [100, 100])
    with pytest.raises(ValueError, match="100 x 100 = 10000 tokens"):
        weights.over_map()

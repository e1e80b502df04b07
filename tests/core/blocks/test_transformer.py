"""The transformer block is its two equations, on maps of any number of axes."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from foveal.core.blocks.transformer import TransformerBlock


@pytest.mark.parametrize("spatial", [(5,), (3, 4), (2, 3, 4)])
def test_block_is_the_formula(spatial: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    block = TransformerBlock(nn.Linear(8, 8), 8, mlp_ratio=2.0, norm_eps=1e-6, layer_scale=0.3).double().eval()
    nn.init.normal_(block.norm1.weight)
    x = torch.randn(2, *spatial, 8, dtype=torch.float64)
    first = F.layer_norm(x, [8], block.norm1.weight, block.norm1.bias, 1e-6)
    x1 = x + 0.3 * (first @ block.mixer.weight.T + block.mixer.bias)
    second = F.layer_norm(x1, [8], eps=1e-6) @ block.mlp[0].weight.T + block.mlp[0].bias
    hidden = 0.5 * second * (1 + torch.erf(second / 2**0.5))
    expected = x1 + 0.3 * (hidden @ block.mlp[3].weight.T + block.mlp[3].bias)
    torch.testing.assert_close(block(x), expected)


def test_block_scripts() -> None:
    block = TransformerBlock(nn.Linear(8, 8), 8, drop_path=0.5, layer_scale=0.1).eval()
    x = torch.randn(2, 3, 4, 8)
    torch.testing.assert_close(torch.jit.script(block)(x), block(x))


def test_branches_are_dropped_in_training() -> None:
    block = TransformerBlock(nn.Linear(8, 8), 8, drop_path=0.999).train()
    torch.manual_seed(1)
    x = torch.randn(2, 3, 8)
    assert torch.equal(block(x), x)

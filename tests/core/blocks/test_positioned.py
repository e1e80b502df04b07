"""A convolution before each branch of a transformer block."""

import torch
from torch import nn

from foveal.core.blocks.positioned import PositionedBlock


def test_block_is_the_formula() -> None:
    torch.manual_seed(0)
    block = PositionedBlock(nn.Linear(4, 4), 4, 2.0).double().eval()
    x = torch.randn(2, 4, 3, 5, dtype=torch.float64)
    y = (x + block.position1(x)).permute(0, 2, 3, 1)
    y = (y + block.mixer(block.norm1(y))).permute(0, 3, 1, 2)
    y = (y + block.position2(y)).permute(0, 2, 3, 1)
    torch.testing.assert_close(block(x), (y + block.mlp(block.norm2(y))).permute(0, 3, 1, 2))


def test_volumes_and_script() -> None:
    block = PositionedBlock(nn.Linear(4, 4), 4, spatial_dims=3).eval()
    x = torch.randn(1, 4, 2, 3, 5)
    torch.testing.assert_close(torch.jit.script(block)(x), block(x))

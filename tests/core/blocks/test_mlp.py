import pytest
import torch
import torch.nn.functional as F

from foveal.core.blocks.mlp import GatedDepthwiseFeedForward


@pytest.mark.parametrize("bias", [False, True])
def test_one_half_gates_the_other(bias):
    torch.manual_seed(0)
    block = GatedDepthwiseFeedForward(6, bias=bias).double()
    x = torch.randn(2, 6, 5, 7, dtype=torch.float64)
    content, gate = block.depthwise(block.project_in(x)).chunk(2, dim=1)
    expected = block.project_out(F.gelu(content) * gate)
    assert torch.allclose(block(x), expected, rtol=1e-12, atol=1e-12)

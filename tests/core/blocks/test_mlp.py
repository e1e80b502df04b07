import pytest
import torch.nn.functional as F

from foveal.core.blocks.mlp import GatedDepthwiseFeedForward
from foveal.tests.fixtures.blocks import assert_is_formula, assert_programs_agree, random_block, random_map


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("sizes", [(5, 7), (3, 4, 5)])
def test_one_half_gates_the_other(bias, sizes):
    block = random_block(GatedDepthwiseFeedForward(6, bias=bias, spatial_dims=len(sizes)))

    def formula(x):
        content, gate = block.depthwise(block.project_in(x)).chunk(2, dim=1)
        return block.project_out(F.gelu(content) * gate)

    assert_is_formula(block, formula, random_map(2, 6, *sizes))


@pytest.mark.parametrize("sizes", [(5, 7), (3, 4, 5)])
def test_programs_agree(sizes):
    block = GatedDepthwiseFeedForward(4, bias=True, spatial_dims=len(sizes))
    assert_programs_agree(block, random_map(2, 4, *sizes), random_map(1, 4, *sizes[::-1]))

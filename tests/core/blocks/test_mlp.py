import pytest
import torch
import torch.nn.functional as F

from foveal.core.blocks import mlp
from foveal.core.blocks.mlp import FeedForward, GatedDepthwiseFeedForward
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


@pytest.mark.parametrize("in_lots", [False, True])
def test_many_tokens_of_an_inference_follow_one_another(in_lots, monkeypatch):
    block, x = random_block(FeedForward(6)).eval(), random_map(2, 5, 7, 6)
    rows = []
    block[0].register_forward_pre_hook(lambda layer, inputs: rows.append(inputs[0].shape[:-1].numel()))
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    monkeypatch.setattr(mlp, "LOT", 24 * 4 if in_lots else 2**18)
    expected = block[3](F.gelu(block[0](x)))
    rows.clear()
    with torch.no_grad():
        y = block(x)
    assert rows == ([8] * 8 + [6] if in_lots else [70])
    assert torch.allclose(y, expected, rtol=1e-12, atol=1e-14)
    rows.clear()
    assert torch.allclose(block(x), expected, rtol=1e-12, atol=1e-14)
    with torch.no_grad():
        block.train()(x)
    assert rows == [70, 70]  # with gradients and in training all are taken at once


def test_programs_of_the_plain_unit_agree():
    assert_programs_agree(FeedForward(4), random_map(2, 3, 5, 4), random_map(1, 7, 4, 4), channels=-1)

import pytest
import torch
import torch.nn.functional as F

from foveal.core.attention.performer import PerformerAttention, orthogonal_directions
from foveal.tests.fixtures.blocks import assert_is_formula, assert_programs_agree, random_block, random_map


@pytest.mark.parametrize("kernel", ["softmax", "relu"])
@pytest.mark.parametrize("size", [(7,), (2, 3), (2, 2, 3)])
def test_it_is_the_formula_written_as_a_map_of_all_pairs(kernel, size):
    block = random_block(PerformerAttention(6, 2, features=5, kernel=kernel))

    def features(x, over):
        x = x / 3**0.25
        raw = x @ block.directions.T
        if kernel == "relu":
            return F.relu(raw) + 1e-3
        top = raw.detach().amax(over, keepdim=True)
        return 5**-0.5 * (torch.exp(raw - x.square().sum(-1, keepdim=True) / 2 - top) + 1e-4)

    def formula(x):
        q, k, v = (t.unflatten(-1, (2, 3)).transpose(1, 2) for t in block.qkv(x.flatten(1, -2)).chunk(3, -1))
        pairs = features(q, -1) @ features(k, (-1, -2)).mT
        y = pairs / pairs.sum(-1, keepdim=True) @ v
        return block.proj(y.transpose(1, 2).reshape(x.shape))

    assert_is_formula(block, formula, random_map(2, *size, 6))


def test_many_features_come_close_to_softmax_attention():
    torch.manual_seed(0)
    block = PerformerAttention(8, 1, features=20000).double()
    q, k, v = (torch.randn(1, 1, 20, 8, dtype=torch.float64) / 4 for _ in range(3))
    exact = F.scaled_dot_product_attention(q, k, v)
    assert (block.attend(q, k, v) - exact).norm() < 0.05 * exact.norm()


def test_directions_are_orthogonal_in_blocks_and_differ_in_length():
    torch.manual_seed(0)
    block = orthogonal_directions(7, 4)[:4]
    gram = block @ block.T
    assert torch.allclose(gram, torch.diag(gram.diag()), atol=1e-5)
    assert gram.diag().std() > 0.1


def test_programs_agree():
    assert_programs_agree(PerformerAttention(8, 2), random_map(2, 5, 6, 8), random_map(1, 7, 4, 8), channels=-1)


def test_unknown_kernels_and_heads_that_do_not_divide_are_refused():
    with pytest.raises(ValueError, match="heads 3 must divide dim 8"):
        PerformerAttention(8, 3)
    with pytest.raises(ValueError, match="kernel must be"):
        PerformerAttention(8, 2, kernel="cosine")

import pytest
import torch

from foveal.kernels.heads import check_heads, join_heads, split_heads


def test_heads_are_neighbouring_channels_and_join_to_what_they_were():
    tokens = torch.arange(2 * 5 * 6.0).view(2, 5, 6)
    apart = split_heads(tokens, 3)
    assert apart.shape == (2, 3, 5, 2)
    assert torch.equal(apart[:, 1], tokens[..., 2:4])
    assert torch.equal(join_heads(apart), tokens)


def test_axes_before_the_tokens_stay():
    assert split_heads(torch.zeros(2, 4, 5, 6), 2).shape == (2, 4, 2, 5, 3)
    assert join_heads(torch.zeros(2, 4, 2, 5, 3)).shape == (2, 4, 5, 6)


@pytest.mark.parametrize("heads", [0, 3])
def test_heads_that_do_not_divide_the_channels_are_refused(heads):
    check_heads(8, 4)
    with pytest.raises(ValueError, match=f"heads {heads} must divide dim 8"):
        check_heads(8, heads)

import pytest
import torch
import torch.nn.functional as F

from foveal.core.attention.frequency_filter import AdaptiveFrequencyFilter
from foveal.tests.fixtures.blocks import assert_is_formula, assert_programs_agree, random_block, random_map


@pytest.mark.parametrize("size", [(6,), (4, 5), (3, 2, 4)])
def test_it_is_the_formula_with_complex_numbers(size):
    block = random_block(AdaptiveFrequencyFilter(6, blocks=3, threshold=0.3))
    axes = list(range(1, len(size) + 1))

    def layer(z, weight, bias):
        each = [z[..., 2 * i : 2 * i + 2] @ torch.complex(*weight)[i] for i in range(3)]
        return torch.cat(each, -1) + torch.complex(*bias).flatten()

    def formula(x):
        z = torch.fft.rfftn(x, dim=axes, norm="ortho")
        hidden = layer(z, block.weight1, block.bias1)
        mask = layer(torch.complex(F.relu(hidden.real), F.relu(hidden.imag)), block.weight2, block.bias2)
        parts = [part.sign() * F.relu(part.abs() - 0.3) for part in (mask.real, mask.imag)]
        return torch.fft.irfftn(z * torch.complex(*parts), s=size, dim=axes, norm="ortho")

    assert_is_formula(block, formula, random_map(2, *size, 6))


def test_a_filter_that_is_shrunk_to_nothing_gives_nothing():
    block = random_block(AdaptiveFrequencyFilter(4, blocks=2, threshold=1e6))
    assert (block(random_map(1, 3, 4, 4)) == 0).all()


def test_programs_agree():
    assert_programs_agree(
        AdaptiveFrequencyFilter(8, blocks=2), random_map(2, 6, 5, 8), random_map(1, 4, 9, 8), channels=-1
    )


def test_blocks_that_do_not_divide_are_refused():
    with pytest.raises(ValueError, match="blocks 3 must divide dim 8"):
        AdaptiveFrequencyFilter(8, blocks=3)

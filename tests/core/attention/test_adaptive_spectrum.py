import pytest
import torch
import torch.nn.functional as F

from foveal.core.attention.adaptive_spectrum import AdaptiveSpectralMixer
from foveal.tests.fixtures.blocks import assert_is_formula, assert_programs_agree, random_block, random_map


@pytest.mark.parametrize("size", [(6,), (3, 3), (2, 2, 3)])
@pytest.mark.parametrize("adaptive", [False, True])
def test_it_is_the_formula_with_one_head_after_the_other(size, adaptive):
    count = torch.Size(size).numel()
    block = random_block(AdaptiveSpectralMixer(4, 2, count, adaptive))

    def formula(x):
        tokens, heads = x.flatten(1, -2), []
        for i, part in enumerate(tokens.chunk(2, -1)):
            gain, bias = block.gain[i], block.bias[i]
            if adaptive:
                changes = block.change(tokens.mean(1)).view(len(x), 2, -1, 2)[:, i]
                gain, bias = gain * (1 + changes[..., :1]), bias + changes[..., 1:]
            z = torch.fft.rfft(part, dim=1) / count**0.5 * gain + bias
            length = (z.real.square() + z.imag.square()).sqrt()
            heads.append(torch.fft.irfft(z * F.gelu(length) / (length + 1e-6), n=count, dim=1) * count**0.5)
        return torch.cat(heads, -1).view(x.shape)

    assert_is_formula(block, formula, random_map(2, *size, 4))


def test_programs_agree():
    block = AdaptiveSpectralMixer(8, 2, 30)
    assert_programs_agree(block, random_map(2, 6, 5, 8), random_map(2, 6, 5, 8), channels=-1)


def test_other_lengths_and_heads_that_do_not_divide_are_refused():
    with pytest.raises(ValueError, match="6 tokens are not length 5"):
        AdaptiveSpectralMixer(4, 2, 5)(torch.zeros(1, 2, 3, 4))
    with pytest.raises(ValueError, match="heads 3 must divide dim 8"):
        AdaptiveSpectralMixer(8, 3, 5)

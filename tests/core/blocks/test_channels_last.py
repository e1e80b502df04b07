import pytest
import torch
import torch.nn.functional as F

from foveal.core.blocks.channels_last import ChannelsLast, DepthwiseConvolution, LocalPatchInteraction, PatchReduction
from foveal.tests.fixtures.blocks import assert_is_formula, assert_programs_agree, random_block, random_map


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("size", [(3, 5), (2, 3, 4)])
def test_local_patch_interaction_is_the_formula(size, batch):
    block = random_block(LocalPatchInteraction(4, spatial_dims=len(size)))
    convolve = F.conv2d if len(size) == 2 else F.conv3d

    def formula(x):
        y = F.gelu(convolve(x.movedim(-1, 1), block.conv1.weight, block.conv1.bias, padding=1, groups=4)).movedim(1, -1)
        norm = block.norm
        y = (y - norm.running_mean) / (norm.running_var + 1e-5).sqrt() * norm.weight + norm.bias
        return convolve(y.movedim(-1, 1), block.conv2.weight, block.conv2.bias, padding=1, groups=4).movedim(1, -1)

    assert_is_formula(block, formula, random_map(batch, *size, 4))


@pytest.mark.parametrize("size", [(5, 4), (2, 5, 4)])
def test_patch_reduction_leaves_out_what_fills_no_patch(size):
    block = random_block(PatchReduction(3, 2, spatial_dims=len(size)))

    def formula(x):
        patches = x.movedim(-1, 1)
        for axis in range(2, x.ndim):
            patches = patches.unfold(axis, 2, 2)
        letters = "dhw"[-len(size) :]
        taps = letters.upper()
        y = torch.einsum(f"bc{letters}{taps},oc{taps}->b{letters}o", patches, block.conv.weight) + block.conv.bias
        return F.layer_norm(y, (3,), block.norm.weight, block.norm.bias)

    assert_is_formula(block, formula, random_map(2, *size, 3))


@pytest.mark.parametrize(
    "block",
    [DepthwiseConvolution(4, 5), PatchReduction(4, 2), LocalPatchInteraction(4)],
    ids=lambda b: type(b).__name__,
)
def test_programs_agree(block):
    assert_programs_agree(block, random_map(2, 4, 6, 4), random_map(1, 8, 4, 4), channels=-1)


@pytest.mark.parametrize("size", [(3, 5), (2, 3, 4)])
def test_a_mixer_of_channels_last_maps_is_used_among_channels_first_ones(size):
    block = random_block(ChannelsLast(torch.nn.Linear(4, 4)))

    def formula(x):
        return torch.einsum("oc,bc...->bo...", block.mixer.weight, x) + block.mixer.bias.view(-1, *[1] * len(size))

    x = random_map(2, 4, *size)
    assert_is_formula(block, formula, x)
    assert_programs_agree(block, x, x[..., 1:])

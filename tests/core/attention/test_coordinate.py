import pytest
import torch

from foveal.core.attention.coordinate import CoordinateAttention
from foveal.tests.fixtures.blocks import assert_is_formula, assert_programs_agree, random_block, random_map


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("size", [(5, 9), (3, 4, 5), (1, 1)])
def test_each_position_has_the_product_of_its_axes_gates(size, bias):
    block = random_block(CoordinateAttention(6, hidden=4, bias=bias, spatial_dims=len(size)))
    norm = block.norm

    def linear(layer, x):
        y = torch.einsum("oi,nil->nol", layer.weight[:, :, 0], x)
        return y + layer.bias[:, None] if bias else y

    def gate(x, axis):
        hidden = linear(block.squeeze, x.movedim(2 + axis, 2).flatten(3).mean(3))
        scale = norm.weight / (norm.running_var + 1e-5).sqrt()
        hidden = (hidden - norm.running_mean[:, None]) * scale[:, None] + norm.bias[:, None]
        hidden = hidden * (hidden + 3).clamp(0, 6) / 6
        return linear(block.excite[axis], hidden).sigmoid()

    def formula(x):
        letters = "def"[: len(size)]
        rule = ",".join(f"nc{letter}" for letter in letters)
        return torch.einsum(f"nc{letters},{rule}->nc{letters}", x, *(gate(x, axis) for axis in range(len(size))))

    assert_is_formula(block, formula, random_map(2, 6, *size))


@pytest.mark.parametrize(("dim", "hidden"), [(64, 8), (512, 16)])
def test_the_narrow_layer_has_at_least_eight_channels(dim, hidden):
    assert CoordinateAttention(dim).squeeze.out_channels == hidden


def test_gradients_pass_the_norm_in_training():
    block = CoordinateAttention(6, hidden=4).double().train()
    assert torch.autograd.gradcheck(block, (random_map(1, 6, 3, 4),), fast_mode=True)


def test_programs_agree():
    assert_programs_agree(CoordinateAttention(8), random_map(2, 8, 5, 6), random_map(1, 8, 9, 4))

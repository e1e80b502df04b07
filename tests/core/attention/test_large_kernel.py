import pytest
import torch
import torch.nn.functional as F

from foveal.core.attention.large_kernel import LargeKernelAttention, LargeKernelGate
from foveal.tests.fixtures.blocks import assert_is_formula, assert_programs_agree, random_block, random_map


@pytest.mark.parametrize("size", [(5, 9), (3, 4, 5)])
def test_attention_is_the_formula(size):
    block = random_block(LargeKernelAttention(4, spatial_dims=len(size)))
    gate, convolve = block.gate, F.conv2d if len(size) == 2 else F.conv3d

    def mixed(layer, x):
        return torch.einsum("oc,nc...->no...", layer.weight.flatten(1), x) + layer.bias.view(-1, *[1] * len(size))

    def formula(x):
        y = mixed(block.project_in, x)
        y = y * (1 + torch.erf(y / 2**0.5)) / 2
        seen = convolve(y, gate.local.weight, gate.local.bias, padding=2, groups=4)
        seen = convolve(seen, gate.wide.weight, gate.wide.bias, padding=9, dilation=3, groups=4)
        return x + mixed(block.project_out, y * mixed(gate.mix, seen))

    assert_is_formula(block, formula, random_map(2, 4, *size))


def test_a_position_sees_23_along_an_axis():
    gate = LargeKernelGate(1).double()
    x = random_map(1, 1, 1, 41)
    (seen,) = torch.autograd.grad(gate(x)[0, 0, 0, 20], x)
    assert seen[0, 0, 0].nonzero().flatten().tolist() == list(range(9, 32))


def test_programs_agree():
    assert_programs_agree(LargeKernelAttention(4), random_map(2, 4, 5, 6), random_map(1, 4, 9, 4))

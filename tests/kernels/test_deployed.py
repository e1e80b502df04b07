"""Every operation in an exported program and in one that is compiled ahead of time: the same values on a CPU."""

import shutil

import pytest
import torch
from torch import Tensor, nn

from foveal.kernels import (
    WindowLayout,
    channel_scores,
    dynamic_conv2d,
    gated_attention_pool,
    mix_channels,
    neighborhood_attention,
    position_attention,
    predicted_conv2d,
    window_attention,
)


class Everything(nn.Module):
    """Calls every public operation once."""

    def forward(self, qkv: Tensor, bias: Tensor, x: Tensor, weight: Tensor, bag: Tensor, gates: Tensor) -> list[Tensor]:
        queries, keys, values = (each.flatten(3).flatten(1, 2) for each in qkv.unbind(3))
        taps = dynamic_conv2d(x, x.new_ones(x.shape[0], 2, 9, *x.shape[2:]) / 9)
        return [
            window_attention(qkv, bias, WindowLayout((4, 4), (2, 2))),
            neighborhood_attention(qkv, (3, 3), (2, 2), (1, 1), (False, False)),
            taps,
            predicted_conv2d(x, taps, weight, weight.new_zeros(2, 9)),
            *gated_attention_pool(bag, gates, gates.new_zeros(6), gates[:2, :3], gates.new_zeros(2)),
            mix_channels(channel_scores(queries, keys, weight.new_ones(2, 1, 1)).softmax(dim=-1), values),
            position_attention(queries[..., :4], keys[..., :4], values),
        ]


@pytest.fixture(scope="module")
def exported():
    generator = torch.Generator().manual_seed(0)
    sizes = [(1, 10, 9, 3, 2, 8), (2, 16, 16), (1, 4, 10, 9), (2, 9, 4), (50, 5), (6, 5)]
    operands = tuple(torch.randn(size, generator=generator) for size in sizes)
    with torch.no_grad():
        return torch.export.export(Everything(), operands), operands, Everything()(*operands)


def agree(found, expected):
    return all(torch.allclose(a, b, rtol=1e-4, atol=1e-5) for a, b in zip(found, expected, strict=True))


def test_an_exported_program_has_the_same_values_and_no_operator_of_ours(exported):
    program, operands, expected = exported
    called = {str(node.target) for node in program.graph.nodes if node.op == "call_function"}
    assert not [name for name in called if name.startswith("foveal")]
    assert agree(program.module()(*operands), expected)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="AOTInductor needs a C++ compiler")
def test_a_program_compiled_ahead_of_time_has_the_same_values(exported, tmp_path):
    program, operands, expected = exported
    path = torch._inductor.aoti_compile_and_package(program, package_path=str(tmp_path / "everything.pt2"))
    assert agree(torch._inductor.aoti_load_package(path)(*operands), expected)

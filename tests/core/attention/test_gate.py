import pytest
import torch
import torch.nn.functional as F
from torch.export import Dim

from foveal.core.attention.gate import AttentionGate

SIZES = {2: (7, 9), 3: (4, 6, 5)}


def inputs(spatial_dims, gate_size=None, batch=2):
    generator = torch.Generator().manual_seed(1)
    sizes = SIZES[spatial_dims], gate_size or tuple(side // 2 for side in SIZES[spatial_dims])
    return [
        torch.randn(batch, channels, *size, generator=generator) for channels, size in zip((6, 4), sizes, strict=True)
    ]


def resized(x, size):
    return F.interpolate(x, size=size, mode="bilinear" if len(size) == 2 else "trilinear")


@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize("options", [{}, {"stride": 2, "norm": False, "projected": True}, {"spread": True}])
def test_the_weights_are_those_of_the_formula(spatial_dims, options):
    torch.manual_seed(0)
    block = AttentionGate(6, 4, 3, **options, spatial_dims=spatial_dims).eval()
    x, gate = inputs(spatial_dims)
    theta = block.of_map(x)
    score = block.score((theta + resized(block.of_gate(gate), theta.shape[2:])).relu())
    weights = torch.sigmoid(score)
    if "spread" in options:
        weights = score.exp() / score.exp().flatten(1).sum(1).view(-1, *[1] * (spatial_dims + 1))
    weights = resized(weights, x.shape[2:])
    torch.testing.assert_close(block.position_gate(x, gate), weights)
    torch.testing.assert_close(block(x, gate), block.project(x * weights))


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_weights_lie_between_0_and_1_or_add_up_to_1(spatial_dims):
    x, gate = inputs(spatial_dims)
    each = AttentionGate(6, 4, 3, spatial_dims=spatial_dims).position_gate(x, gate)
    assert each.shape == (2, 1, *SIZES[spatial_dims])
    assert 0 < each.min() < each.max() < 1
    together = AttentionGate(6, 4, 3, spread=True, spatial_dims=spatial_dims).position_gate(x, gate)
    torch.testing.assert_close(together.flatten(1).sum(1), torch.ones(2))


def test_stride_of_each_axis():
    block = AttentionGate(6, 4, 3, stride=(1, 2, 2)).eval()
    x, gate = inputs(3)
    assert block.of_map(x).shape[2:] == (4, 3, 2)
    assert block(x, gate).shape == x.shape


def test_one_bias_for_the_sum_without_norms():
    names = dict(AttentionGate(6, 4, 3, norm=False).named_parameters())
    assert "of_gate.0.bias" in names
    assert "of_map.0.bias" not in names


@pytest.mark.parametrize("batch", [1, 2])
def test_gradients_are_those_of_finite_differences(batch):
    torch.manual_seed(0)
    block = AttentionGate(6, 4, 3).double().eval()
    x, gate = (each.double().requires_grad_() for each in inputs(3, batch=batch))
    assert torch.autograd.gradcheck(block, (x, gate), fast_mode=True)


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")
def test_scripted_and_exported_programs_agree_at_another_size():
    block = AttentionGate(6, 4, 3).eval()
    example, other = torch.randn(2, 6, 4, 4, 4), torch.randn(1, 6, 8, 6, 10)
    axes = {0: Dim("batch", min=1)} | {2 + i: 2 * Dim(f"half_{i}", min=1) for i in range(3)}
    gates = {0: axes[0]} | {2 + i: Dim(f"half_{i}", min=1) for i in range(3)}
    exported = torch.export.export(block, (example, example[:, :4, ::2, ::2, ::2]), dynamic_shapes=(axes, gates))
    for program in (torch.jit.script(block), exported.module()):
        torch.testing.assert_close(
            program(other, other[:, :4, ::2, ::2, ::2]), block(other, other[:, :4, ::2, ::2, ::2])
        )

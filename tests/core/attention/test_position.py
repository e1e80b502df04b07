import pytest
import torch
from torch.export import Dim

from foveal.core.attention.position import PositionAttention


def block(dim=16, spatial_dims=2, gamma=0.7):
    torch.manual_seed(0)
    made = PositionAttention(dim, spatial_dims=spatial_dims).double().eval()
    made.gamma.data.fill_(gamma)
    return made


def by_formula(made, x):
    """The attention with its map written out."""
    q, k, v = (layer(x).flatten(2) for layer in (made.query, made.key, made.value))
    attention = torch.softmax(q.mT @ k, dim=-1)
    return made.gamma * (v @ attention.mT).view_as(x) + x


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("size", [(5, 7), (1, 1), (3, 4, 5)])
def test_values_and_gradients_are_those_of_the_formula(batch, size):
    made = block(spatial_dims=len(size))
    x = torch.randn(batch, 16, *size, dtype=torch.float64, requires_grad=True)
    probe = torch.randn_like(x)
    wanted = [x, *made.parameters()]
    expected, found = by_formula(made, x), made(x)
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-12)
    for ours, theirs in zip(
        torch.autograd.grad(found, wanted, probe), torch.autograd.grad(expected, wanted, probe), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-11)


def test_gradients_at_batch_size_one_are_those_of_finite_differences():
    x = torch.randn(1, 16, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(block(), (x,), fast_mode=True)


def test_new_block_returns_its_input():
    x = torch.randn(1, 16, 4, 4)
    assert torch.equal(PositionAttention(16)(x), x)


@pytest.mark.parametrize("training", [False, True])
def test_no_operation_makes_the_map_of_many_pairs(training):
    made, positions = block().float(), 36 * 30
    x = torch.randn(1, 16, 36, 30, requires_grad=training)
    with torch.profiler.profile(record_shapes=True) as profile:
        made(x)
    shapes = [shape for event in profile.events() for shape in event.input_shapes if shape]
    assert any(positions in shape for shape in shapes)
    assert not any(list(shape).count(positions) > 1 for shape in shapes)


def test_scripted_and_exported_programs_agree_at_another_size():
    made = block().float()
    example, other = torch.randn(2, 16, 6, 4), torch.randn(1, 16, 7, 9)
    sizes = {0: Dim("batch", min=1), 2: Dim("height", min=1), 3: Dim("width", min=1)}
    exported = torch.export.export(made, (example,), dynamic_shapes=(sizes,)).module()
    for program in (torch.jit.script(made), exported):
        torch.testing.assert_close(program(other), made(other))


def test_too_few_channels_are_refused():
    with pytest.raises(ValueError, match="dim 4 must be at least reduction 8"):
        PositionAttention(4)

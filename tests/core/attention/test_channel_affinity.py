import pytest
import torch
from torch.export import Dim

from foveal.core.attention.channel_affinity import ChannelAffinityAttention


def block(gamma=0.7):
    made = ChannelAffinityAttention().double()
    made.gamma.data.fill_(gamma)
    return made


def by_formula(made, x):
    """The attention as its authors wrote it, with the maximum of every row."""
    maps = x.flatten(2)
    energy = maps @ maps.mT
    attention = torch.softmax(energy.max(-1, keepdim=True).values - energy, dim=-1)
    return made.gamma * (attention @ maps).view_as(x) + x


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("size", [(5, 7), (1, 1), (3, 2, 4)])
def test_values_and_gradients_are_those_of_the_formula(batch, size):
    torch.manual_seed(0)
    made = block()
    x = torch.randn(batch, 6, *size, dtype=torch.float64).mul(0.3).requires_grad_()
    probe = torch.randn_like(x)
    expected, found = by_formula(made, x), made(x)
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-12)
    for ours, theirs in zip(
        torch.autograd.grad(found, [x, made.gamma], probe),
        torch.autograd.grad(expected, [x, made.gamma], probe),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-11)


def test_gradients_at_batch_size_one_are_those_of_finite_differences():
    x = torch.randn(1, 4, 3, 4, dtype=torch.float64).mul(0.3).requires_grad_()
    assert torch.autograd.gradcheck(block(), (x,), fast_mode=True)


def test_channel_listens_to_the_one_least_like_it():
    x = torch.zeros(1, 3, 1, 2, dtype=torch.float64)
    x[0, :, 0, 0] = torch.tensor([9.0, 8.0, -9.0])
    assert torch.allclose((block(1.0)(x) - x)[0, 0, 0], x[0, 2, 0])


def test_affinities_of_half_precision_do_not_overflow():
    x = torch.full((1, 4, 64, 64), 8.0)  # the affinity is 262144, and 65504 is the largest number of this type
    made = block(1.0).half()
    assert torch.allclose(made(x.half()).float(), 2 * x)
    with torch.autocast("cpu", dtype=torch.float16):
        assert torch.allclose(block(1.0).float()(x), 2 * x)


def test_new_block_returns_its_input():
    x = torch.randn(1, 6, 4, 4)
    assert torch.equal(ChannelAffinityAttention()(x), x)


def test_scripted_and_exported_programs_agree_at_another_size():
    made = block().float()
    example, other = torch.randn(2, 6, 6, 4), torch.randn(1, 6, 7, 9)
    sizes = {0: Dim("batch", min=1), 2: Dim("height", min=1), 3: Dim("width", min=1)}
    exported = torch.export.export(made, (example,), dynamic_shapes=(sizes,)).module()
    for program in (torch.jit.script(made), exported):
        torch.testing.assert_close(program(other), made(other))

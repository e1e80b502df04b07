import pytest
import torch
import torch.nn.functional as F

from foveal.core.attention.global_filter import GlobalFilter
from foveal.tests.fixtures.blocks import assert_is_formula, assert_programs_agree, random_block, random_map


@pytest.mark.parametrize("size", [(6,), (4, 5), (3, 2, 4)])
def test_it_is_the_transform_written_out(size):
    block = random_block(GlobalFilter(3, size))

    def formula(x):
        for axis, length in enumerate(size):
            x = torch.tensordot(x.to(torch.complex128), waves(length), ([axis + 1], [1])).movedim(-1, axis + 1)
        # The filter of the frequencies that are not stored is the conjugate of that of their opposites.
        half, last = torch.view_as_complex(block.weight), size[-1]
        mirrored = half
        for axis, length in enumerate(size[:-1]):
            mirrored = mirrored.index_select(axis, -torch.arange(length) % length)
        others = [last - k for k in range(last // 2 + 1, last)]
        kernel = torch.cat([half, mirrored[..., others, :].conj()], -2)
        kernel[..., 0, :] = symmetric(kernel[..., 0, :], mirrored[..., 0, :])
        if last % 2 == 0:
            kernel[..., last // 2, :] = symmetric(kernel[..., last // 2, :], mirrored[..., last // 2, :])
        x = x * kernel
        for axis, length in enumerate(size):
            x = torch.tensordot(x, waves(length).conj(), ([axis + 1], [1])).movedim(-1, axis + 1)
        return x.real

    assert_is_formula(block, formula, random_map(2, *size, 3))


def waves(length):
    turns = torch.outer(torch.arange(length), torch.arange(length)).double() / length
    return torch.exp(-2j * torch.pi * turns) / length**0.5


def symmetric(kernel, mirrored):
    """What remains of a filter for a real result, at frequencies that are their own opposites along the last axis."""
    return (kernel + mirrored.conj()) / 2


def test_filter_of_another_size_is_resized_cubically():
    block = random_block(GlobalFilter(2, (4, 6)))
    parts = block.weight.permute(2, 3, 0, 1)
    stretched = F.interpolate(parts, size=(7, 3), mode="bicubic", align_corners=True)
    torch.testing.assert_close(block.resized([7, 5]), stretched.permute(2, 3, 0, 1))
    assert block(random_map(1, 7, 5, 2)).shape == (1, 7, 5, 2)
    assert random_block(GlobalFilter(2, (4, 2, 6)))(random_map(1, 3, 4, 5, 2)).shape == (1, 3, 4, 5, 2)


def test_programs_agree():
    assert_programs_agree(GlobalFilter(4, (6, 5)), random_map(2, 6, 5, 4), random_map(2, 6, 5, 4), channels=-1)

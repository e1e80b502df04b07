import itertools

import pytest
import torch
import torch.nn.functional as F

from foveal.core.attention.super_token import SuperTokenAttention, SuperTokenBlock, neighbours
from foveal.tests.fixtures.blocks import assert_is_formula, assert_programs_agree, random_block, random_map


def by_loops(block, x):
    """Position by position and super token by super token."""
    cell, size = block.cell, x.shape[1:-1]
    grid = [-(-n // c) for n, c in zip(size, cell, strict=True)]
    missing = [p for n, g, c in zip(*map(reversed, (size, grid, cell)), strict=True) for p in (0, g * c - n)]
    x = F.pad(x, (0, 0, *missing))
    cells = list(itertools.product(*map(range, grid)))
    offsets = list(itertools.product((-1, 0, 1), repeat=len(grid)))

    def box(at):
        return (slice(None), *(slice(i * c, (i + 1) * c) for i, c in zip(at, cell, strict=True)))

    def near(at):
        return [tuple(i + o for i, o in zip(at, offset, strict=True)) for offset in offsets]

    pixels = {at: x[box(at)].flatten(1, -2) for at in cells}
    tokens, nothing = {at: pixels[at].mean(1) for at in cells}, torch.zeros_like(x[:, 0].flatten(1, -2)[:, 0])
    for _ in range(block.iterations):
        shares = {}
        for at in cells:
            around = torch.stack([tokens.get(other, nothing) for other in near(at)], 1).detach()
            shares[at] = (pixels[at].detach() @ around.mT / x.shape[-1] ** 0.5).softmax(-1)
        for at in cells:
            givers = [(other, near(other).index(at)) for other in near(at) if other in pixels]
            total = sum((shares[other][:, :, i, None] * pixels[other]).sum(1) for other, i in givers)
            tokens[at] = total / sum(shares[other][:, :, i].sum(1) for other, i in givers)[:, None]
    refined = block.attention(torch.stack([tokens[at] for at in cells], 1)).unbind(1)
    tokens, y = dict(zip(cells, refined, strict=True)), torch.zeros_like(x)
    for at in cells:
        read = shares[at] @ torch.stack([tokens.get(other, nothing) for other in near(at)], 1)
        y[box(at)] = read.view(y[box(at)].shape)
    return y[(slice(None), *map(slice, size))]


@pytest.mark.parametrize(
    ("size", "cell", "iterations"), [((4, 5), (2, 2), 1), ((5, 4), (3, 2), 3), ((3, 4, 3), (2, 2, 2), 2)]
)
def test_it_is_what_loops_give(size, cell, iterations):
    block = random_block(SuperTokenAttention(4, 2, cell, iterations))
    assert_is_formula(block, lambda x: by_loops(block, x), random_map(2, *size, 4))


def test_cells_of_one_position_are_attention_to_all():
    block, x = random_block(SuperTokenAttention(4, 2, (1, 1))), random_map(1, 3, 4, 4)
    assert torch.equal(block(x), block.attention(x))


def test_neighbours_are_in_raster_order():
    near = neighbours([2, 3], torch.device("cpu"))
    assert near[0].tolist() == [0, 0, 0, 0, 1, 2, 0, 4, 5]
    assert near[4].tolist() == [1, 2, 3, 4, 5, 6, 0, 0, 0]


@pytest.mark.parametrize("size", [(4, 5), (3, 2, 4)])
@pytest.mark.parametrize("batch", [1, 2])
def test_block_is_the_formula(size, batch):
    block = random_block(SuperTokenBlock(4, 2, (2,) * len(size), mlp_ratio=2))
    convolve = F.conv2d if len(size) == 2 else F.conv3d

    def local(layer, x):
        y = convolve(x.movedim(-1, 1), layer.conv.weight, layer.conv.bias, padding=1, groups=x.shape[-1])
        return x + y.movedim(1, -1)

    def formula(x):
        x = local(block.position, x)
        x = x + block.mixer(F.layer_norm(x, (4,), block.norm1.weight, block.norm1.bias, 1e-6))
        norm = block.norm2
        y = (x - norm.running_mean) / (norm.running_var + 1e-5).sqrt() * norm.weight + norm.bias
        return x + block.contract(local(block.local, F.gelu(block.expand(y))))

    assert_is_formula(block, formula, random_map(batch, *size, 4))


def test_programs_of_one_size_agree():
    block, x = SuperTokenBlock(4, 2, (2, 3), iterations=2, mlp_ratio=1), random_map(2, 7, 5, 4)
    assert_programs_agree(block, x, x, channels=-1)


@pytest.mark.slow
def test_programs_of_other_sizes_agree():
    block = SuperTokenAttention(4, 2, (2, 3), iterations=2)
    assert_programs_agree(block, random_map(2, 7, 5, 4), random_map(1, 9, 8, 4), channels=-1)


def test_no_iterations_are_refused():
    with pytest.raises(ValueError, match="iterations must be at least 1"):
        SuperTokenAttention(4, 2, iterations=0)

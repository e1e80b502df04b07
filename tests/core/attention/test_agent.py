import pytest
import torch
import torch.nn.functional as F

from foveal.core.attention.agent import AgentAttention, AgentBias, ClassTokenAgentAttention
from foveal.tests.fixtures.blocks import assert_is_formula, assert_programs_agree, random_block, random_map

HEADS = 2


def attended(q, k, v, bias):
    """Softmax attention of heads one by one, (B, N, C) with a bias (h, N, M)."""
    heads = zip(*(t.chunk(HEADS, -1) for t in (q, k, v)), bias, strict=True)
    return torch.cat([(q @ k.mT / q.shape[-1] ** 0.5 + b).softmax(-1) @ v for q, k, v, b in heads], -1)


def cell_means(x, agents):
    """Means over a grid of cells, agents along each axis, in raster order: (B, *spatial, C) -> (B, n, C)."""
    cuts = [[slice(i * n // agents, -((i + 1) * n // -agents)) for i in range(agents)] for n in x.shape[1:-1]]
    places = torch.cartesian_prod(*[torch.arange(agents)] * len(cuts))
    axes = list(range(1, x.ndim - 1))
    return torch.stack([x[:, *(cut[i] for cut, i in zip(cuts, p, strict=True))].mean(axes) for p in places], 1)


def stretched(bias, sizes):
    """The bias of a map of these sizes, (h, n, *sizes)."""
    total = F.interpolate(bias.grid, sizes, mode="bilinear" if len(sizes) == 2 else "trilinear")
    for axis, line in enumerate(bias.along):
        shape = [-1 if i == axis else 1 for i in range(len(sizes))]
        total = total + F.interpolate(line, sizes[axis], mode="linear").unflatten(2, shape)
    return total.flatten(2)


@pytest.mark.parametrize(
    ("size", "reduction", "shape"), [((5, 6), 1, (5, 6)), ((6, 4), 2, (7, 4)), ((4, 3, 3), 1, (3, 3, 4))]
)
def test_it_is_the_formula_at_the_size_of_the_biases_and_others(size, reduction, shape):
    block = random_block(AgentAttention(4, HEADS, size, agents=2, reduction=reduction))

    def formula(x):
        q, kv = block.q(x), block.kv(block.reduce(x))
        k, v = kv.chunk(2, -1)
        agents = cell_means(q, 2)
        gather, read = stretched(block.gather_bias, k.shape[1:-1]), stretched(block.read_bias, shape)
        gathered = attended(agents, k.flatten(1, -2), v.flatten(1, -2), gather)
        y = attended(q.flatten(1, -2), agents, gathered, read.mT).view(x.shape)
        if reduction > 1:
            v = F.interpolate(v.movedim(-1, 1), shape, mode="bilinear").movedim(1, -1)
        return block.proj(y + block.local(v))

    assert_is_formula(block, formula, random_map(2, *shape, 4))


def test_class_token_asks_and_is_asked_but_makes_no_agent():
    block = random_block(ClassTokenAgentAttention(4, HEADS, (3, 5), agents=2))

    def formula(x):
        q, (k, v) = block.q(x), block.kv(x).chunk(2, -1)
        agents = cell_means(q[:, 1:].unflatten(1, (3, 5)), 2)
        gather = torch.cat([block.gather_token_bias, stretched(block.gather_bias, (3, 5))], -1)
        read = torch.cat([block.read_token_bias, stretched(block.read_bias, (3, 5))], -1)
        y = attended(q, agents, attended(agents, k, v, gather), read.mT)
        local = block.local(v[:, 1:].unflatten(1, (3, 5))).flatten(1, 2)
        return block.proj(y + F.pad(local, (0, 0, 1, 0)))

    assert_is_formula(block, formula, random_map(2, 16, 4))


def test_bias_at_its_own_size_is_not_stretched_along_the_axes():
    bias = AgentBias(1, 1, (2, 3))
    bias.grid.data.zero_()
    found = bias([2, 3]).view(2, 3)
    torch.testing.assert_close(found, bias.along[0].view(2, 1) + bias.along[1].view(1, 3))


@pytest.mark.parametrize("reduction", [1, 2])
def test_programs_agree(reduction):
    block = AgentAttention(8, HEADS, (7, 5), agents=3, reduction=reduction)
    assert_programs_agree(block, random_map(2, 6, 8, 8), random_map(1, 9, 10, 8), channels=-1)


def test_programs_with_a_class_token_agree():
    block = ClassTokenAgentAttention(8, HEADS, (2, 3), agents=2)
    assert_programs_agree(block, random_map(2, 7, 8), random_map(2, 7, 8), channels=-1)


def test_heads_that_do_not_divide_are_refused():
    with pytest.raises(ValueError, match="heads 3 must divide dim 8"):
        AgentAttention(8, 3, (4, 4))

import pytest
import torch

from foveal.core.attention.polarized import PolarizedAttention
from foveal.tests.fixtures.blocks import assert_is_formula, assert_programs_agree, random_block, random_map


def channel_gate(gate, x):
    """As the paper draws it: values for all positions, then the product with the softmax of the queries."""
    values = torch.einsum("oc,ncl->nol", gate.value.weight, x)
    queries = torch.einsum("oc,ncl->nol", gate.score.weight.flatten(1), x).softmax(2)
    return gate.expand((values * queries).sum(2)).sigmoid()[:, :, None]


def spatial_gate(gate, x, value_softmax):
    query = torch.einsum("oc,ncl->nol", gate.query.weight, x).mean(2)
    values = torch.einsum("oc,ncl->nol", gate.value.weight, x)
    if value_softmax:
        return torch.einsum("no,nol->nl", query, values.softmax(2)).sigmoid()[:, None]
    return torch.einsum("no,nol->nl", query, values).softmax(1).sigmoid()[:, None]


@pytest.mark.parametrize("sequential", [False, True])
@pytest.mark.parametrize("size", [(5, 9), (3, 4, 5), (1, 1)])
def test_gates_are_those_of_the_formula(size, sequential):
    block = random_block(PolarizedAttention(16, sequential, spatial_dims=len(size)))

    def formula(x):
        tokens = x.flatten(2)
        by_channel = tokens * channel_gate(block.channels, tokens)
        behind = by_channel if sequential else tokens
        by_position = behind * spatial_gate(block.positions, behind, sequential)
        return (by_position if sequential else by_channel + by_position).view_as(x)

    assert_is_formula(block, formula, random_map(2, 16, *size))


@pytest.mark.parametrize("sequential", [False, True])
def test_programs_agree(sequential):
    assert_programs_agree(PolarizedAttention(8, sequential), random_map(2, 8, 5, 6), random_map(1, 8, 9, 4))

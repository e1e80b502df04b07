import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from foveal.core.attention.mixture_of_heads import MixtureOfHeadsAttention
from foveal.tests.fixtures.blocks import assert_is_formula, assert_programs_agree, random_block, random_map


def made(shared=2, active=2, resolution=(3, 5), qkv_bias=True):
    return random_block(MixtureOfHeadsAttention(12, 6, resolution, shared, active, qkv_bias, hidden=8))


def brute_gates(block, token):
    """The gates of one token, expert by expert."""
    scores = (block.route.weight @ token).exp()
    scores = scores / scores.sum()
    best = sorted(range(len(scores)), key=lambda expert: -scores[expert].item())[: block.active]
    total = sum(scores[expert] for expert in best)
    routed = [block.active * scores[e] / total if e in best else torch.zeros_like(total) for e in range(len(scores))]
    if not block.shared:
        return routed
    kinds = 2 * torch.softmax(block.weigh_kinds.weight @ token, 0)
    always = [torch.ones_like(total)]
    if block.shared > 1:
        always = list(block.shared * torch.softmax(block.weigh_shared.weight @ token, 0))
    return [each * kinds[0] for each in always] + [each * kinds[1] for each in routed]


def brute_force(block, resolution, x):
    """Head by head, query by query, key by key."""
    sizes, dim = x.shape[1:-1], x.shape[-1]
    places = list(np.ndindex(*sizes))
    images = []
    for image in x.flatten(1, -2):
        qkv = (image @ block.qkv.weight.T + block.qkv.bias).view(len(places), 3, 6, dim // 6)
        rows = []
        for n, query_place in enumerate(places):
            gates, heads = brute_gates(block, image[n]), []
            for head in range(6):
                q = F.normalize(qkv[n, 0, head], dim=0) + block.query_embedding[head, 0]
                q = q * F.softplus(block.temperature[head, 0, 0]) * math.log(math.prod(resolution))
                scores = []
                for m, key_place in enumerate(places):
                    offset = torch.tensor(
                        [
                            8 * (a - b) / max(side - 1, 1)
                            for a, b, side in zip(query_place, key_place, resolution, strict=True)
                        ],
                        dtype=x.dtype,
                    )
                    offset = offset.sign() * (offset.abs() + 1).log2() / 3
                    scores.append(q @ F.normalize(qkv[m, 1, head], dim=0) + block.position(offset)[head])
                heads.append(gates[head] * (torch.softmax(torch.stack(scores), 0) @ qkv[:, 2, head]))
            rows.append(torch.cat(heads))
        images.append(torch.stack(rows) @ block.proj.weight.T + block.proj.bias)
    return torch.stack(images).view_as(x)


@pytest.mark.parametrize("shared", [0, 1, 2])
@pytest.mark.parametrize("size", [(3, 5), (2, 3)])
def test_it_is_the_formula_also_away_from_the_resolution(size, shared):
    block = made(shared)
    assert_is_formula(block, lambda x: brute_force(block, (3, 5), x), random_map(2, *size, 12))


@pytest.mark.parametrize("size", [(7,), (2, 3, 2), (1, 4)])
def test_any_number_of_axes(size):
    block = made(resolution=size)
    x = random_map(1, *size, 12)
    torch.testing.assert_close(block(x), brute_force(block, size, x))


def test_gates_of_routed_heads_add_up_to_their_number():
    gates = made(shared=0, active=3).gates(random_map(2, 7, 12))
    torch.testing.assert_close(gates.sum(-1), torch.full((2, 7), 3.0, dtype=torch.float64))
    assert ((gates > 0).sum(-1) == 3).all()


def test_the_balance_loss_is_least_where_heads_are_used_alike():
    block, x = made(), random_map(2, 3, 5, 12)
    routed = (x.flatten(1, 2) @ block.route.weight.T).softmax(-1)
    chosen = routed >= routed.topk(2, -1).values[..., 1:]
    each = routed.mean((0, 1)) * chosen.double().mean((0, 1))
    torch.testing.assert_close(block.balance_loss(x), 4**2 * each.mean())
    with torch.no_grad():
        block.route.weight.zero_()
        assert float(block.balance_loss(x)) == pytest.approx(2)  # all alike: E x 1 / E x active
        block.route.weight[:2] = x[0, 0, 0]
    assert block.balance_loss(x[:1, :1, :1]).item() > 2


@pytest.mark.parametrize("shared", [0, 1, 2])
def test_programs_agree(shared):
    assert_programs_agree(made(shared), random_map(2, 3, 5, 12), random_map(1, 4, 3, 12), channels=-1)


def test_wrong_numbers_of_heads_are_refused():
    with pytest.raises(ValueError, match="heads 5 must divide dim 12"):
        MixtureOfHeadsAttention(12, 5, (3, 3), 1, 1)
    with pytest.raises(ValueError, match="of 6 heads, 4 cannot be shared and 3 of the others active"):
        MixtureOfHeadsAttention(12, 6, (3, 3), 4, 3)

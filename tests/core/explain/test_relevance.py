"""The rules of relevance by hand, by loops, and by what happens when tokens are taken away."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foveal.core.attention.dense import SelfAttention
from foveal.core.blocks.transformer import TransformerBlock
from foveal.core.explain.maps import relevance_maps
from foveal.core.explain.relevance import (
    after_cross_attention,
    after_self_attention,
    contribution,
    normalised,
    self_relevance,
)


def test_one_layer_by_hand() -> None:
    # y = (A v) of token 0, head mean; v = (3, -2): dy/dA = [[3, -2], [0, 0]] for each of two heads' halves
    weights = torch.tensor([[[[0.25, 0.75], [0.5, 0.5]], [[1.0, 0.0], [0.5, 0.5]]]])
    gradient = torch.tensor([[[[3.0, -2.0], [0.0, 0.0]], [[3.0, -2.0], [0.0, 0.0]]]])
    found = contribution(weights, gradient)
    torch.testing.assert_close(found, torch.tensor([[[(0.75 + 3.0) / 2, 0.0], [0.0, 0.0]]]))
    torch.testing.assert_close(self_relevance([found]), torch.tensor([[[2.875, 0.0], [0.0, 1.0]]]))


def test_two_layers_by_hand() -> None:
    first, second = torch.tensor([[[0.0, 2.0], [0.0, 0.0]]]), torch.tensor([[[0.0, 0.0], [3.0, 1.0]]])
    # after layer 1: [[1, 2], [0, 1]]; layer 2 adds [[0, 0], [3, 1]] times that: [[0, 0], [3, 7]]
    torch.testing.assert_close(self_relevance([first, second]), torch.tensor([[[1.0, 2.0], [3.0, 8.0]]]))


def test_rows_are_normalised_but_for_the_tokens_themselves() -> None:
    relevance = torch.tensor([[[1.0, 3.0, 1.0], [0.0, 1.0, 0.0], [0.0, 2.0, 3.0]]])
    wanted = torch.tensor([[[1.0, 0.75, 0.25], [0.0, 1.0, 0.0], [0.0, 0.5, 1.5]]])
    torch.testing.assert_close(normalised(relevance), wanted)


def test_self_attention_carries_what_tokens_know_of_others() -> None:
    r_ss, r_sq, layer = torch.rand(1, 2, 2), torch.rand(1, 2, 3), torch.rand(1, 2, 2)
    new_ss, new_sq = after_self_attention(r_ss, r_sq, layer)
    for i in range(2):
        for j in range(3):
            wanted = r_sq[0, i, j] + sum(layer[0, i, k] * r_sq[0, k, j] for k in range(2))
            torch.testing.assert_close(new_sq[0, i, j], wanted)
    torch.testing.assert_close(new_ss, r_ss + layer @ r_ss)


def test_cross_attention_entry_by_entry() -> None:
    torch.manual_seed(0)
    r_ss, r_qq = torch.eye(2)[None] + torch.rand(1, 2, 2), torch.eye(3)[None] + torch.rand(1, 3, 3)
    r_sq, r_qs, layer = torch.rand(1, 2, 3), torch.rand(1, 3, 2), torch.rand(1, 2, 3)
    new_ss, new_sq = after_cross_attention(r_ss, r_sq, r_qs, r_qq, layer)
    left, right = normalised(r_ss)[0], normalised(r_qq)[0]
    for i in range(2):
        for j in range(3):
            brought = sum(left[a, i] * layer[0, a, b] * right[b, j] for a in range(2) for b in range(3))
            torch.testing.assert_close(new_sq[0, i, j], r_sq[0, i, j] + brought)
        for j in range(2):
            brought = sum(layer[0, i, b] * r_qs[0, b, j] for b in range(3))
            torch.testing.assert_close(new_ss[0, i, j], r_ss[0, i, j] + brought)


def test_a_decoder_that_reads_one_token_of_its_encoder() -> None:
    """A query that attends to token 1, which the encoder has made of token 2 alone, is made of both."""
    encoder = self_relevance([torch.tensor([[[0.0, 0.0, 0.0], [0.0, 0.0, 4.0], [0.0, 0.0, 0.0]]])])
    nothing = torch.zeros(1, 1, 3)
    own, read = after_cross_attention(
        torch.ones(1, 1, 1), nothing, torch.zeros(1, 3, 1), encoder, torch.tensor([[[0.0, 5.0, 0.0]]])
    )
    torch.testing.assert_close(own, torch.ones(1, 1, 1))
    torch.testing.assert_close(read, torch.tensor([[[0.0, 5.0, 5.0]]]))


def test_wrong_maps_are_refused() -> None:
    with pytest.raises(ValueError, match="one resolution"):
        self_relevance([torch.eye(2)[None], torch.eye(3)[None]])
    with pytest.raises(ValueError, match="at least"):
        self_relevance([])


class Finder(nn.Module):
    """Adds up the values of marked tokens, which it must find by their marks: a class token attends to the others."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(4, 16)
        self.token = nn.Parameter(torch.zeros(1, 1, 16))
        self.blocks = nn.Sequential(*(TransformerBlock(SelfAttention(16, 2), 16, 2.0) for _ in range(2)))
        self.head = nn.Linear(16, 1)

    def forward(self, x: Tensor) -> Tensor:
        tokens = torch.cat([self.token.expand(len(x), -1, -1), self.embed(x)], 1)
        return self.head(self.blocks(tokens)[:, 0])[:, 0]


def marked(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return tokens (B, 12, 4) of which three at random places are marked, and how many of the marked are high."""
    x = torch.randn(count, 12, 4, generator=generator, dtype=torch.float64) * 0.3
    places = torch.rand(count, 12, generator=generator).argsort(1)[:, :3]
    is_marked = torch.zeros(count, 12, dtype=torch.bool).scatter(1, places, True)
    x[..., 0] = is_marked.double() * 2
    x[..., 1] = torch.rand(count, 12, generator=generator, dtype=torch.float64)
    return x, (x[..., 1] * is_marked).sum(1)


def test_taking_relevant_tokens_away_changes_more_than_taking_any() -> None:
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(1)
    network = Finder().double()
    optimiser = torch.optim.Adam(network.parameters(), 1e-2)
    for _ in range(120):
        x, wanted = marked(32, generator)
        loss = F.mse_loss(network(x), wanted)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss < 0.1
    x, _ = marked(64, generator)
    maps = relevance_maps(network.eval(), x, score=torch.sum)
    relevance = self_relevance(maps.values())[:, 0, 1:]

    def change(places: Tensor) -> float:
        with torch.no_grad():
            gone = x.scatter(1, places[..., None].expand(-1, -1, 4), 0.0)
            return (network(gone) - network(x)).abs().mean().item()

    most, least = (relevance.topk(3, largest=largest).indices for largest in (True, False))
    random = change(torch.rand(64, 12, generator=generator).argsort(1)[:, :3])
    assert change(most) > 2 * random
    assert change(least) < random / 2
    assert (x[..., 0].gather(1, most) > 1).double().mean() > 0.7  # a quarter of all tokens is marked

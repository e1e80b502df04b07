"""Attention maps and their contributions against transformers that are run token by token."""

import pytest
import torch
from torch import Tensor, nn

from foveal.core.attention.convolutional import ConvolutionalBlockAttention
from foveal.core.attention.gate import AttentionGate
from foveal.core.attention.polarized import PolarizedAttention
from foveal.core.attention.reverse import ReverseAttention
from foveal.core.attention.super_token import SuperTokenAttention
from foveal.core.attention.window import WindowAttention
from foveal.core.errors import UserError
from foveal.core.explain.maps import attention_maps, gate_maps, relevance_maps
from foveal.tests.fixtures.transformers import stepwise, transformer

TOKENS = 4


def sample(batch: int = 1) -> Tensor:
    return torch.randn(batch, TOKENS, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(3))


def of_first_token(y: Tensor) -> Tensor:
    return y[:, 0, 0].sum()


def test_maps_are_those_of_a_network_that_is_run_token_by_token() -> None:
    network, x = transformer(), sample()
    maps = attention_maps(network, x)
    with torch.no_grad():
        _, wanted = stepwise(network, x[0], [torch.zeros(2, TOKENS, TOKENS).double()] * 2)
    assert list(maps) == ["0.mixer", "1.mixer"]
    for found, each in zip(maps.values(), wanted, strict=True):
        torch.testing.assert_close(found[0], each)


def test_contributions_have_the_gradient_that_small_changes_of_the_attention_show() -> None:
    network, x = transformer(), sample()
    found = list(relevance_maps(network, x, score=of_first_token).values())
    step = 1e-6
    with torch.no_grad():
        still = [torch.zeros(2, TOKENS, TOKENS).double() for _ in range(2)]
        _, maps = stepwise(network, x[0], still)
        for layer in range(2):
            wanted = torch.zeros(TOKENS, TOKENS).double()
            for head in range(2):
                for i in range(TOKENS):
                    for j in range(TOKENS):
                        ends = []
                        for sign in (1, -1):
                            still[layer][head, i, j] = sign * step
                            ends.append(stepwise(network, x[0], still)[0][0, 0])
                        still[layer][head, i, j] = 0.0
                        gradient = (ends[0] - ends[1]) / (2 * step)
                        wanted[i, j] += max(0.0, float(gradient * maps[layer][head, i, j])) / 2
            torch.testing.assert_close(found[layer][0], wanted, rtol=1e-6, atol=1e-8)
            assert wanted.max() > 1e-3


def test_samples_do_not_mix() -> None:
    network, x = transformer(), sample(3)
    together = relevance_maps(network, x, score=of_first_token)
    alone = relevance_maps(network, x[1:2], score=of_first_token)
    for name, each in together.items():
        torch.testing.assert_close(each[1:2], alone[name])


def test_the_network_keeps_its_fast_form_also_after_an_error() -> None:
    network, x = transformer(), sample()
    before = network(x)
    attention_maps(network, x)
    with pytest.raises(RuntimeError):
        attention_maps(network, x[..., :5])
    assert all("forward" not in vars(each) for each in network.modules())
    assert torch.equal(network(x), before)


def test_a_part_alone_and_a_block_that_is_used_twice() -> None:
    network, x = transformer(), sample()
    assert list(attention_maps(network, x, within=network[1])) == ["1.mixer"]
    twice = nn.Sequential(network[0], network[0])
    assert list(attention_maps(twice, x)) == ["0.mixer", "0.mixer#2"]


def test_maps_of_windows_lie_over_the_whole_map() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(WindowAttention(8, 2, (2, 3)), WindowAttention(8, 2, (2, 3), shift=1)).double()
    maps = attention_maps(network, torch.randn(1, 4, 6, 8).double())
    assert [each.shape for each in maps.values()] == [(1, 2, 24, 24)] * 2
    assert maps["0"][0, 0, 0].view(4, 6).nonzero().tolist() == [[r, c] for r in (0, 1) for c in (0, 1, 2)]


def test_super_tokens_attend_to_one_another() -> None:
    maps = attention_maps(SuperTokenAttention(8, 2, (2, 2)), torch.randn(1, 4, 6, 8))
    assert maps["attention"].shape == (1, 2, 6, 6)


def test_a_network_without_attention_is_refused() -> None:
    with pytest.raises(UserError, match="Conv2d has no token mixer with attention maps"):
        attention_maps(nn.Conv2d(1, 1, 1), torch.zeros(1, 1, 2, 2))
    with pytest.raises(UserError, match="Conv2d has no gate over positions"):
        gate_maps(nn.Conv2d(1, 1, 1), torch.zeros(1, 1, 2, 2))


@pytest.mark.parametrize(
    "block",
    [ConvolutionalBlockAttention(8, 2), PolarizedAttention(8), PolarizedAttention(8, sequential=True)],
    ids=["cbam", "polarized", "polarized, sequential"],
)
def test_a_gate_is_what_positions_are_multiplied_by(block: nn.Module) -> None:
    torch.manual_seed(0)
    seen = {}
    gates = [each for each in block.modules() if hasattr(each, "position_gate")]
    handle = gates[0].register_forward_hook(lambda module, given, output: seen.update(x=given[0], y=output))
    (found,) = gate_maps(block.eval(), torch.randn(2, 8, 5, 6)).values()
    handle.remove()
    assert found.shape == (2, 1, 5, 6)
    torch.testing.assert_close(seen["x"] * found, seen["y"])
    assert ((found > 0) & (found < 1)).all()


def test_gates_with_several_inputs() -> None:
    torch.manual_seed(0)
    x, coarse = torch.randn(1, 4, 6, 6), torch.randn(1, 1, 3, 3)
    (found,) = gate_maps(ReverseAttention(4, dim=4), x, torch.full_like(coarse, 20.0)).values()
    assert found.max() < 1e-6  # nothing is left where the coarse map is sure of the object
    (found,) = gate_maps(AttentionGate(4, 1, 2, spatial_dims=2).eval(), x, coarse).values()
    assert found.shape == (1, 1, 6, 6)

import pytest
import torch

from foveal.kernels.group_attention import Group, group_attention, reference


def neighbours():
    """Five tokens, each attending to itself and the next, the last to padding."""
    tokens, pairs = torch.arange(5)[:, None], torch.tensor([[0, 1]])
    inner = Group(tokens[:4], torch.cat([tokens[:4], tokens[1:]], 1), pairs=pairs)
    return [inner, Group(tokens[4:], torch.tensor([[4, 0]]), torch.tensor([False, True]), pairs=pairs)]


def test_it_is_attention_of_the_listed_pairs():
    generator = torch.Generator().manual_seed(0)
    qkv = torch.randn(2, 5, 3, 2, 4, generator=generator, dtype=torch.float64)
    bias = torch.randn(2, 2, generator=generator, dtype=torch.float64)
    q, k, v = (torch.cat([each, torch.zeros_like(each[:, :1])], 1) for each in qkv.unbind(2))
    expected = torch.empty(2, 5, 2, 4, dtype=torch.float64)
    for token in range(5):
        scores = (q[:, token, None] * k[:, token : token + 2]).sum(-1) / 2 + bias.T
        expected[:, token] = (scores.softmax(1)[..., None] * v[:, token : token + 2]).sum(1)
    assert torch.allclose(group_attention(qkv, neighbours(), bias), expected, rtol=1e-12)


def test_groups_follow_the_operands_to_their_device():
    qkv = torch.empty(2, 5, 3, 2, 4, device="meta")
    assert all(each.device.type == "meta" for each in neighbours()[1].on(qkv.device) if each is not None)
    assert group_attention(qkv, neighbours(), torch.empty(2, 2, device="meta")).device.type == "meta"


@pytest.mark.parametrize("kept", [0, 2**23], ids=["made again", "kept"])
@pytest.mark.parametrize("scores", [1, 2**17])
def test_gradients_are_those_of_finite_differences(monkeypatch: pytest.MonkeyPatch, kept: int, scores: int) -> None:
    monkeypatch.setattr(reference, "KEPT", kept)
    monkeypatch.setattr(reference, "SCORES", scores)
    generator = torch.Generator().manual_seed(0)
    shapes = (2, 5, 3, 2, 3), (2, 2), (3, 2, 3)
    operands = [torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_() for shape in shapes]
    assert torch.autograd.gradcheck(lambda qkv, bias, fill: group_attention(qkv, neighbours(), bias, fill), operands)

"""Weights that are partly a softmax and partly squares, in float64."""

import pytest
import torch

from foveal.core.attention.adaptive_sparse import AdaptiveSparseAttention
from foveal.core.attention.window import WindowAttention


def attention(**options: object) -> AdaptiveSparseAttention:
    torch.manual_seed(0)
    block = AdaptiveSparseAttention(4, 2, (3, 2), **options).double().eval()
    for parameter in block.parameters():
        torch.nn.init.normal_(parameter)
    return block


def test_one_window_is_the_formula() -> None:
    block = attention()
    x = torch.randn(2, 3, 2, 4, dtype=torch.float64)
    q, k, v = block.qkv(x).view(2, 6, 3, 2, 2).permute(2, 0, 3, 1, 4)
    scores = q @ k.mT / 2**0.5
    places = [(i, j) for i in range(3) for j in range(2)]
    for a, (i, j) in enumerate(places):
        for b, (m, n) in enumerate(places):
            scores[:, :, a, b] += block.position.table[(i - m + 2) * 3 + j - n + 1]
    first, second = block.parts.exp() / block.parts.exp().sum()
    weights = first * scores.softmax(-1) + second * scores.clamp(min=0) ** 2
    torch.testing.assert_close(block(x), block.proj((weights @ v).transpose(1, 2).reshape(2, 3, 2, 4)))


def test_softmax_alone_is_window_attention() -> None:
    block = attention(shift=1)
    block.parts.data = torch.tensor([50.0, -50.0], dtype=torch.float64)
    window = WindowAttention(4, 2, (3, 2), 1).double().eval()
    window.load_state_dict({name: value for name, value in block.state_dict().items() if name != "parts"})
    x = torch.randn(2, 7, 5, 4, dtype=torch.float64)
    torch.testing.assert_close(block(x), window(x))


def test_scripts_exports_and_has_gradients() -> None:
    block = attention(shift=1)
    x = torch.randn(1, 4, 5, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(block, (x,))
    with torch.no_grad():
        torch.testing.assert_close(torch.jit.script(block)(x), block(x))
        torch.testing.assert_close(torch.export.export(block, (x,)).module()(x), block(x))


def test_wrong_heads() -> None:
    with pytest.raises(ValueError, match="divide"):
        AdaptiveSparseAttention(4, 3)

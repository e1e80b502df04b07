"""Cross-shaped windows against a loop over the stripes, in float64."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from foveal.core.attention.cross_shaped import CrossShapedAttention


def attention(dim: int, heads: int, **options: object) -> CrossShapedAttention:
    torch.manual_seed(0)
    block = CrossShapedAttention(dim, heads, **options).double().eval()
    for parameter in block.parameters():
        torch.nn.init.normal_(parameter)
    return block


def along_rows(q: Tensor, k: Tensor, v: Tensor, encode: torch.nn.Conv2d, stripe: int) -> Tensor:
    """Attend in horizontal stripes of maps (H, W, d) of one head, as many channels of the encoding at once."""
    height, width, d = q.shape
    lack = -height % stripe
    q, k, v = (F.pad(t, [0, 0, 0, 0, lack // 2, lack - lack // 2]) for t in (q, k, v))
    rows = []
    for top in range(0, height + lack, stripe):
        a, b, c = (t[top : top + stripe].reshape(-1, d) for t in (q, k, v))
        y = ((a @ b.T) / d**0.5).softmax(-1) @ c
        image = c.view(1, stripe, width, d).permute(0, 3, 1, 2)
        local = F.conv2d(image, encode.weight, encode.bias, padding=1, groups=d)
        rows.append(y.view(stripe, width, d) + local[0].permute(1, 2, 0))
    return torch.cat(rows)[lack // 2 : lack // 2 + height]


def part_of(encode: torch.nn.Conv2d, first: int, last: int, turned: bool) -> torch.nn.Conv2d:
    part = torch.nn.Conv2d(last - first, last - first, 3, groups=last - first).double()
    weight = encode.weight[first:last]
    part.weight.data = weight.transpose(2, 3) if turned else weight
    part.bias.data = encode.bias[first:last]
    return part


def test_half_the_heads_look_along_each_axis() -> None:
    block = attention(8, 4, stripe=3)
    x = torch.randn(1, 5, 7, 8, dtype=torch.float64)
    q, k, v = block.qkv(x)[0].chunk(3, -1)
    parts = []
    for head in range(4):
        cut = slice(2 * head, 2 * head + 2)
        first = 2 * (head % 2)
        columns = head < 2
        encode = part_of(block.encodings[0 if columns else 1], first, first + 2, columns)
        maps = [t[..., cut].transpose(0, 1) if columns else t[..., cut] for t in (q, k, v)]
        y = along_rows(*maps, encode, 3)
        parts.append(y.transpose(0, 1) if columns else y)
    torch.testing.assert_close(block(x)[0], block.proj(torch.cat(parts, -1)))


def test_last_stage_looks_at_the_whole_map() -> None:
    block = attention(4, 2, whole=True)
    x = torch.randn(1, 3, 5, 4, dtype=torch.float64)
    q, k, v = block.qkv(x)[0].chunk(3, -1)
    parts = [
        along_rows(*(t[..., c : c + 2] for t in (q, k, v)), part_of(block.encodings[0], c, c + 2, False), 3)
        for c in (0, 2)
    ]
    torch.testing.assert_close(block(x)[0], block.proj(torch.cat(parts, -1)))


def test_stripes_of_a_volume_are_lines_where_they_are_one_token_wide() -> None:
    block = attention(6, 3, stripe=1, axes=3)
    x = torch.randn(1, 2, 3, 4, 6, dtype=torch.float64)
    q, k, v = block.qkv(x).chunk(3, -1)
    parts = []
    for axis, encode in enumerate(block.encodings):
        lines = [t[..., 2 * axis : 2 * axis + 2].movedim(axis + 1, -2) for t in (q, k, v)]
        mixed = (lines[0] @ lines[1].mT / 2**0.5).softmax(-1) @ lines[2]
        kernel = encode.weight[:, :, *(slice(None) if other == axis else 1 for other in range(3))]
        values = lines[2].flatten(0, 2).transpose(1, 2)
        local = F.conv1d(values, kernel, encode.bias, padding=1, groups=2).transpose(1, 2).view(mixed.shape)
        parts.append((mixed + local).movedim(-2, axis + 1))
    torch.testing.assert_close(block(x), block.proj(torch.cat(parts, -1)))


def test_scripts_exports_and_has_gradients() -> None:
    block = attention(6, 2, stripe=2)
    x = torch.randn(2, 3, 5, 6, dtype=torch.float64)
    torch.testing.assert_close(torch.jit.script(block)(x), block(x))
    torch.testing.assert_close(torch.export.export(block, (x,)).module()(x), block(x))
    assert torch.autograd.gradcheck(block, (x[:1, :2, :3].clone().requires_grad_(),))


@pytest.mark.parametrize(("dim", "heads"), [(8, 3), (6, 3)])
def test_wrong_heads(dim: int, heads: int) -> None:
    with pytest.raises(ValueError, match="heads"):
        CrossShapedAttention(dim, heads)

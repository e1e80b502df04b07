"""Speed and memory of the attention blocks: `python benchmarks/attention.py [ROW ...]`, best with OMP_NUM_THREADS=1.

Every row sets a block, projections included but for neighbourhoods and the rows that say so, beside its plain
formulation as papers write it, or beside timm's or MONAI's own. Both have the same weights and are first held together;
then they are timed in turns in one process, and the peak memory is taken in a fresh process for each. The table is
printed and appended to benchmarks/RESULTS.md.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from measure import Forms, Rows, run_forms
from plain_regions import plain_bilevel, plain_cross_covariance, plain_super_tokens
from torch import Tensor, nn

from foveal.core.attention.bilevel import BiLevelRoutingAttention
from foveal.core.attention.cross_covariance import CrossCovarianceAttention
from foveal.core.attention.cross_shaped import CrossShapedAttention
from foveal.core.attention.neighborhood import NeighborhoodAttention
from foveal.core.attention.super_token import SuperTokenAttention
from foveal.core.attention.window import WindowAttention
from foveal.core.blocks.transformer import TransformerBlock
from foveal.kernels.window_attention import window_attention

# B batch, C channels, G windows, N tokens of a window or map, h heads, d channels of a head, K keys of a token


def inference(plain: Callable[[Tensor], Tensor], ours: Callable[[Tensor], Tensor], size: tuple[int, ...]) -> Forms:
    """Return both forms without gradients."""
    x = torch.randn(size)
    return torch.inference_mode()(lambda: plain(x)), torch.inference_mode()(lambda: ours(x))


def training(plain: Callable[[Tensor], Tensor], ours: nn.Module, size: tuple[int, ...]) -> Forms:
    """Return both forms with the gradients of the input and the weights; they agree on these, one after another."""
    x = torch.randn(size, requires_grad=True)
    wanted, cotangent = [x, *ours.parameters()], torch.randn(ours(x).shape)

    def gradients(network: Callable[[Tensor], Tensor]) -> Tensor:
        return torch.cat([each.flatten() for each in torch.autograd.grad(network(x), wanted, cotangent)])

    return lambda: gradients(plain), lambda: gradients(ours)


def plain_windows(block: WindowAttention, x: Tensor) -> Tensor:
    """Roll, partition, scores, bias, mask, softmax, and back, of whole windows; a grid is another partition."""
    axes, window, shift = len(block.window), block.window, block.shift
    dims = list(range(1, axes + 1))
    if any(shift):
        x = torch.roll(x, [-s for s in shift], dims)
    B, *sizes, _ = x.shape
    windows = _partition(x, window, block.dilated)
    G, N, h = windows.shape[0], windows.shape[1], block.heads
    q, k, v = block.qkv(windows).reshape(G, N, 3, h, -1).permute(2, 0, 3, 1, 4)
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
    index = block.position.index.view(-1)
    scores = scores + block.position.table[index].view(N, N, h).permute(2, 0, 1).contiguous().unsqueeze(0)
    if any(shift):
        mask = shift_mask(tuple(sizes), tuple(window), tuple(shift))
        scores = (scores.view(B, G // B, h, N, N) + mask[None, :, None]).view(G, h, N, N)
    y = block.proj((scores.softmax(-1) @ v).transpose(1, 2).reshape(G, N, -1))
    y = _unpartition(y, sizes, window, block.dilated)
    return torch.roll(y, shift, dims) if any(shift) else y


MASKS: dict[tuple, Tensor] = {}


def shift_mask(sizes: tuple[int, ...], window: tuple[int, ...], shift: tuple[int, ...]) -> Tensor:
    """Return the mask of the cyclic shift, (G, N, N), made once as published networks do."""
    if (sizes, window, shift) not in MASKS:
        labels = torch.zeros(1, *sizes, 1)
        for axis, (size, side, by) in enumerate(zip(sizes, window, shift, strict=True)):
            place = torch.arange(size)
            part = (place >= size - side).float() + (place >= size - by).float()
            labels = 3 * labels + part.view(-1, *[1] * (len(sizes) - axis))
        labels = _partition(labels, list(window), False).squeeze(-1)
        MASKS[sizes, window, shift] = -100.0 * (labels[:, None] != labels[:, :, None])
    return MASKS[sizes, window, shift]


def _partition(x: Tensor, window: list[int], dilated: bool) -> Tensor:
    B, *sizes, C = x.shape
    split = [
        n for size, side in zip(sizes, window, strict=True) for n in ((side, size // side)[:: 1 if dilated else -1])
    ]
    counts = [2 + 2 * axis if dilated else 1 + 2 * axis for axis in range(len(sizes))]
    sides = [1 + 2 * axis if dilated else 2 + 2 * axis for axis in range(len(sizes))]
    windows = x.view(B, *split, C).permute(0, *counts, *sides, 2 * len(sizes) + 1).contiguous()
    return windows.view(-1, windows[0].numel() // C // _product(split[int(dilated) :: 2]), C)


def _unpartition(y: Tensor, sizes: list[int], window: list[int], dilated: bool) -> Tensor:
    n = len(sizes)
    counts = [size // side for size, side in zip(sizes, window, strict=True)]
    pairs = [(n + 1 + axis, 1 + axis) if dilated else (1 + axis, n + 1 + axis) for axis in range(n)]
    order = [0, *(each for pair in pairs for each in pair), 2 * n + 1]
    return y.view(-1, *counts, *window, y.shape[-1]).permute(order).reshape(-1, *sizes, y.shape[-1])


def _product(numbers: list[int]) -> int:
    return int(torch.tensor(numbers).prod())


def gathered_neighborhoods(block: NeighborhoodAttention, index: Tensor, x: Tensor) -> Tensor:
    """Gather every token's keys and values, then scores, softmax and sum; without projections."""
    B, C, h = x.shape[0], x.shape[-1] // 3, block.heads
    q, k, v = x.view(B, -1, 3, h, C // h).permute(2, 0, 3, 1, 4)
    keys, values = k[:, :, index], v[:, :, index]  # (B, h, N, K, d)
    scores = (keys @ (q * (C // h) ** -0.5).unsqueeze(-1)).squeeze(-1)
    y = (scores.softmax(-1).unsqueeze(-2) @ values).squeeze(-2)
    return y.transpose(1, 2).reshape(*x.shape[:-1], C)


def neighbors(sizes: tuple[int, ...], kernel: int, dilation: int) -> Tensor:
    """Return the keys of each token, (N, K)."""
    index = torch.zeros(1, 1, dtype=torch.long)
    for size in sizes:
        place = torch.arange(size)
        length = size // dilation + (place % dilation < size % dilation).long()
        start = torch.minimum((place // dilation - kernel // 2).clamp(min=0), length - kernel)
        keys = place[:, None] % dilation + dilation * (start[:, None] + torch.arange(kernel))
        index = (index[:, None, :, None] * size + keys[None, :, None, :]).flatten(2, 3).flatten(0, 1)
    return index


def plain_cross(block: CrossShapedAttention, x: Tensor) -> Tensor:
    """Stripes cut out of queries, keys and values of a map of whole stripes, with scores and softmax."""
    B, H, W, C = x.shape
    qkv = block.qkv(x).reshape(B, H, W, 3, C).permute(3, 0, 1, 2, 4)
    mixed = []
    for half, window in enumerate([[H, block.stripe], [block.stripe, W]]):
        q, k, v = (_partition(each, window, False) for each in qkv[..., half * C // 2 : (half + 1) * C // 2])
        image = v.transpose(1, 2).reshape(-1, C // 2, *window)
        local = block.encodings[half](image).flatten(2).transpose(1, 2)
        q, k, v = (each.view(*each.shape[:2], block.heads // 2, -1).transpose(1, 2) for each in (q, k, v))
        weights = ((q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)).softmax(-1)
        y = (weights @ v).transpose(1, 2).reshape(local.shape) + local
        mixed.append(_unpartition(y, [H, W], window, False))
    return block.proj(torch.cat(mixed, -1))


def windows(form: Callable[..., Forms], size: tuple[int, ...], heads: int, window: int, **options: object) -> Forms:
    """Return both forms of attention inside windows."""
    block = WindowAttention(size[-1], heads, [window] * (len(size) - 2), **options).eval()
    return form(partial(plain_windows, block), block, size)


def bare_windows(size: tuple[int, ...], heads: int, window: int, shift: int = 0) -> Forms:
    """Return both forms of attention inside windows for queries, keys and values."""
    block = WindowAttention(size[-1], heads, [window] * (len(size) - 2), shift).eval()
    layout, bias = block.fitted(size[1:-1]), block.position(block.window).detach()
    block.qkv = block.proj = nn.Identity()

    def ours(qkv: Tensor) -> Tensor:
        return window_attention(qkv.unflatten(-1, (3, heads, -1)), bias, layout).flatten(-2)

    return inference(partial(plain_windows, block), ours, (*size[:-1], 3 * size[-1]))


def neighborhoods(
    form: Callable[..., Forms], size: tuple[int, ...], heads: int, kernel: int, dilation: int = 1
) -> Forms:
    """Return both forms of neighbourhood attention, for queries, keys and values."""
    axes, size = len(size) - 2, (*size[:-1], 3 * size[-1])
    block = NeighborhoodAttention(size[-1] // 3, heads, [kernel] * axes, dilation).eval()
    block.qkv = block.proj = nn.Identity()
    return form(partial(gathered_neighborhoods, block, neighbors(size[1:-1], kernel, dilation)), block, size)


def crosses(form: Callable[..., Forms]) -> Forms:
    """Return both forms of cross-shaped windows."""
    block = CrossShapedAttention(64, 2, 2).eval()
    return form(partial(plain_cross, block), block, (1, 56, 56, 64))


def mixers(
    form: Callable[..., Forms], make: Callable[[], nn.Module], plain: Callable[..., Tensor], size: tuple[int, ...]
) -> Forms:
    """Return both forms of a token mixer."""
    block = make().eval()
    return form(partial(plain, block), block, size)


def swin(size: tuple[int, ...], heads: int, shift: int) -> Forms:
    """Return timm's block of Swin and ours, with the same weights."""
    from timm.models.swin_transformer import SwinTransformerBlock

    C = size[-1]
    theirs = SwinTransformerBlock(C, size[1:-1], heads, window_size=7, shift_size=shift).eval()
    ours = TransformerBlock(WindowAttention(C, heads, (7, 7), shift), C).eval()
    names = {"attn.relative_position_bias_table": "mixer.position.table", "attn.": "mixer."}
    _copy(theirs, ours, names | {"mlp.fc1": "mlp.0", "mlp.fc2": "mlp.3"})
    return inference(theirs, ours, size)


def volume_swin(size: tuple[int, ...], heads: int, shift: int) -> Forms:
    """Return MONAI's block of Swin and ours, with the same weights; its mask is made beforehand, as its layer does."""
    from monai.networks.nets.swin_unetr import SwinTransformerBlock, compute_mask

    C = size[-1]
    window, shifts = (7, 7, 7), (shift,) * 3
    theirs = SwinTransformerBlock(C, heads, window, shifts, qkv_bias=True).eval()
    ours = TransformerBlock(WindowAttention(C, heads, window, shift), C).eval()
    names = {"attn.relative_position_bias_table": "mixer.position.table", "attn.": "mixer."}
    _copy(theirs, ours, names | {"mlp.linear1": "mlp.0", "mlp.linear2": "mlp.3"})
    mask = compute_mask(list(size[1:-1]), window, shifts, torch.device("cpu"))
    return inference(lambda x: theirs(x, mask), ours, size)


def _copy(theirs: nn.Module, ours: nn.Module, names: dict[str, str]) -> None:
    state = {}
    for name, value in theirs.state_dict().items():
        for old, new in names.items():
            name = name.replace(old, new)
        if name in ours.state_dict():
            state[name] = value
    ours.load_state_dict(state)


def row(what: str, make: Callable[..., Forms], *arguments: object, **options: object) -> Callable[[], Forms]:
    """Return what makes the forms of a row, with what the table says of it."""

    def forms() -> Forms:
        return make(*arguments, **options)

    forms.__doc__ = what
    return forms


LARGE, RESTORED, VOLUME = (2, 112, 112, 96), (1, 64, 64, 180), (1, 28, 28, 28, 48)
MAP, SMALL, CUBE = (1, 56, 56, 128), (1, 28, 28, 192), (1, 16, 16, 16, 48)
MIXERS = {
    "bilevel_56": (
        "Bi-level routing, 56x56, 64 channels, 2 heads, 7x7 regions, top 4",
        partial(BiLevelRoutingAttention, 64, 2, 7, 4),
        plain_bilevel,
        (1, 56, 56, 64),
    ),
    "bilevel_112": (
        "Bi-level routing, 112x112, 64 channels, 2 heads, 14x14 regions, top 8",
        partial(BiLevelRoutingAttention, 64, 2, 14, 8),
        plain_bilevel,
        (1, 112, 112, 64),
    ),
    "bilevel_28": (
        "Bi-level routing, batch 4, 28x28, 128 channels, 4 heads, 7x7 regions, top 4",
        partial(BiLevelRoutingAttention, 128, 4, 7, 4),
        plain_bilevel,
        (4, 28, 28, 128),
    ),
    "super_tokens": (
        "Super tokens, 112x112, 64 channels, cells of 8x8",
        partial(SuperTokenAttention, 64, 2, (8, 8)),
        plain_super_tokens,
        (1, 112, 112, 64),
    ),
    "cross_covariance": (
        "Cross-covariance, 56x56, 192 channels, 4 heads",
        partial(CrossCovarianceAttention, 192, 4),
        plain_cross_covariance,
        (1, 56, 56, 192),
    ),
}
ROWS: Rows = {
    "window": row("Windows of 7, 2 x 112 x 112 x 96, 3 heads, inference", windows, inference, LARGE, 3, 7),
    "shifted": row("The same, shifted", windows, inference, LARGE, 3, 7, shift=3),
    "window_train": row("The same, training", windows, training, LARGE, 3, 7, shift=3),
    "window_bare": row("The same, inference, without projections", bare_windows, LARGE, 3, 7, shift=3),
    "window_bare_whole": row("The same, not shifted", bare_windows, LARGE, 3, 7),
    "window_wide": row(
        "Shifted windows of 8, 64 x 64 x 180, 6 heads, inference", windows, inference, RESTORED, 6, 8, shift=4
    ),
    "window_16": row(
        "Shifted windows of 16, 64 x 64 x 180, 6 heads, inference", windows, inference, RESTORED, 6, 16, shift=8
    ),
    "window_16_train": row("The same, training", windows, training, RESTORED, 6, 16, shift=8),
    "window_small": row(
        "Shifted windows of 7, 28 x 28 x 192, 6 heads, inference", windows, inference, SMALL, 6, 7, shift=3
    ),
    "window_small_train": row("The same, training", windows, training, SMALL, 6, 7, shift=3),
    "volume": row("Windows of 7, 28^3 x 48, 3 heads, inference", windows, inference, VOLUME, 3, 7),
    "volume_shifted": row("The same, shifted", windows, inference, VOLUME, 3, 7, shift=3),
    "volume_train": row("The same, training", windows, training, VOLUME, 3, 7, shift=3),
    "grid": row("Grid of 7, 2 x 112 x 112 x 96, 3 heads, inference", windows, inference, LARGE, 3, 7, dilated=True),
    "grid_train": row("The same, training", windows, training, LARGE, 3, 7, dilated=True),
    "neighborhood": row("Neighbourhoods of 7, 56 x 56 x 128, 4 heads, inference", neighborhoods, inference, MAP, 4, 7),
    "neighborhood_train": row("The same, training", neighborhoods, training, MAP, 4, 7),
    "dilated": row("The same, 4 apart, inference", neighborhoods, inference, MAP, 4, 7, 4),
    "dilated_train": row("The same, 4 apart, training", neighborhoods, training, MAP, 4, 7, 4),
    "neighborhood_13": row(
        "Neighbourhoods of 13, 56 x 56 x 128, 4 heads, inference", neighborhoods, inference, MAP, 4, 13
    ),
    "neighborhood_3": row(
        "Neighbourhoods of 3, 56 x 56 x 128, 4 heads, inference", neighborhoods, inference, MAP, 4, 3
    ),
    "neighborhood_small": row(
        "Neighbourhoods of 7, 28 x 28 x 192, 6 heads, inference", neighborhoods, inference, SMALL, 6, 7
    ),
    "neighborhood_volume": row(
        "Neighbourhoods of 5, 16^3 x 48, 3 heads, inference", neighborhoods, inference, CUBE, 3, 5
    ),
    "neighborhood_volume_train": row("The same, training", neighborhoods, training, CUBE, 3, 5),
    "neighborhood_line": row(
        "Neighbourhoods of 31, 4096 x 128, 4 heads, inference", neighborhoods, inference, (1, 4096, 128), 4, 31
    ),
    "cross": row("Stripes of 2, 56 x 56 x 64, 2 heads, inference", crosses, inference),
    "cross_train": row("The same, training", crosses, training),
    **{
        name + suffix: row(f"{what}, {form.__name__}", mixers, form, *rest)
        for name, (what, *rest) in MIXERS.items()
        for suffix, form in (("", inference), ("_train", training))
    },
    "timm": row("Swin's block, 56 x 56 x 96, 3 heads, beside timm's", swin, (1, 56, 56, 96), 3, 0),
    "timm_shifted": row("The same, shifted", swin, (1, 56, 56, 96), 3, 3),
    "monai": row("Swin's block, 28^3 x 48, 3 heads, beside MONAI's", volume_swin, VOLUME, 3, 0),
    "monai_shifted": row("The same, shifted", volume_swin, VOLUME, 3, 3),
}

if __name__ == "__main__":
    run_forms(__file__, __doc__, "Attention blocks", ROWS)

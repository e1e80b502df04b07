"""Plain forms of attention between regions, super tokens and channels, as papers write them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from foveal.core.attention.bilevel import BiLevelRoutingAttention
from foveal.core.attention.cross_covariance import CrossCovarianceAttention
from foveal.core.attention.super_token import SuperTokenAttention

# B batch, R regions, n positions of a region, t regions that one attends to, h heads, C channels


def plain_bilevel(block: BiLevelRoutingAttention, x: Tensor) -> Tensor:
    """Gather the keys and values of all routes, (B, R, t n, 2 C), then softmax attention."""
    B, H, W, C = x.shape
    side, regions, heads = block.regions, block.regions**2, block.heads
    grid = (B, side, H // side, side, W // side)
    q, kv = block.qkv(x).split([C, 2 * C], -1)
    q_BRnC, kv_BRnC = (t.reshape(*grid, -1).transpose(2, 3).reshape(B, regions, -1, t.shape[-1]) for t in (q, kv))
    affinity = q_BRnC.mean(2).detach() @ kv_BRnC[..., :C].mean(2).detach().mT
    routes = affinity.topk(block.topk, -1).indices[..., None, None].expand(-1, -1, -1, *kv_BRnC.shape[2:])
    gathered = kv_BRnC[:, None].expand(-1, regions, -1, -1, -1).gather(2, routes).flatten(2, 3)
    q, k, v = (t.unflatten(-1, (heads, -1)).transpose(2, 3) for t in (q_BRnC, *gathered.chunk(2, -1)))
    mixed = ((q * C**-0.5) @ k.mT).softmax(-1) @ v
    mixed = mixed.transpose(2, 3).reshape(B, side, side, H // side, W // side, C).transpose(2, 3).reshape(x.shape)
    return block.proj(mixed + block.local.conv(kv[..., C:].permute(0, 3, 1, 2)).permute(0, 2, 3, 1))


def plain_super_tokens(block: SuperTokenAttention, x: Tensor) -> Tensor:
    """Collect the super tokens around each cell by unfolding, and what they are given by folding."""
    B, H, W, C = x.shape
    a, b = block.cell
    rows, columns = H // a, W // b
    pixels = x.reshape(B, rows, a, columns, b, C).transpose(2, 3).reshape(B, rows * columns, a * b, C)

    def around(tokens: Tensor) -> Tensor:
        """(B, cells, C) -> (B, cells, C, 9)."""
        unfolded = F.unfold(tokens.mT.reshape(B, -1, rows, columns), 3, padding=1)
        return unfolded.view(B, tokens.shape[-1], 9, -1).permute(0, 3, 1, 2)

    def folded(gifts: Tensor) -> Tensor:
        """(B, cells, C, 9) -> (B, cells, C)."""
        return F.fold(gifts.permute(0, 2, 3, 1).flatten(1, 2), (rows, columns), 3, padding=1).flatten(2).mT

    tokens = F.adaptive_avg_pool2d(x.permute(0, 3, 1, 2), (rows, columns)).flatten(2).mT
    for _ in range(block.iterations):
        with torch.no_grad():
            shares = (pixels @ around(tokens) * C**-0.5).softmax(-1)
        totals = folded(shares.sum(2, keepdim=True))
        tokens = folded(pixels.mT @ shares) / (totals + 1e-12)
    read = shares @ around(block.attention(tokens)).mT
    return read.view(B, rows, columns, a, b, C).transpose(2, 3).reshape(x.shape)


def plain_cross_covariance(block: CrossCovarianceAttention, x: Tensor) -> Tensor:
    """Normalised copies of queries and keys, then one product for each head."""
    heads = len(block.temperature)
    q, k, v = block.qkv(x.flatten(1, 2)).unflatten(-1, (3, heads, -1)).permute(2, 0, 3, 4, 1)
    weights = (F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).mT * block.temperature).softmax(-1)
    return block.proj((weights @ v).permute(0, 3, 1, 2).reshape(x.shape))

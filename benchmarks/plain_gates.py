"""Plain forms of gates and convolutional attention of channels-first maps (B, C, H, W), as papers write them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from foveal.core.attention.additive import AdditiveAttention
from foveal.core.attention.channel import ChannelAttention
from foveal.core.attention.channel_affinity import ChannelAffinityAttention
from foveal.core.attention.convolutional import ConvolutionalBlockAttention
from foveal.core.attention.coordinate import CoordinateAttention
from foveal.core.attention.deformable_gate import DeformableGate
from foveal.core.attention.efficient_local import EfficientLocalAttention
from foveal.core.attention.gate import AttentionGate
from foveal.core.attention.large_kernel import LargeKernelAttention
from foveal.core.attention.polarized import PolarizedAttention
from foveal.core.attention.position import PositionAttention
from foveal.core.attention.reverse import ReverseAttention
from foveal.core.attention.single_head import SingleHeadAttention
from foveal.core.attention.subspace import SubspaceAttention


def plain_convolutional(block: ConvolutionalBlockAttention, x: Tensor) -> Tensor:
    """Both pooled vectors through the perceptron, then both pooled maps through the convolution."""
    first, second = block.channels.squeeze, block.channels.excite
    pooled = (F.avg_pool2d(x, x.shape[2:]).flatten(1), F.max_pool2d(x, x.shape[2:]).flatten(1))
    logits = sum(second(F.relu(first(each))) for each in pooled)
    x = x * torch.sigmoid(logits)[..., None, None].expand_as(x)
    maps = torch.cat([x.max(1, keepdim=True).values, x.mean(1, keepdim=True)], 1)
    return x * torch.sigmoid(block.positions.score(maps))


def plain_coordinate(block: CoordinateAttention, x: Tensor) -> Tensor:
    """Both means as maps, one after the other, through 1x1 convolutions."""
    rows, columns = x.mean(3, keepdim=True), x.mean(2, keepdim=True).transpose(2, 3)
    joined = block.norm(block.squeeze(torch.cat([rows, columns], 2).squeeze(3))).unsqueeze(3)
    rows, columns = (joined * F.relu6(joined + 3) / 6).split([x.shape[2], x.shape[3]], 2)
    by_row = torch.sigmoid(block.excite[0](rows.squeeze(3))).unsqueeze(3)
    return x * torch.sigmoid(block.excite[1](columns.squeeze(3))).unsqueeze(2) * by_row


def plain_efficient_local(block: EfficientLocalAttention, x: Tensor) -> Tensor:
    """A mean, convolution, norm and sigmoid for each axis."""
    rows, columns = (torch.sigmoid(block.units[0](x.mean(axis))) for axis in (3, 2))
    return x * columns.unsqueeze(2) * rows.unsqueeze(3)


def plain_polarized(block: PolarizedAttention, x: Tensor) -> Tensor:
    """Values and queries as whole maps."""
    by_channel = x * _polarized_channels(block, x)
    if block.sequential:
        return by_channel * _polarized_positions(block, by_channel)
    return by_channel + x * _polarized_positions(block, x)


def _polarized_channels(block: PolarizedAttention, x: Tensor) -> Tensor:
    gate = block.channels
    values = F.conv2d(x, gate.value.weight[..., None, None]).flatten(2)
    weights = gate.score(x).flatten(2).softmax(2)
    return torch.sigmoid(gate.expand((values @ weights.transpose(1, 2)).squeeze(2)))[..., None, None]


def _polarized_positions(block: PolarizedAttention, x: Tensor) -> Tensor:
    gate = block.positions
    query = F.adaptive_avg_pool2d(F.conv2d(x, gate.query.weight[..., None, None]), 1).flatten(2).transpose(1, 2)
    values = F.conv2d(x, gate.value.weight[..., None, None]).flatten(2)
    product = query @ values.softmax(2) if block.sequential else (query @ values).softmax(2)
    return torch.sigmoid(product).view(x.shape[0], 1, *x.shape[2:])


def plain_subspace(block: SubspaceAttention, x: Tensor) -> Tensor:
    """One group of channels after another."""
    y = block.scale_norm(block.scale(x))
    mixed = []
    width = x.shape[1] // block.subspaces
    for number, (part, scaled) in enumerate(zip(x.split(width, 1), y.split(width, 1), strict=True)):
        pooled = F.max_pool2d(F.relu(scaled), 3, 1, 1)
        one = slice(number, number + 1)
        score = F.conv2d(pooled, block.score.weight[one], block.score.bias[one])
        norm = block.score_norm
        mean, variance = norm.running_mean[one], norm.running_var[one]
        score = F.relu(F.batch_norm(score, mean, variance, norm.weight[one], norm.bias[one], eps=norm.eps))
        mixed.append(part * score.flatten(2).softmax(2).view_as(score).expand_as(part) + part)
    return torch.cat(mixed, 1)


def plain_large_kernel(block: LargeKernelAttention, x: Tensor) -> Tensor:
    """Five convolutions, a product and a sum."""
    y, gate = F.gelu(block.project_in(x)), block.gate
    return block.project_out(y * gate.mix(gate.wide(gate.local(y)))) + x


def plain_position(block: PositionAttention, x: Tensor) -> Tensor:
    """The map of all pairs."""
    q, k, v = block.query(x).flatten(2), block.key(x).flatten(2), block.value(x).flatten(2)
    weights = (q.transpose(1, 2) @ k).softmax(-1)
    return block.gamma * (v @ weights.transpose(1, 2)).view(x.shape) + x


def plain_channel_affinity(block: ChannelAffinityAttention, x: Tensor) -> Tensor:
    """Affinities taken from the largest of their row."""
    tokens = x.flatten(2)
    energy = tokens @ tokens.transpose(1, 2)
    weights = (energy.max(-1, keepdim=True).values.expand_as(energy) - energy).softmax(-1)
    return block.gamma * (weights @ tokens).view(x.shape) + x


def plain_reverse(block: ReverseAttention, features: Tensor, coarse: Tensor) -> Tensor:
    """All features weighted before any convolution."""
    guide = F.interpolate(coarse, features.shape[2:], mode="bilinear")
    rest = (1 - torch.sigmoid(guide)).expand(-1, features.shape[1], -1, -1).mul(features)
    return block.last(block.inner(block.norm(block.reduce(rest)))) + guide


def plain_gate(block: AttentionGate, x: Tensor, gate: Tensor) -> Tensor:
    """Three convolutions, and the gating signal stretched."""
    theta = block.of_map(x)
    phi = F.interpolate(block.of_gate(gate), theta.shape[2:], mode="bilinear")
    weights = F.interpolate(torch.sigmoid(block.score(F.relu(theta + phi))), x.shape[2:], mode="bilinear")
    return block.project(weights.expand_as(x) * x)


def plain_single_head(block: SingleHeadAttention, x: Tensor) -> Tensor:
    """The map of all pairs, of some channels."""
    attending, rest = x.split([block.widths[2], block.rest], 1)
    q, k, v = block.qkv(block.norm(attending)).flatten(2).split(block.widths, 1)
    weights = (q.transpose(1, 2) @ k * block.widths[0] ** -0.5).softmax(-1)
    return block.project(F.relu(torch.cat([(v @ weights.transpose(1, 2)).view_as(attending), rest], 1)))


def plain_additive(block: AdditiveAttention, x: Tensor) -> Tensor:
    """Gates of queries and keys, one after the other."""

    def gated(t: Tensor, gates: torch.nn.Sequential) -> Tensor:
        t = t * torch.sigmoid(gates[0].score(t))
        mean = F.adaptive_avg_pool2d(t, 1)
        return t * torch.sigmoid(F.conv2d(mean, gates[1].score.weight[..., None, None]))

    q, k, v = block.qkv(x).chunk(3, 1)
    return block.project(block.mix(gated(q, block.gate_query) + gated(k, block.gate_key)) * v)


def plain_top_k(block: ChannelAttention, x: Tensor) -> Tensor:
    """A mask, softmax and product for each share of the channels."""
    heads = len(block.temperature)
    q, k, v = (each.reshape(len(x), heads, -1, x[0, 0].numel()) for each in block.depthwise(block.qkv(x)).chunk(3, 1))
    scores = F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).transpose(2, 3) * block.temperature
    mixed: Tensor | float = 0.0
    for weight, (numerator, denominator) in zip(block.weighting.weights, block.weighting.shares, strict=True):
        kept = scores.topk(scores.shape[-1] * numerator // denominator, -1).indices
        mask = torch.zeros_like(scores).scatter(-1, kept, 1.0)
        mixed = mixed + (scores.masked_fill(mask == 0, -torch.inf).softmax(-1) @ v) * weight
    return block.project_out(mixed.reshape(x.shape))


def plain_deformable(block: DeformableGate, x: Tensor) -> Tensor:
    """Each tap of the kernel gathered from four corners."""
    features = block.narrow(x)
    B, M, H, W = features.shape
    side = block.kernel[0]
    offsets = block.offset(features).view(B, side * side, 2, H, W)
    rows, columns = (torch.arange(n, dtype=x.dtype) for n in (H, W))
    taps = torch.cartesian_prod(*[torch.arange(side) - side // 2] * 2)[None, :, :, None, None]
    places = offsets + taps + torch.stack(torch.meshgrid(rows, columns, indexing="ij"))
    low = places.detach().floor()
    near = places - low
    seen: Tensor | float = 0.0
    for down, right in torch.cartesian_prod(torch.arange(2), torch.arange(2)).tolist():
        row, column = (low[:, :, 0] + down).long(), (low[:, :, 1] + right).long()
        inside = (row >= 0) & (row < H) & (column >= 0) & (column < W)
        index = (row.clamp(0, H - 1) * W + column.clamp(0, W - 1)).flatten(1)
        values = features.flatten(2).gather(2, index[:, None].expand(-1, M, -1)).view(B, M, -1, H, W)
        share = (near[:, :, 0] if down else 1 - near[:, :, 0]) * (near[:, :, 1] if right else 1 - near[:, :, 1])
        seen = seen + values * (share * inside).unsqueeze(1)
    y = F.linear(seen.flatten(1, 2).permute(0, 2, 3, 1), block.deformable.weight.flatten(1), block.deformable.bias)
    return x * torch.sigmoid(block.norm(y)).permute(0, 3, 1, 2)


def torchvision_deformable(block: DeformableGate, x: Tensor) -> Tensor:
    """Through torchvision's operator."""
    from torchvision.ops import deform_conv2d

    features, layer = block.narrow(x), block.deformable
    seen = deform_conv2d(features, block.offset(features), layer.weight, layer.bias, padding=layer.padding)
    return x * torch.sigmoid(block.norm(seen.permute(0, 2, 3, 1))).permute(0, 3, 1, 2)

"""Plain forms of attention between tokens, exact and not, as papers write them: every map of scores is made.

B batch, h heads, N positions, d channels of a head, C channels; maps are (B, H, W, C).
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from plain_windows import bias_of, partition, unpartition
from torch import Tensor, nn

from foveal.core.attention.adaptive_sparse import AdaptiveSparseAttention
from foveal.core.attention.adaptive_spectrum import AdaptiveSpectralMixer
from foveal.core.attention.agent import AgentAttention, AgentBias
from foveal.core.attention.channel_groups import ChannelGroupAttention
from foveal.core.attention.efficient import EfficientAttention
from foveal.core.attention.focused_linear import FocusedLinearAttention
from foveal.core.attention.frequency_filter import AdaptiveFrequencyFilter
from foveal.core.attention.global_filter import GlobalFilter
from foveal.core.attention.global_query import GlobalQueryAttention
from foveal.core.attention.hilo import HiLoAttention
from foveal.core.attention.instance_sparse import InstanceSparseAttention
from foveal.core.attention.linformer import LinformerAttention
from foveal.core.attention.mixture_of_heads import MixtureOfHeadsAttention
from foveal.core.attention.nystrom import NystromAttention
from foveal.core.attention.performer import PerformerAttention
from foveal.core.attention.softmax_free import SoftmaxFreeAttention


def by_head(x: Tensor, heads: int) -> Tensor:
    """(B, N, C) -> (B, h, N, d)."""
    return x.reshape(*x.shape[:2], heads, -1).transpose(1, 2)


def side_by_side(x: Tensor) -> Tensor:
    """(B, h, N, d) -> (B, N, C)."""
    return x.transpose(1, 2).reshape(x.shape[0], x.shape[2], -1)


def softmax_attention(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | float = 0.0) -> Tensor:
    """Scores, softmax and sum."""
    return (q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5 + bias).softmax(-1) @ v


def convolved(layer: nn.Module, x: Tensor) -> Tensor:
    """Apply a layer of channels-first maps to a channels-last one."""
    return layer(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


def plain_agent(block: AgentAttention, x: Tensor) -> Tensor:
    """Two attentions through the agents, their scores made."""
    q, (k, v) = block.q(x), block.kv(x).flatten(1, 2).chunk(2, -1)
    agents = block.pool(q.permute(0, 3, 1, 2)).flatten(2).transpose(1, 2)
    gather, read = (_agent_bias(each, *x.shape[1:3]) for each in (block.gather_bias, block.read_bias))
    q, agents, k, heads_v = (by_head(each, block.heads) for each in (q.flatten(1, 2), agents, k, v))
    gathered = softmax_attention(agents, k, heads_v, gather)
    mixed = side_by_side(softmax_attention(q, agents, gathered, read.transpose(1, 2))).view(x.shape)
    return block.proj(mixed + convolved(block.local.conv, v.reshape(x.shape)))


def _agent_bias(bias: AgentBias, H: int, W: int) -> Tensor:
    rows, columns = bias.along
    grid = F.interpolate(bias.grid, (H, W), mode="bilinear")
    return (grid + rows[..., None] + columns[:, :, None]).flatten(2)


def plain_focused(block: FocusedLinearAttention, x: Tensor) -> Tensor:
    """Features, then keys and values first; every head convolved with the same kernels."""
    B, H, W, C = x.shape
    q, (k, v) = block.q(x).flatten(1, 2), block.kv(x).flatten(1, 2).chunk(2, -1)
    k, scale = k + block.positions.flatten(2).transpose(1, 2), F.softplus(block.scale)
    q, k = (F.relu(q) + 1e-6) / scale, (F.relu(k) + 1e-6) / scale
    q, k = ((y := t**block.power) / y.norm(dim=-1, keepdim=True) * t.norm(dim=-1, keepdim=True) for t in (q, k))
    q, k, v = (by_head(each, block.heads) for each in (q, k, v))
    share = 1 / (q @ k.mean(2, keepdim=True).transpose(2, 3) + 1e-6)
    mixed = q @ (k.transpose(2, 3) * (H * W) ** -0.5 @ (v * (H * W) ** -0.5)) * share
    images = v.transpose(2, 3).reshape(B * block.heads, -1, H, W)
    local = F.conv2d(images, block.kernels, block.bias, padding=block.kernels.shape[2] // 2, groups=images.shape[1])
    return block.proj(side_by_side(mixed).view(x.shape) + local.view(B, C, H, W).permute(0, 2, 3, 1))


def plain_hilo(block: HiLoAttention, x: Tensor) -> Tensor:
    """Windows cut out for some heads, the map pooled for the others."""
    high, low = block.branches["high"], block.branches["low"]
    qkv = high.qkv(partition(x, high.window)).chunk(3, -1)
    near = side_by_side(softmax_attention(*(by_head(each, high.heads) for each in qkv)))
    near = high.proj(unpartition(near, [*x.shape[1:3]], high.window))
    means = F.avg_pool2d(x.permute(0, 3, 1, 2), low.window).flatten(2).transpose(1, 2)
    qkv = low.q(x.flatten(1, 2)), *low.kv(means).chunk(2, -1)
    far = side_by_side(softmax_attention(*(by_head(each, low.heads) for each in qkv)))
    return torch.cat([near, low.proj(far).view(*x.shape[:-1], -1)], -1)


def plain_nystrom(block: NystromAttention, x: Tensor) -> Tensor:
    """Three softmax maps and the iterated inverse of one; as many tokens as landmarks divide."""
    q, k, v = (by_head(each, block.heads) for each in block.qkv(x.flatten(1, 2)).chunk(3, -1))
    q = q * q.shape[-1] ** -0.5
    q_means, k_means = (each.unflatten(2, (block.landmarks, -1)).mean(3) for each in (q, k))
    reads, between, gathers = (
        (a @ b.transpose(2, 3)).softmax(-1) for a, b in ((q, k_means), (q_means, k_means), (q_means, k))
    )
    z, one = between.transpose(2, 3) / between.sum(2).max(), torch.eye(block.landmarks)
    for _ in range(block.iterations):
        az = between @ z
        z = 0.25 * z @ (13 * one - az @ (15 * one - az @ (7 * one - az)))
    mixed = (reads @ z) @ (gathers @ v) + block.local(v)
    return block.proj(side_by_side(mixed)).view(x.shape)


def plain_linformer(block: LinformerAttention, x: Tensor) -> Tensor:
    """Keys and values mixed over all tokens, then scores and softmax."""
    tokens = x.flatten(1, 2)
    keys, values = (
        torch.einsum("bnc,nr->brc", each, mixing)
        for each, mixing in zip(block.kv(tokens).chunk(2, -1), block.mixing, strict=True)
    )
    q, k, v = (by_head(each, block.heads) for each in (block.q(tokens), keys, values))
    return block.proj(side_by_side(softmax_attention(q, k, v)).view(x.shape))


def plain_performer(block: PerformerAttention, x: Tensor) -> Tensor:
    """Positive features of scaled queries and keys, keys and values first."""
    q, k, v = (by_head(each, block.heads) for each in block.qkv(x.flatten(1, 2)).chunk(3, -1))

    def features(t: Tensor, axes: tuple[int, ...]) -> Tensor:
        t = t * t.shape[-1] ** -0.25
        products = torch.einsum("bhnd,md->bhnm", t, block.directions)
        norms = (t**2).sum(-1, keepdim=True) / 2
        stable = products.detach().amax(axes, keepdim=True)
        return len(block.directions) ** -0.5 * (torch.exp(products - norms - stable) + 1e-4)

    q, k = features(q, (-1,)), features(k, (-2, -1))
    share = 1 / torch.einsum("bhnm,bhm->bhn", q, k.sum(2))
    mixed = torch.einsum("bhmd,bhnm,bhn->bhnd", torch.einsum("bhnm,bhnd->bhmd", k, v), q, share)
    return block.proj(side_by_side(mixed).view(x.shape))


class _Inverse(torch.autograd.Function):
    """The inverse by Newton's iterations, with the gradient of an inverse."""

    @staticmethod
    def forward(ctx: Any, kernel: Tensor, iterations: int) -> Tensor:
        regular = kernel + 0.01 * torch.eye(kernel.shape[-1])
        inverse = 1.8 / kernel.abs().sum(-1).amax(-1)[..., None, None] ** 2 * regular
        for _ in range(iterations):
            inverse = 2 * inverse - inverse @ regular @ inverse
        ctx.save_for_backward(inverse)
        return inverse

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (inverse,) = ctx.saved_tensors
        return -inverse.mT @ grad @ inverse.mT, None


def plain_softmax_free(block: SoftmaxFreeAttention, x: Tensor) -> Tensor:
    """Gaussian kernels from squared distances, and the iterated inverse of that between landmarks."""
    B, H, W, C = x.shape
    q, v = (by_head(layer(x.flatten(1, 2)), block.heads) for layer in (block.q, block.v))
    q = q * q.shape[-1] ** -0.25
    images = q.transpose(2, 3).reshape(B * block.heads, -1, H, W)
    marks = F.gelu(block.norm(block.landmarks(images).flatten(2).transpose(1, 2))).unflatten(0, (B, -1))

    def gaussian(a: Tensor, b: Tensor) -> Tensor:
        distances = (a**2).sum(-1)[..., None] + (b**2).sum(-1)[..., None, :] - 2 * a @ b.transpose(2, 3)
        return torch.exp(-distances / 2)

    to_marks, inverse = gaussian(q, marks), _Inverse.apply(gaussian(marks, marks), block.iterations)
    images = v.transpose(1, 2).reshape(B, H * W, C).transpose(1, 2).reshape(B, C, H, W)
    kernels = block.kernels.repeat_interleave(C // block.heads, 0)
    local = F.conv2d(images, kernels, padding=kernels.shape[2] // 2, groups=C).permute(0, 2, 3, 1)
    return block.proj(side_by_side(to_marks @ inverse @ (to_marks.transpose(2, 3) @ v)).view(x.shape) + local)


def plain_global_filter(block: GlobalFilter, x: Tensor) -> Tensor:
    """Spectrum, product, and back."""
    spectrum = torch.fft.rfft2(x, dim=(1, 2), norm="ortho") * torch.view_as_complex(block.weight)
    return torch.fft.irfft2(spectrum, s=x.shape[1:3], dim=(1, 2), norm="ortho")


def plain_frequency_filter(block: AdaptiveFrequencyFilter, x: Tensor) -> Tensor:
    """Each complex product as four real ones."""
    spectrum = torch.fft.rfft2(x, dim=(1, 2), norm="ortho")
    z = spectrum.unflatten(-1, (block.weight1.shape[1], -1))

    def linear(real: Tensor, imaginary: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        def product(part: Tensor, which: int) -> Tensor:
            return torch.einsum("...bi,bio->...bo", part, weight[which])

        return (
            product(real, 0) - product(imaginary, 1) + bias[0],
            product(imaginary, 0) + product(real, 1) + bias[1],
        )

    hidden = (F.relu(part) for part in linear(z.real, z.imag, block.weight1, block.bias1))
    parts = torch.stack(linear(*hidden, block.weight2, block.bias2), -1)
    mask = torch.view_as_complex(F.softshrink(parts, block.threshold)).reshape(spectrum.shape)
    return torch.fft.irfft2(spectrum * mask, s=x.shape[1:3], dim=(1, 2), norm="ortho")


def plain_spectral_mixer(block: AdaptiveSpectralMixer, x: Tensor) -> Tensor:
    """Spectrum of each head, gain, bias, activation, and back."""
    tokens = x.flatten(1, 2)
    scale, shift = block.change(tokens.mean(1)).view(len(x), block.heads, -1, 2).split(1, -1)
    spectrum = torch.fft.rfft(by_head(tokens, block.heads), dim=2, norm="ortho")
    spectrum = spectrum * (block.gain * (1 + scale)) + (block.bias + shift)
    length = spectrum.abs()
    spectrum = spectrum * F.gelu(length) / (length + 1e-6)
    return side_by_side(torch.fft.irfft(spectrum, n=tokens.shape[1], dim=2, norm="ortho")).view(x.shape)


def plain_efficient(block: EfficientAttention, x: Tensor) -> Tensor:
    """Head by head, as its authors write it."""
    q, k, v = block.qkv(x.flatten(1, 2)).transpose(1, 2).chunk(3, 1)
    mixed = []
    for query, key, value in zip(*(each.chunk(block.heads, 1) for each in (q, k, v)), strict=True):
        mixed.append((key.softmax(2) @ value.transpose(1, 2)).transpose(1, 2) @ query.softmax(1))
    return block.proj(torch.cat(mixed, 1).transpose(1, 2)).view(x.shape)


def plain_channel_groups(block: ChannelGroupAttention, x: Tensor) -> Tensor:
    """Keys with values, then all queries."""
    q, k, v = (by_head(each, block.heads) for each in block.qkv(x.flatten(1, 2)).chunk(3, -1))
    weights = ((k * k.shape[-1] ** -0.5).transpose(2, 3) @ v).softmax(-1)
    return block.proj(side_by_side((weights @ q.transpose(2, 3)).transpose(2, 3))).view(x.shape)


def plain_heads_mixture(block: MixtureOfHeadsAttention, x: Tensor) -> Tensor:
    """Cosine attention between all, then every head weighted by its gate."""
    tokens = x.flatten(1, 2)
    q, k, v = (by_head(each, block.heads) for each in block.qkv(tokens).chunk(3, -1))
    scale = F.softplus(block.temperature) * block.log_positions
    scores = (F.normalize(q, dim=-1) + block.query_embedding) * scale @ F.normalize(k, dim=-1).transpose(2, 3)
    mixed = (scores + block.position_bias(list(x.shape[1:3]))).softmax(-1) @ v
    routed = block.route(tokens).softmax(-1)
    mask = F.one_hot(routed.topk(block.active, -1).indices, routed.shape[-1]).sum(-2)
    routed = block.active * routed * mask / (routed * mask).sum(-1, keepdim=True)
    kinds = 2 * block.weigh_kinds(tokens).softmax(-1)
    shared = block.shared * block.weigh_shared(tokens).softmax(-1)
    gates = torch.cat([shared * kinds[..., :1], routed * kinds[..., 1:]], -1)
    return block.proj((mixed.transpose(1, 2) * gates[..., None]).flatten(2)).view(x.shape)


def plain_instance_sparse(block: InstanceSparseAttention, x: Tensor) -> Tensor:
    """Estimates of all pairs, the scores of all but the largest hidden, softmax."""
    q, k, v = (by_head(each, block.heads) for each in block.qkv(x).chunk(3, -1))
    keys = block.gather_keys.t() @ block.narrow_key(k)
    shares = (block.narrow_query(q[:, :, 1:]) @ keys.transpose(2, 3) * block.heads**-0.5).softmax(-1)
    top = shares.topk(block.active, -1)
    few = torch.zeros_like(shares).scatter(-1, top.indices, top.values)
    patterns = block.patterns.abs()
    estimate = few @ (patterns * (patterns > block.threshold)).t()
    kept = torch.zeros_like(estimate).scatter(-1, estimate.topk(block.kept, -1).indices, 1.0)
    kept = torch.cat([torch.ones_like(kept[:, :, :1]), kept], 2)
    scores = q @ k.transpose(2, 3) * q.shape[-1] ** -0.5
    return block.proj(side_by_side(scores.masked_fill(kept == 0, -torch.inf).softmax(-1) @ v))


def plain_global_query(block: GlobalQueryAttention, x: Tensor, query: Tensor) -> Tensor:
    """The queries repeated for every window, then scores, bias, softmax."""
    k, v = (by_head(each, block.heads) for each in block.kv(partition(x, block.window)).chunk(2, -1))
    q = by_head(query.flatten(1, 2), block.heads).repeat_interleave(len(k) // len(x), 0)
    bias = bias_of(block.position, q.shape[2])
    return block.proj(unpartition(side_by_side(softmax_attention(q, k, v, bias)), [*x.shape[1:3]], block.window))


def plain_adaptive_sparse(block: AdaptiveSparseAttention, x: Tensor) -> Tensor:
    """Whole windows: scores and bias, softmax beside squared ReLU."""
    q, k, v = (by_head(each, block.heads) for each in block.qkv(partition(x, block.window)).chunk(3, -1))
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(2, 3) + bias_of(block.position, q.shape[2])
    dense, sparse = block.parts.exp() / block.parts.exp().sum()
    weights = scores.softmax(-1) * dense + F.relu(scores) ** 2 * sparse
    return block.proj(unpartition(side_by_side(weights @ v), [*x.shape[1:3]], block.window))

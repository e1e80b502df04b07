"""The U-block of PMAA: five scales, one global map, and attention that brings both together.

Zou et al., ECAI 2023, arXiv 2303.16565, in the form of the published code. All norms are instance norms without
parameters and the separable layers have no activation, as the authors' training replaces the batch norms, with which
the activations were fused.

Shapes: N batch, C channels, H W pixels; h w positions of a coarser scale.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...core.blocks.drop_path import DropPath
from ...core.blocks.norm import InstanceNorm2d, LayerNorm2d

NUM_SCALES = 5


class Depthwise(nn.Conv2d):
    """A depth-wise convolution without bias that keeps the size; of one pixel it is a product, which is faster.

    Args:
        dim: channels.
        kernel: side in pixels, odd.
    Shape: (N, dim, H, W) -> (N, dim, H, W).
    """

    def __init__(self, dim: int, kernel: int) -> None:
        super().__init__(dim, dim, kernel, padding=kernel // 2, groups=dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the convolved map."""
        if self.kernel_size == (1, 1):
            return x * self.weight.view(1, -1, 1, 1)
        return self._conv_forward(x, self.weight, self.bias)


class SeparableLayer(nn.Module):
    """A spatial and a pointwise convolution, each with instance norm; plus the input where the shape stays.

    Args:
        in_channels: channels in.
        out_channels: channels out.
        kernel: side of the spatial convolution in pixels, odd; with 1 it is depth-wise.
        stride: pixels from one output to the next.
    Shape: (N, in_channels, H, W) -> (N, out_channels, ceil(H / stride), ceil(W / stride)).
    """

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.is_scale = kernel == 1
        self.spatial = (
            Depthwise(in_channels, 1)
            if self.is_scale
            else nn.Conv2d(in_channels, in_channels, kernel, stride, padding=kernel // 2, bias=False)
        )
        self.spatial_norm = InstanceNorm2d(in_channels)
        self.pointwise = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        self.pointwise_norm = InstanceNorm2d(out_channels)
        self.residual = in_channels == out_channels and stride == 1

    def forward(self, x: Tensor) -> Tensor:
        """Return the layer's output."""
        out = self._trained(x) if self.training else self._evaluated(x)
        return out.add_(x) if self.residual else out

    def _trained(self, x: Tensor) -> Tensor:
        return self.pointwise_norm(self.pointwise(self.spatial_norm(self.spatial(x))))

    def _evaluated(self, x: Tensor) -> Tensor:
        """Return the same, without writing out what the first norm gives."""
        y, gain = (x, self.spatial.weight.view(1, -1, 1, 1)) if self.is_scale else (self.spatial(x), None)
        _, scale = standardising(y, gain)
        # The first norm goes into the weights, but for its mean: what is constant over a map, the second one removes.
        weights = self.pointwise.weight.flatten(1) * scale.flatten(1).unsqueeze(1)
        z = torch.matmul(weights, y.flatten(2)).unflatten(2, [y.shape[2], y.shape[3]])
        mean, scale = standardising(z, None)
        return torch.addcmul(-mean * scale, z, scale)


class Injection(nn.Module):
    """Adds a global map to a local one and gates the local one by it; the result has the local size.

    Args:
        dim: channels of both maps.
        kernel: side of the depth-wise convolutions in pixels, odd.
    Shape: local (N, dim, H, W), of the whole (N, dim, h, w) -> (N, dim, H, W).
    """

    def __init__(self, dim: int, kernel: int) -> None:
        super().__init__()
        self.local = Depthwise(dim, kernel)
        self.embed = Depthwise(dim, kernel)
        self.gate = Depthwise(dim, kernel)
        self.norm = InstanceNorm2d(dim)  # has neither parameters nor state, so that one serves all
        self.is_scale = kernel == 1

    def forward(self, local: Tensor, whole: Tensor) -> Tensor:
        """Return the local map that knows of the whole."""
        size = [local.shape[2], local.shape[3]]
        if self.training:
            gate = torch.sigmoid(self.norm(self.gate(whole)))
            added = self.norm(self.embed(whole))
            return torch.addcmul(_enlarged(added, size), self.norm(self.local(local)), _enlarged(gate, size))
        y, gain = (local, self.local.weight.view(1, -1, 1, 1)) if self.is_scale else (self.local(local), None)
        mean, scale = standardising(y, gain)
        # The norm of the local map is applied to the small maps, so that the large one is written only once.
        gate = torch.sigmoid(self.norm(self.gate(whole))) * scale
        added = self.norm(self.embed(whole)) - mean * gate
        return torch.addcmul(_enlarged(added, size), y, _enlarged(gate, size))


def standardising(x: Tensor, gain: Tensor | None, eps: float = 1e-5) -> tuple[Tensor, Tensor]:
    """Return what instance norm takes off a map, and by what it multiplies the rest: the norm is (x - mean) * scale.

    Args:
        x: (N, C, H, W).
        gain: (1, C, 1, 1) by which a map is multiplied before it is normalised; None for 1.
        eps: added to the variance.

    Returns:
        mean and scale, (N, C, 1, 1) both; the mean is that before the gain.
    """
    wide = torch.promote_types(x.dtype, torch.float32)
    mean = x.mean([2, 3], keepdim=True, dtype=wide)
    # Mean and norm are each one fast pass, while PyTorch's variance takes as long as a convolution of one pixel.
    square = torch.linalg.vector_norm(x, 2.0, [2, 3], keepdim=True, dtype=wide).square() / (x.shape[2] * x.shape[3])
    variance = (square - mean.square()).clamp_min(0.0)
    scale = torch.rsqrt(variance + eps) if gain is None else gain * torch.rsqrt(gain.square() * variance + eps)
    return mean.to(x.dtype), scale.to(x.dtype)


def _enlarged(x: Tensor, size: list[int]) -> Tensor:
    return F.interpolate(x, size=size, mode="nearest")


class ConvolutionalModulation(nn.Module):
    """Attention without a map: values weighted by their convolved surroundings (Hou et al. 2022, Conv2Former).

    Args:
        dim: channels.
    Shape: (N, dim, h, w) -> (N, dim, h, w).
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = LayerNorm2d(dim, eps=1e-6)
        self.query = nn.Conv2d(dim, dim, 1)
        self.surroundings = nn.Conv2d(dim, dim, 11, padding=5, groups=dim)
        self.value = nn.Conv2d(dim, dim, 1)
        self.proj = nn.Conv2d(dim, dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the update of the map; the residual is the caller's."""
        y = self.norm(x)
        return self.proj(self.surroundings(F.gelu(self.query(y))) * self.value(y))


class ConvolutionalFeedForward(nn.Module):
    """A feed-forward unit whose hidden map sees its neighbours.

    Args:
        dim: channels.
        expansion: hidden channels as a multiple of `dim`.
    Shape: (N, dim, h, w) -> (N, dim, h, w).
    """

    def __init__(self, dim: int, expansion: int = 4) -> None:
        super().__init__()
        hidden = expansion * dim
        self.norm = LayerNorm2d(dim, eps=1e-6)
        self.expand = nn.Conv2d(dim, hidden, 1)
        self.position = nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden)
        self.reduce = nn.Conv2d(hidden, dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the update of the map; the residual is the caller's."""
        hidden = F.gelu(self.expand(self.norm(x)))
        return self.reduce(hidden + F.gelu(self.position(hidden)))


class TransformerLayer(nn.Module):
    """Modulation, then feed-forward, each scaled per channel and at times left out in training.

    Args:
        dim: channels.
        drop_path: probability of a sample to go without an update in training.
    Shape: (N, dim, h, w) -> (N, dim, h, w).
    """

    def __init__(self, dim: int, drop_path: float = 0.1) -> None:
        super().__init__()
        self.drop_path = DropPath(drop_path)
        self.attention = ConvolutionalModulation(dim)
        self.feed_forward = ConvolutionalFeedForward(dim)
        self.attention_scale = nn.Parameter(torch.full((dim,), 1e-6))
        self.feed_forward_scale = nn.Parameter(torch.full((dim,), 1e-6))

    def forward(self, x: Tensor) -> Tensor:
        """Return the layer's output."""
        x = x + self.drop_path(self.attention_scale[:, None, None] * self.attention(x))
        return x + self.drop_path(self.feed_forward_scale[:, None, None] * self.feed_forward(x))


class UBlock(nn.Module):
    """A U-shaped block that keeps the size of the map (fig. 3 of the paper).

    As published, the decoder starts with the fusions of the scales 3 and 2, where the figure has 4 and 3: the coarsest
    scale acts through the global map alone, so that its fusion, which published weights hold, is left out here.

    Args:
        in_channels: a multiple of `dim`; the residual is the sum of the parts.
        dim: channels out; four times as many inside.
        drop_path: probability of a sample to go without an update of the transformer layer in training.
    Shape: (N, in_channels, H, W), H or W above 16 -> (N, dim, H, W).
    """

    def __init__(self, in_channels: int, dim: int = 32, drop_path: float = 0.1) -> None:
        super().__init__()
        width = 4 * dim
        self.parts = in_channels // dim
        self.project = SeparableLayer(in_channels, width, 1)
        self.scales = nn.ModuleList(SeparableLayer(width, width, 3, stride=min(i + 1, 2)) for i in range(NUM_SCALES))
        self.mixer = TransformerLayer(width, drop_path)
        self.fusions = nn.ModuleList(Injection(width, 1) for _ in range(NUM_SCALES - 1))
        self.decoders = nn.ModuleList(Injection(width, 5) for _ in range(NUM_SCALES - 1))
        self.out = nn.Conv2d(width, dim, 1)
        self.apply(_initialise)

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output."""
        y = self.project(x)
        scales: list[Tensor] = []
        for layer in self.scales:
            y = layer(y)
            scales.append(y)
        whole = self.mixer(_gathered(scales))
        fused = self.fusions[2](scales[2], whole)
        y = self.decoders[3](self.fusions[3](scales[3], whole), fused)
        y = self.decoders[2](fused, y)
        y = self.decoders[1](self.fusions[1](scales[1], whole), y)
        y = self.decoders[0](self.fusions[0](scales[0], whole), y)
        return self.out(y) + torch.stack(x.chunk(self.parts, dim=1)).sum(dim=0)


def _gathered(scales: list[Tensor]) -> Tensor:
    """Return the sum of all scales, each averaged down to the size of the last."""
    whole = scales[-1]
    height, width = whole.shape[2], whole.shape[3]
    for each in scales[:-1]:
        whole = whole + binned(each, height, width)
    return whole


def binned(x: Tensor, height: int, width: int) -> Tensor:
    """Average a map over the bins of `torch.nn.AdaptiveAvgPool2d`, of any size, as two matrix products.

    PyTorch's own cannot be exported to ONNX with an output size that depends on the input.

    Shape: (N, C, H, W) -> (N, C, height, width).
    """
    rows, columns = bin_weights(x.shape[2], height, x), bin_weights(x.shape[3], width, x)
    return torch.matmul(torch.matmul(rows, x), columns.t())


def bin_weights(length: int, bins: int, like: Tensor) -> Tensor:
    """Return how much each sample counts in each bin, (bins, length); bin i is floor(i l/b) to ceil((i + 1) l/b)."""
    first = torch.arange(bins, device=like.device)[:, None]
    sample = torch.arange(length, device=like.device)[None, :]
    # Whole numbers throughout: sample >= floor(i l / b), and sample < ceil((i + 1) l / b).
    inside = ((sample + 1) * bins > first * length) & (sample * bins < (first + 1) * length)
    weights = inside.to(like.dtype)
    return weights / weights.sum(dim=1, keepdim=True)


def _initialise(layer: nn.Module) -> None:
    """Draw convolutions from a normal distribution by their fan-out; biases are zero."""
    if isinstance(layer, nn.Conv2d):
        fan_out = layer.kernel_size[0] * layer.kernel_size[1] * layer.out_channels // layer.groups
        nn.init.normal_(layer.weight, std=math.sqrt(2.0 / fan_out))
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)

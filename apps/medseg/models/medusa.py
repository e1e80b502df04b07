"""MEDUSA: one attention body with heads at every scale of a classifier, for X-rays and other 2D images.

MEDUSA, as reconstructed from the abstract of Aboutalebi et al. 2022 (Frontiers in Medicine, arXiv 2110.06063) and the
data side of COVID-Net; the paper's network is not published, so results are to be called "MEDUSA-style".

Given by these sources: a single encoder-decoder attention body, heads from it to several scales, a body that reads the
whole image as one normalised grey channel of 256 pixels. Chosen here: the layers, widths and gates.
"""

# N batch, C channels, H W pixels of the image, S side of the body's image, D channels of a scale, h w its pixels

from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ....core.blocks.convolution import normed
from ....core.blocks.resampling import linear_resize
from ..backbone import Backbone

LUMA = (0.299, 0.587, 0.114)
Gate = Literal["neutral", "sigmoid"]
Attended = tuple[Tensor, Tensor, list[Tensor]]
"""Logits (N, classes), the attention map (N, 1, S, S) in 0..1, and the gate of every scale, each (N, D, h, w)."""
MAP_TITLES = ("attention", "scale 1", "scale 2", "scale 3", "scale 4")
"""What the maps of `AttentionMaps` show."""


def double_convolution(in_dim: int, dim: int) -> nn.Sequential:
    """Return two of [3x3 convolution, batch norm, ReLU]."""
    first, second = (nn.Conv2d(channels, dim, 3, padding=1, bias=False) for channels in (in_dim, dim))
    return nn.Sequential(*normed(first), *normed(second))


class AttentionBody(nn.Module):
    """The one attention body: a U-Net that sees the whole image (Ronneberger et al. 2015).

    Args:
        in_channels: channels of its image.
        widths: channels of the levels, from the finest.

    Attributes:
        size_multiple: H and W must be multiples of it.
    Shape: (N, C, H, W) -> (N, 1, H, W), logits of the attention.
    """

    def __init__(self, in_channels: int = 1, widths: tuple[int, ...] = (32, 64, 128, 256, 256)) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.size_multiple = 2 ** (len(widths) - 1)
        deeper = list(pairwise(widths))
        self.encode = nn.ModuleList(double_convolution(*dims) for dims in [(in_channels, widths[0]), *deeper])
        self.rise = nn.ModuleList(nn.ConvTranspose2d(below, dim, 2, stride=2) for dim, below in reversed(deeper))
        self.decode = nn.ModuleList(double_convolution(2 * dim, dim) for dim, _ in reversed(deeper))
        self.to_map = nn.Conv2d(widths[0], 1, 1)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """Return the logits of the attention.

        Raises:
            ValueError: a side is not a multiple of `size_multiple`.
        """
        height, width = x_NCHW.shape[-2], x_NCHW.shape[-1]
        if height % self.size_multiple != 0 or width % self.size_multiple != 0:
            raise ValueError(
                f"the attention body takes sides that are multiples of {self.size_multiple}, not {height} x {width}"
            )
        skips: list[Tensor] = []
        for i, encode in enumerate(self.encode):
            x_NCHW = encode(x_NCHW if i == 0 else F.max_pool2d(x_NCHW, 2))
            skips.append(x_NCHW)
        below = skips.pop()
        for rise, decode in zip(self.rise, self.decode, strict=False):
            below = decode(torch.cat([skips.pop(), rise(below)], dim=1))
        return self.to_map(below)


class ScaleHead(nn.Module):
    """Joins the global attention with the local context of one scale into a gate of its features.

    The last convolution starts at zero. With the gate "neutral", twice the sigmoid, the network starts as its plain
    backbone, and the attention is learned as a correction; with "sigmoid" it starts by halving the features.

    Args:
        dim: channels of the features.
        hidden: channels of the local context.
        gate: "neutral" for gates in 0..2, "sigmoid" for 0..1.
    Shape: (N, D, h, w) and (N, 1, S, S) -> (N, D, h, w).
    """

    def __init__(self, dim: int, hidden: int = 32, gate: Gate = "neutral") -> None:
        super().__init__()
        self.local = nn.Sequential(*normed(nn.Conv2d(dim, hidden, 1, bias=False)))
        self.join = nn.Sequential(*normed(nn.Conv2d(hidden + 1, hidden, 3, padding=1, bias=False)))
        self.to_gate = nn.Conv2d(hidden, dim, 1)
        nn.init.zeros_(self.to_gate.weight)
        nn.init.zeros_(self.to_gate.bias)
        self.highest = 2.0 if gate == "neutral" else 1.0

    def forward(self, x_NDhw: Tensor, attention_N1SS: Tensor) -> Tensor:
        """Return the gate."""
        attention_N1hw = resize_map(attention_N1SS, x_NDhw)
        joined = self.join(torch.cat([self.local(x_NDhw), attention_N1hw], dim=1))
        return self.highest * torch.sigmoid(self.to_gate(joined))


class OpenGate(nn.Module):
    """Stands where a scale has no head: every feature passes. Shape: (N, D, h, w), (N, 1, S, S) -> (N, D, h, w)."""

    def forward(self, x_NDhw: Tensor, attention_N1SS: Tensor) -> Tensor:
        """Return ones."""
        return torch.ones_like(x_NDhw)


def resize_map(attention_N1SS: Tensor, features_NDhw: Tensor) -> Tensor:
    """Return the attention map at the size of features, by antialiased bilinear interpolation.

    Without antialiasing 256 -> 15 pixels would skip most of the map. The same as `torch.nn.functional.interpolate`,
    written as two products, because that has no half precision on a CPU and differs in ONNX at a side of 1.
    """
    rows = triangle_weights(attention_N1SS, attention_N1SS.shape[-2], features_NDhw.shape[-2])
    columns = triangle_weights(attention_N1SS, attention_N1SS.shape[-1], features_NDhw.shape[-1])
    count = attention_N1SS.shape[0]
    # Batched products on purpose: exports of the other forms refuse a side or a batch of 1.
    tall = torch.bmm(rows.expand(count, -1, -1), attention_N1SS[:, 0])
    return torch.bmm(tall, columns.mT.expand(count, -1, -1))[:, None]


def triangle_weights(like: Tensor, length: int, size: int) -> Tensor:
    """Return the weights, (size, length), with which `length` samples make `size`; a triangle as wide as both need."""
    step = length / torch.scalar_tensor(size, dtype=torch.float64, device=like.device)
    centres = (torch.arange(size, dtype=torch.float64, device=like.device) + 0.5) * step
    places = torch.arange(length, dtype=torch.float64, device=like.device) + 0.5
    weights = (1 - (places - centres[:, None]).abs() / step.clamp(min=1)).clamp(min=0)
    return (weights / weights.sum(dim=1, keepdim=True)).to(like.dtype)


class MEDUSA(nn.Module):
    """An image classifier whose scales are gated by one shared attention body; see the head of this file.

    Args:
        num_classes: classes.
        in_channels: channels of the image.
        backbone: a convolutional network of timm with four feature levels.
        scales: the scales, of 1..4 from the finest, that have a head.
        widths: channels of the body's levels.
        body_size: side of the body's image in pixels.
        gate: "neutral" starts as the plain backbone; "sigmoid" is the closest reading of attention times features.

    Attributes:
        size_multiple: 1; any size of image is taken.

    Raises:
        ValueError: an argument is out of its range.
    Shape: (N, C, H, W) in 0..1 -> (N, classes), logits.
    """

    size_multiple = 1

    def __init__(
        self,
        num_classes: int = 2,
        in_channels: int = 3,
        backbone: str = "resnet50",
        scales: tuple[int, ...] = (1, 2, 3, 4),
        widths: tuple[int, ...] = (32, 64, 128, 256, 256),
        body_size: int = 256,
        gate: Gate = "neutral",
    ) -> None:
        super().__init__()
        if not scales or not set(scales) <= {1, 2, 3, 4}:
            raise ValueError(f"scales must be some of 1, 2, 3, 4, not {tuple(scales)}")
        if gate not in ("neutral", "sigmoid"):
            raise ValueError(f"gate must be neutral or sigmoid, not {gate!r}")
        self.num_classes = num_classes
        self.in_channels = in_channels
        self.body_size = body_size
        self.backbone = Backbone(backbone, in_channels, num_classes)
        self.body = AttentionBody(1, tuple(widths))
        if body_size % self.body.size_multiple != 0:
            raise ValueError(f"body_size must be a multiple of {self.body.size_multiple}, not {body_size}")
        self.heads = nn.ModuleList(
            ScaleHead(dim, gate=gate) if number in scales else OpenGate()
            for number, dim in enumerate(self.backbone.dims, start=1)
        )
        shares = LUMA if in_channels == 3 else (1 / in_channels,) * in_channels
        self.register_buffer("luma", torch.tensor(shares).view(1, in_channels, 1, 1), persistent=False)

    def load_pretrained(self, source: str | None = None) -> None:
        """Fill the backbone but for its classifier; see `Backbone.load_pretrained`.

        Raises:
            UserError: the weights cannot be had, or do not fit.
        """
        self.backbone.load_pretrained(source)

    def body_image(self, image_NCHW: Tensor) -> Tensor:
        """Return what the body sees, (N, 1, S, S): the image in grey, less its mean, over its deviation.

        Plain bilinear resizing and the population's deviation, as in COVID-Net.
        """
        grey = (image_NCHW * self.luma.to(image_NCHW.dtype)).sum(dim=1, keepdim=True)
        small = linear_resize(grey, [self.body_size, self.body_size])
        deviation, mean = torch.std_mean(small, dim=[1, 2, 3], correction=0, keepdim=True)
        return (small - mean) / (deviation + 1e-6)

    def forward(self, image_NCHW: Tensor, body_image_N1SS: Tensor | None = None) -> Tensor:
        """Return the logits, (N, classes).

        Args:
            image_NCHW: the image, 0..1.
            body_image_N1SS: what the body sees in place of `body_image(image_NCHW)`.
        """
        return self.attend(image_NCHW, body_image_N1SS)[0]

    @torch.jit.export
    def attend(self, image_NCHW: Tensor, body_image_N1SS: Tensor | None = None) -> Attended:
        """Return the logits with the attention map and the gate of every scale, 1 where a scale has no head."""
        if body_image_N1SS is None:
            body_image_N1SS = self.body_image(image_NCHW)
        attention_N1SS = torch.sigmoid(self.body(body_image_N1SS))
        x_NDhw = self.backbone.stage(image_NCHW, 0)
        gates: list[Tensor] = []
        for i, head in enumerate(self.heads):
            x_NDhw = self.backbone.stage(x_NDhw, i + 1)
            gate_NDhw = head(x_NDhw, attention_N1SS)
            x_NDhw = x_NDhw * gate_NDhw
            gates.append(gate_NDhw)
        return self.backbone.classify(x_NDhw), attention_N1SS, gates


class AttentionMaps(nn.Module):
    """MEDUSA as a program that also gives its attention, for overlays and for export.

    Args:
        net: the network.
    Shape: (N, C, H, W) -> (N, classes), logits; (N, 1, H, W), attention in 0..1; (N, 4, H, W), mean gate of each scale.
    """

    def __init__(self, net: MEDUSA) -> None:
        super().__init__()
        self.net = net

    def forward(self, image_NCHW: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the logits and the maps at the image's size."""
        logits, attention, gates = self.net.attend(image_NCHW)
        maps = [attention] + [gate.mean(dim=1, keepdim=True) for gate in gates]
        shown = torch.cat([linear_resize(each.float(), image_NCHW.shape[2:]) for each in maps], dim=1)
        return logits, shown[:, :1], shown[:, 1:]

"""Super-resolution, measured: `python benchmarks/superres.py quality|speed|limits [ROW ...]`.

quality: the weights that come along, on photographs in datasets/restoration. speed: beside the plain formulation; every
row first checks that both forms agree, then times them in turns in one process, and takes peak memory in a fresh
process for each. limits: sizes from file to file, and lower precision. The table goes into benchmarks/RESULTS.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from limits import FileRow, Subject, limits_table, picture
from measure import Forms, forms_table, in_training, in_use, run_app
from quality import Run, Score, quality_table
from torch import Tensor, nn

from foveal import load_model
from foveal.apps.superres.models.dlgsanet import DLGSANet
from foveal.core.attention.channel import ChannelAttention
from foveal.core.attention.dynamic import DynamicLocalAttention
from foveal.core.blocks.mlp import GatedDepthwiseFeedForward
from foveal.core.blocks.norm import LayerNorm2d
from foveal.core.weights.card import Card
from foveal.kernels.channel_attention import channel_scores, mix_channels
from foveal.kernels.dynamic_conv import dynamic_conv2d


def plain_dynamic_conv(x: Tensor, kernels: Tensor) -> Tensor:
    """The dynamic convolution by unfolding: every neighbour of every position is copied."""
    n, channels, height, width = x.shape
    groups, taps = kernels.shape[1:3]
    side = math.isqrt(taps)
    patches = F.unfold(x, side, padding=side // 2).view(n, groups, channels // groups, taps, height * width)
    return torch.einsum("ngctp,ngtp->ngcp", patches, kernels.flatten(3)).reshape(x.shape)


def plain_channel_attention(q: Tensor, k: Tensor, v: Tensor, temperature: Tensor) -> Tensor:
    """The attention as a chain of products of normalised copies; (N, L, C) in and out, one product per head."""
    heads = temperature.shape[0]
    q, k, v = (t.mT.unflatten(1, (heads, -1)) for t in (q, k, v))
    weights = F.relu(F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).mT * temperature)
    return (weights @ v).flatten(1, 2).mT


def plain_norm(norm: LayerNorm2d, x: Tensor) -> Tensor:
    """Layer norm of positions as tokens, back to a map with channels first."""
    tokens = F.layer_norm(x.flatten(2).mT, norm.weight.shape, norm.weight, norm.bias, norm.eps)
    return tokens.mT.unflatten(2, x.shape[2:]).contiguous()


def plain_mixer(mixer: nn.Module, x: Tensor) -> Tensor:
    """One token mixer."""
    if isinstance(mixer, DynamicLocalAttention):
        values = mixer.project_in(x)
        kernels = mixer.expand(mixer.depthwise(mixer.reduce(values))).unflatten(1, (mixer.groups, mixer.taps))
        return mixer.project_out(plain_dynamic_conv(values, kernels))
    qkv = mixer.depthwise(mixer.qkv(x))
    whole = mixer.training or mixer.window is None
    return mixer.project_out(_attend(mixer, qkv) if whole else plain_windows(mixer, qkv))


def plain_windows(mixer: ChannelAttention, qkv: Tensor) -> Tensor:
    """The test-time windows one by one, averaged where they overlap."""
    total = torch.zeros_like(qkv[:, : qkv.shape[1] // 3])
    count = torch.zeros_like(total[:, :1])
    (tops, height), (lefts, width) = (window_starts(size, mixer.window) for size in qkv.shape[2:])
    for top in tops:
        for left in lefts:
            place = (..., slice(top, top + height), slice(left, left + width))
            total[place] += _attend(mixer, qkv[place])
            count[place] += 1
    return total / count


def window_starts(size: int, window: int) -> tuple[list[int], int]:
    """Where the test-time windows start along one axis, and their length."""
    length = min(size, window)
    steps = max((size - 1) // length, 1)
    step = max(math.ceil((size - length) / steps), 1)
    return [*range(0, size - length, step), size - length], length


def plain_feed_forward(unit: GatedDepthwiseFeedForward, x: Tensor) -> Tensor:
    """The gated feed-forward unit."""
    content, gate = unit.depthwise(unit.project_in(x)).chunk(2, dim=1)
    return unit.project_out(F.gelu(content) * gate)


def plain_network(net: DLGSANet, x: Tensor) -> Tensor:
    """DLGSANet in the plain formulation, with the weights of `net`."""
    shallow = net.shallow(x - net.mean)
    deep = shallow
    for group in net.groups:
        y = deep
        for block in group.blocks:
            y = y + plain_mixer(block.mixer, plain_norm(block.norm1, y))
            y = y + plain_feed_forward(block.feed_forward, plain_norm(block.norm2, y))
        deep = deep + group.conv(y)
    return F.pixel_shuffle(net.upsample(shallow + net.fuse(deep)), net.scale) + net.mean


def inference() -> Forms:
    """DLGSANet-light x4 on a 320x180 image."""
    net = DLGSANet(4, groups=4).eval()
    x = torch.rand(1, 3, 180, 320)
    return in_use(partial(plain_network, net), net, x)


def training() -> Forms:
    """One training step of DLGSANet-light x4, eight patches of 48x48."""
    net = DLGSANet(4, groups=4)
    x, truth = torch.rand(8, 3, 48, 48), torch.rand(8, 3, 192, 192)
    return in_training(net, lambda: F.l1_loss(plain_network(net, x), truth), lambda: F.l1_loss(net(x), truth))


def dynamic_conv() -> Forms:
    """The dynamic convolution, 48 channels, 8 kernels of 7x7 a position, 128x128, forward."""
    x, kernels = torch.randn(1, 48, 128, 128), torch.randn(1, 8, 49, 128, 128)
    return lambda: plain_dynamic_conv(x, kernels), lambda: dynamic_conv2d(x, kernels)


def dynamic_conv_backward() -> Forms:
    """The same, forward and backward."""
    x, kernels = torch.randn(1, 48, 128, 128, requires_grad=True), torch.randn(1, 8, 49, 128, 128, requires_grad=True)
    grad = torch.randn(1, 48, 128, 128)

    def run(form: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        return torch.cat([each.flatten() for each in torch.autograd.grad(form(x, kernels), (x, kernels), grad)])

    return lambda: run(plain_dynamic_conv), lambda: run(dynamic_conv2d)


def channels() -> Forms:
    """The channel attention, 48 channels, 6 heads, 128x128 positions, forward."""
    q, k, v = (torch.randn(1, 128 * 128, 48) for _ in range(3))
    temperature = torch.ones(6, 1, 1)

    def ours() -> Tensor:
        return mix_channels(torch.relu(channel_scores(q, k, temperature)), v)

    return lambda: plain_channel_attention(q, k, v, temperature), ours


ROWS = {
    "inference": inference,
    "training": training,
    "dynamic_conv": dynamic_conv,
    "dynamic_conv_backward": dynamic_conv_backward,
    "channel_attention": channels,
}


def _attend(mixer: ChannelAttention, qkv: Tensor) -> Tensor:
    q, k, v = qkv.flatten(2).mT.chunk(3, -1)
    return plain_channel_attention(q, k, v, mixer.temperature).mT.unflatten(2, qkv.shape[2:])


def tiny() -> tuple[nn.Module, Card]:
    """DLGSANet tiny x2, with the weights that come along."""
    net = load_model("dlgsanet-tiny-x2")
    return net, net.card


FILES = {
    "smallest": FileRow("`infer`, tiny x2", (2, 2), picture, "photograph.png", "larger.png"),
    "large": FileRow("`infer`, tiny x2", (1000, 1500), picture, "photograph.png", "larger.png"),
    "photograph": FileRow("`infer`, tiny x2", (4000, 6000), picture, "photograph.png", "larger.png"),
}
LIMITS = Subject("superres", tiny, (1, 3, 64, 64), (64, 64), "pixels", FILES)
NOT_FOR = (
    "Not for measuring or identifying: detail that the small picture does not hold is guessed. The weights that come "
    "along know pictures shrunk by the bicubic filter; noise and compression are made larger with the rest."
)
HELD_OUT = {"cid22": "CID22 validation, photographs", "kodak": "Kodak, photographs"}
METHODS = {"DLGSANet tiny": "", "bicubic": "bicubic_"}
SCORES = (Score("psnr", "PSNR, dB", 2), Score("ssim", "SSIM"))
QUALITY = {
    f"x{scale}": Run(
        "superres",
        f"demo_x{scale}",
        {name: f"{text}, x{scale}" for name, text in HELD_OUT.items()},
        METHODS,
        SCORES,
        checkpoint=f"dlgsanet-tiny-x{scale}",
    )
    for scale in (2, 4)
}

NOTE = (
    "Of the weights that come along: 5,000 steps in 80 minutes on one CPU core each, on 31 openly licensed photographs."
)

if __name__ == "__main__":
    title = "Super-resolution"
    speed = forms_table(__file__, f"{title}: speed and memory", ROWS)
    run_app(__doc__, quality_table(title, QUALITY, NOTE), speed, limits_table(__file__, title, LIMITS, NOT_FOR))

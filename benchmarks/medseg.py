"""Speed and memory of segmentation of slices beside the plain formulation: `python benchmarks/medseg.py [ROW ...]`.

Every row first checks that both forms agree (a training step in float64), then times them in turns in one process;
peak memory is taken in a fresh process for each form. The table is printed and appended to benchmarks/RESULTS.md.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from measure import Forms, run_forms
from torch import Tensor, nn

from foveal.apps.medseg.models.msga import MSGA, Stage, Supervised
from foveal.core.attention.channel_affinity import ChannelAffinityAttention
from foveal.core.attention.position import PositionAttention
from foveal.core.losses.guided_attention import GuidedAttentionLoss

STEP_IMAGES = 2


def plain_position(block: PositionAttention, x: Tensor) -> Tensor:
    """The position attention with the map of all pairs written out."""
    q, k, v = (layer(x).flatten(2) for layer in (block.query, block.key, block.value))
    attention = torch.softmax(torch.bmm(q.mT, k), dim=-1)
    return block.gamma * torch.bmm(v, attention.mT).view(x.shape) + x


def plain_channel(block: ChannelAffinityAttention, x: Tensor) -> Tensor:
    """The channel attention as its authors wrote it."""
    maps = x.flatten(2)
    energy = torch.bmm(maps, maps.mT)
    attention = torch.softmax(energy.max(-1, keepdim=True).values.expand_as(energy) - energy, dim=-1)
    return block.gamma * torch.bmm(attention, maps).view(x.shape) + x


def plain_unit(unit: nn.Sequential, x: Tensor) -> Tensor:
    """An attention unit."""
    before, block, after = unit
    attend = plain_position if isinstance(block, PositionAttention) else plain_channel
    return after(attend(block, before(x)))


def plain_stage(stage: Stage, inputs: list[Tensor]) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """One stage: attended features, codes, reconstructions."""
    codes, reconstructions = zip(*(stage.semantic(each) for each in inputs), strict=True)
    attended = [
        scale.project((plain_unit(scale.channel, x) + plain_unit(scale.position, x)) * scale.gate(reconstruction))
        for scale, x, reconstruction in zip(stage.scales, inputs, reconstructions, strict=True)
    ]
    return attended, list(codes), list(reconstructions)


def plain_network(net: MSGA, x: Tensor) -> Tensor | Supervised:
    """MSGA in the plain formulation, with the weights of `net`."""
    features = [down(level) for down, level in zip(net.down, net.backbone(x), strict=True)]
    features = [features[0], *(resized(each, features[0]) for each in features[1:])]
    fused = net.fuse(torch.cat(features[::-1], 1))
    inputs1 = [torch.cat([each, fused], 1) for each in features]
    attended, codes1, reconstructions1 = plain_stage(net.stage1, inputs1)
    inputs2 = [torch.cat([each, guide * fused], 1) for each, guide in zip(features, attended, strict=True)]
    refined, codes2, reconstructions2 = plain_stage(net.stage2, inputs2)
    second = [resized(head(each), x) for head, each in zip(net.heads2, refined, strict=True)]
    if not net.training:
        return sum(second) / len(second)
    first = [resized(head(each), x) for head, each in zip(net.heads1, features, strict=True)]
    return Supervised(first + second, codes1 + codes2, inputs1 + inputs2, reconstructions1 + reconstructions2)


def resized(x: Tensor, like: Tensor) -> Tensor:
    """Resize to the height and width of another map."""
    return F.interpolate(x, size=like.shape[2:], mode="bilinear", align_corners=False)


def network() -> MSGA:
    """MSGA as published, with attention that contributes."""
    net = MSGA()
    for module in net.modules():
        if isinstance(module, PositionAttention | ChannelAffinityAttention):
            nn.init.constant_(module.gamma, 0.5)
    return net


def inference() -> Forms:
    """MSGA, five classes, on a 256x256 slice."""
    net = network().eval()
    x = torch.rand(1, 1, 256, 256)

    def run(forward: Callable[[Tensor], Tensor]) -> Tensor:
        with torch.inference_mode():
            return forward(x)

    return lambda: run(lambda image: plain_network(net, image)), lambda: run(net)


def training(side: int = 256, dtype: torch.dtype = torch.float32) -> Forms:
    """One training step of MSGA, two slices of 256x256, all losses."""
    net, loss = network().to(dtype), GuidedAttentionLoss()
    x, target = torch.rand(STEP_IMAGES, 1, side, side, dtype=dtype), torch.randint(5, (STEP_IMAGES, side, side))

    def step(forward: Callable[[Tensor], Supervised]) -> Tensor:
        net.zero_grad()
        loss(forward(x), target).backward()
        return torch.cat([parameter.grad.flatten() for parameter in net.parameters()])

    return lambda: step(lambda image: plain_network(net, image)), lambda: step(net)


def position(channels: int = 64, *sizes: int) -> Forms:
    """The position attention, 64 channels, 64x64 positions, forward."""
    block, x = attention(channels, sizes or (64, 64))

    def run(forward: Callable[[Tensor], Tensor]) -> Tensor:
        with torch.inference_mode():
            return forward(x)

    return lambda: run(lambda image: plain_position(block, image)), lambda: run(block)


def position_backward(channels: int = 64, *sizes: int) -> Forms:
    """The same, forward and backward."""
    block, x = attention(channels, sizes or (64, 64))
    wanted = [x.requires_grad_(), *block.parameters()]
    grad = torch.randn_like(x)

    def run(form: Callable[[Tensor], Tensor]) -> Tensor:
        return torch.cat([each.flatten() for each in torch.autograd.grad(form(x), wanted, grad)])

    return lambda: run(lambda image: plain_position(block, image)), lambda: run(block)


def attention(channels: int, sizes: tuple[int, ...]) -> tuple[PositionAttention, Tensor]:
    """The block, by default of MSGA at 256x256 pixels, and a map for it."""
    block = PositionAttention(channels, spatial_dims=len(sizes))
    nn.init.constant_(block.gamma, 0.5)
    return block, torch.randn(1, channels, *sizes)


ROWS = {"inference": inference, "training": training, "position": position, "position_backward": position_backward}

# The rounding of float32 grows a thousandfold in a whole step of a new network, so its forms are held together in
# float64, on a smaller slice.
CHECKED = ROWS | {"training": lambda: training(64, torch.float64)}


if __name__ == "__main__":
    run_forms(__file__, __doc__, "Segmentation of slices", ROWS, CHECKED)

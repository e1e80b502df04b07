"""Speed and memory of segmentation of volumes: `python benchmarks/volseg.py [ROW ...]`.

Rows of D-Former and of the position attention set them beside their plain formulation: every row first checks in double
precision that both forms agree. The last rows set D-Former beside MONAI's SwinUNETR, which gives something else. Both
are timed in turns in one process; peak memory is taken in a fresh process for each. The table is printed and appended
to benchmarks/RESULTS.md.
"""

from __future__ import annotations

from collections.abc import Callable

import medseg
import torch
import torch.nn.functional as F
from measure import Forms, run_forms
from monai.losses import DiceCELoss
from torch import Tensor, nn

from foveal.apps.volseg.models.dformer import DFormer, Expansion, Head, Stage
from foveal.apps.volseg.models.swinunetr import SwinUNETR
from foveal.core.attention.volume_groups import (
    VolumeGroupAttention,
    VolumeGroupBlock,
    key_bias,
)
from foveal.kernels.window_attention.layout import partition, unpartition

THIN = (16, 96, 96)  # voxels, of a crop of thick slices, with the patch for these
THICK = (32, 96, 96)
CLASSES = 4


def plain_attention(layer: VolumeGroupAttention, x: Tensor) -> Tensor:
    """Attention in groups with the map of all pairs written out, and padding masked whether there is some or none."""
    B, D, H, W, _ = x.shape
    dilated = layer.dilated and not layer.is_low(H)
    padded, members = layer.layout([D, H, W])
    missing = [0, 0, 0, padded[2] - W, 0, padded[1] - H, 0, padded[0] - D]
    groups = partition(F.pad(x, missing), members, dilated)
    q, k, v = layer.qkv(groups).reshape(*groups.shape[:2], 3, layer.heads, -1).permute(2, 0, 3, 1, 4)
    scores = q * q.shape[-1] ** -0.5 @ k.transpose(-2, -1)
    if padded[1] != H or padded[2] != W or (padded[0] != D and not dilated):
        real = F.pad(x.new_ones(B, D, H, W, 1), missing)
        scores = scores + key_bias(partition(real, members, dilated).squeeze(-1))
    weights = torch.softmax(scores, dim=-1)
    mixed = unpartition((weights @ v).transpose(1, 2).reshape(groups.shape), padded, members, dilated)
    return layer.proj(mixed[:, :D, :H, :W].contiguous())


def plain_block(block: VolumeGroupBlock, x: Tensor) -> Tensor:
    """A transformer block."""
    x = x + plain_attention(block.attention, block.norm1(x))
    return x + block.mlp(block.norm2(x))


def plain_stage(stage: Stage, x: Tensor) -> Tensor:
    """Position encoding and blocks."""
    x = x + stage.position(x.permute(0, 4, 1, 2, 3)).permute(0, 2, 3, 4, 1)
    for block in stage.blocks:
        x = plain_block(block, x)
    return x


def plain_expansion(layer: Expansion, x: Tensor) -> Tensor:
    """Finer tokens, in their places before they are normed."""
    B, D, H, W, _ = x.shape
    d, h, w = layer.factor
    spread = layer.expand(x).reshape(B, D, H, W, d, h, w, -1).permute(0, 1, 4, 2, 5, 3, 6, 7)
    return layer.norm(spread.reshape(B, D * d, H * h, W * w, -1))


def plain_head(head: Head, x: Tensor) -> Tensor:
    """Logits by a convolution of the tokens of all voxels."""
    tokens = plain_expansion(head.expansion, x).permute(0, 4, 1, 2, 3)
    return F.conv3d(tokens, head.classify.weight[..., None, None, None])


def plain_network(net: DFormer, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
    """D-Former in the plain formulation, with the weights of `net`."""
    x, skips = net.embedding(x), []
    for stage, merging in zip(net.encoder, net.merging, strict=True):
        skips.append(x)
        x = merging(plain_stage(stage, x))
    x, raised = net.bottleneck_norm(plain_stage(net.bottleneck, x)), []
    for expansion, fusion, stage in zip(net.expansions, net.fusions, net.decoder, strict=True):
        x = plain_expansion(expansion, x)
        raised.insert(0, x)
        x = plain_stage(stage, fusion(torch.cat([x, skips.pop()], dim=-1)))
    raised[0] = net.norm(x)
    if not net.training:
        return plain_head(net.heads[0], raised[0])
    return plain_head(net.heads[0], raised[0]), plain_head(net.heads[1], raised[1])


def inference(dtype: torch.dtype = torch.float32) -> Forms:
    """D-Former, patch 1x4x4, on a volume of 16x96x96."""
    net, x = DFormer(CLASSES, patch=(1, 4, 4)).to(dtype).eval(), torch.randn(1, 1, *THIN, dtype=dtype)
    return lambda: without_gradients(lambda: plain_network(net, x)), lambda: without_gradients(lambda: net(x))


def training(dtype: torch.dtype = torch.float32) -> Forms:
    """One training step of D-Former, patch 1x4x4, on a volume of 16x96x96, two resolutions supervised."""
    net, x = DFormer(CLASSES, patch=(1, 4, 4)).to(dtype), torch.randn(1, 1, *THIN, dtype=dtype)
    target = torch.randint(CLASSES, (1, 1, *THIN))
    return lambda: step(net, lambda: plain_network(net, x), target), lambda: step(net, lambda: net(x), target)


def without_gradients(call: Callable[[], Tensor]) -> Tensor:
    """Run a network as for use."""
    with torch.inference_mode():
        return call()


def step(net: nn.Module, call: Callable[[], Tensor | tuple[Tensor, ...]], target: Tensor) -> Tensor:
    """Return the gradients of Dice and cross-entropy of all levels, (parameters,)."""
    net.zero_grad()
    outputs, loss = call(), DiceCELoss(to_onehot_y=True, softmax=True)
    levels = outputs if isinstance(outputs, tuple) else (outputs,)
    sum(loss(each, F.interpolate(target.float(), each.shape[2:])) for each in levels).backward()
    return torch.cat([parameter.grad.flatten() for parameter in net.parameters()])


def position() -> Forms:
    """The position attention of MPU-Net in a volume of 48x256x256: 256 channels, 6x32x32 positions, forward."""
    return medseg.position(256, 6, 32, 32)


def position_backward() -> Forms:
    """The same, forward and backward."""
    return medseg.position_backward(256, 6, 32, 32)


def swin_inference() -> Forms:
    """D-Former (50 million parameters) against SwinUNETR (62 million) on a volume of 32x96x96."""
    swin, dformer, x = *networks(), torch.randn(1, 1, *THICK)
    swin.eval(), dformer.eval()
    return lambda: without_gradients(lambda: swin(x)), lambda: without_gradients(lambda: dformer(x))


def swin_training() -> Forms:
    """One training step of the same."""
    swin, dformer, x = *networks(), torch.randn(1, 1, *THICK)
    target = torch.randint(CLASSES, (1, 1, *THICK))
    return lambda: step(swin, lambda: swin(x), target), lambda: step(dformer, lambda: dformer(x), target)


def networks() -> tuple[SwinUNETR, DFormer]:
    """Both as published."""
    return SwinUNETR(CLASSES), DFormer(CLASSES)


ROWS = {
    "inference": inference,
    "training": training,
    "position": position,
    "position_backward": position_backward,
    "swin_inference": swin_inference,
    "swin_training": swin_training,
}
CHECKED = {
    "inference": lambda: inference(torch.float64),
    "training": lambda: training(torch.float64),
    "position": position,
    "position_backward": position_backward,
}


if __name__ == "__main__":
    run_forms(__file__, __doc__, "Segmentation of volumes", ROWS, CHECKED)

"""Segmentation of volumes, measured: `python benchmarks/volseg.py quality|speed|limits [ROW ...]`.

quality: D-Former and MPU-Net trained and scored beside MONAI's networks, on data in datasets/volumes_3d. speed:
D-Former and the position attention beside their plain formulation, where every row first checks in double precision
that both forms agree, and D-Former beside MONAI's SwinUNETR, which gives something else; both are timed in turns in one
process, and peak memory is taken in a fresh process for each. limits: sizes from file to file, and lower precision. The
table goes into benchmarks/RESULTS.md.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import medseg
import nibabel
import numpy as np
import torch
import torch.nn.functional as F
from limits import FileRow, Subject, built, limits_table
from measure import Forms, forms_table, in_training, in_use, run_app
from monai.losses import DiceCELoss
from quality import Run, Score, quality_table
from torch import Tensor, nn

from foveal.apps.volseg.models.dformer import DFormer, Expansion, Head, Stage
from foveal.apps.volseg.models.swinunetr import SwinUNETR
from foveal.core.attention.volume_groups import VolumeGroupAttention
from foveal.core.blocks.transformer import TransformerBlock
from foveal.core.weights.card import Card
from foveal.kernels.window_attention.layout import cut, merge, window_mask

THIN = (16, 96, 96)  # voxels, of a crop of thick slices, with the patch for these
THICK = (32, 96, 96)
CLASSES = 4


def plain_attention(layer: VolumeGroupAttention, x: Tensor) -> Tensor:
    """Attention in groups with the map of all pairs written out, and padding masked whether there is some or none."""
    sizes = list(x.shape[1:-1])
    layout = layer.fitted(sizes)
    groups = cut(x, layout)
    q, k, v = layer.qkv(groups).reshape(*groups.shape[:2], 3, layer.heads, -1).permute(2, 0, 3, 1, 4)
    scores = q * q.shape[-1] ** -0.5 @ k.transpose(-2, -1)
    mask = window_mask(sizes, layout, x)
    if mask is not None:
        scores = scores + mask.repeat(len(x), 1, 1).unsqueeze(1)
    weights = torch.softmax(scores, dim=-1)
    mixed = merge((weights @ v).transpose(1, 2).reshape(groups.shape), sizes, layout)
    return layer.proj(mixed.contiguous())


def plain_block(block: TransformerBlock, x: Tensor) -> Tensor:
    """A transformer block."""
    x = x + plain_attention(block.mixer, block.norm1(x))
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
    return in_use(partial(plain_network, net), net, x)


def training(dtype: torch.dtype = torch.float32) -> Forms:
    """One training step of D-Former, patch 1x4x4, on a volume of 16x96x96, two resolutions supervised."""
    net, x = DFormer(CLASSES, patch=(1, 4, 4)).to(dtype), torch.randn(1, 1, *THIN, dtype=dtype)
    target = torch.randint(CLASSES, (1, 1, *THIN))
    return in_training(net, lambda: loss_of(plain_network(net, x), target), lambda: loss_of(net(x), target))


def loss_of(outputs: Tensor | tuple[Tensor, ...], target: Tensor) -> Tensor:
    """Return Dice and cross-entropy of all levels."""
    loss = DiceCELoss(to_onehot_y=True, softmax=True)
    levels = outputs if isinstance(outputs, tuple) else (outputs,)
    return sum(loss(each, F.interpolate(target.float(), each.shape[2:])) for each in levels)


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
    return in_use(swin, dformer, x)


def swin_training() -> Forms:
    """One training step of the same."""
    swin, dformer, x = *networks(), torch.randn(1, 1, *THICK)
    target = torch.randint(CLASSES, (1, 1, *THICK))
    nets = nn.ModuleList([swin, dformer])
    return in_training(nets, lambda: loss_of(swin(x), target), lambda: loss_of(dformer(x), target))


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


def volume(path: Path, size: tuple[int, ...]) -> None:
    """Write noise as NIfTI of this size, (D, H, W), 1 mm."""
    values = np.random.default_rng(0).integers(0, 255, size[::-1], dtype=np.uint8)
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), path)


def dformer() -> tuple[nn.Module, Card]:
    """D-Former as published."""
    net = DFormer(CLASSES)
    facts = {"dimensions": 3, "tile": THICK, "overlap": (8, 48, 48), "size_multiple": net.size_multiple}
    names = tuple(f"class {number}" for number in range(CLASSES))
    return built(
        "volseg",
        DFormer,
        {"num_classes": CLASSES},
        fixed_tile=True,
        channels=("ct",),
        outputs=names,
        activation="argmax",
        **facts,
    )


FILES = {
    "smallest": FileRow("`infer`, D-Former", (2, 2, 2), volume, "volume.nii.gz", "labels.nii.gz"),
    "large": FileRow(
        "`infer`, D-Former in tiles of 32 x 96 x 96", (64, 256, 256), volume, "volume.nii.gz", "labels.nii.gz"
    ),
}
LIMITS = Subject("volseg", dformer, (1, 1, *THICK), THICK, "voxels", FILES)
NOT_FOR = (
    "Not for diagnosis or planning: no weights come along, and what is trained here was not validated on anyone's "
    "patients."
)
SCORES = (Score("dice", "Dice"), Score("hd95", "HD95, mm", 2), Score("nsd", "NSD within 1 mm"))


def training_of(network: str, config: str) -> Run:
    """Return a training on the hippocampus."""
    held_out = {"validation": "MSD hippocampus, fold 0 of 5, 1,000 steps"}
    return Run("volseg", f"hippocampus_{config}", held_out, {network: ""}, SCORES, checkpoint="last")


QUALITY = {
    "dformer": training_of("D-Former (4.2 million weights)", "dformer"),
    "mpunet": training_of("MPU-Net (5.4 million)", "mpunet"),
    "swinunetr": training_of("SwinUNETR (3.9 million)", "swinunetr"),
    "dynunet": training_of("DynUNet (1.4 million)", "dynunet"),
}
NOTE = (
    "96 volumes trained on, 24 held out, 1,000 steps of 2 patches, one seed, from random weights, no ensembles or "
    "mirrored views; means over the two parts. Left and right of one person can be two of the volumes; the source does "
    "not say which, so that both parts may share people."
)

if __name__ == "__main__":
    title = "Segmentation of volumes"
    speed = forms_table(__file__, f"{title}: speed and memory", ROWS, CHECKED)
    run_app(__doc__, quality_table(title, QUALITY, NOTE), speed, limits_table(__file__, title, LIMITS, NOT_FOR))

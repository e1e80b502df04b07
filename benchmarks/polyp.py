"""Polyp segmentation, measured: `python benchmarks/polyp.py quality|speed|limits [ROW ...]`.

quality: the quickstarts trained and scored, on data in datasets. speed: PraNet beside the plain formulation; every row
first checks in double precision, on smaller images, that both forms agree (the gradients of an untrained network lose
four digits in single precision), then times them in turns in one process, and takes peak memory in a fresh process for
each. limits: sizes from file to file, and lower precision. The table goes into benchmarks/RESULTS.md.
"""

from __future__ import annotations

import copy
from functools import partial

import torch
import torch.nn.functional as F
from limits import FileRow, Subject, built, limits_table, picture
from measure import Forms, forms_table, in_training, in_use, run_app
from plain_gates import plain_reverse
from quality import Run, Score, quality_table
from torch import Tensor, nn

from foveal.apps.polyp.models.pranet import PartialDecoder, PraNet, ReceptiveFieldBlock, doubled
from foveal.core.blocks.convolution import ConvNorm
from foveal.core.blocks.norm import BatchNorm2d
from foveal.core.losses.structure import StructureLoss
from foveal.core.weights.card import Card

SIDE = 352  # pixels, the size of the published training and evaluation
SMALL_SIDE = 128  # pixels, where the forms are compared
BATCH = 4  # images in a training step


def plain_copy(net: PraNet) -> PraNet:
    """A copy with PyTorch's own norms and weights in PyTorch's usual order."""
    plain = copy.deepcopy(net).to(memory_format=torch.contiguous_format)
    for module in plain.modules():
        if isinstance(module, BatchNorm2d):
            module.__class__ = nn.BatchNorm2d
    return plain


def plain_unit(unit: ConvNorm, x: Tensor, part: slice) -> Tensor:
    """Some output channels of a convolution and its norm, as a convolution and norm of their own."""
    norm = unit.norm
    statistics = (norm.running_mean[part], norm.running_var[part])
    y = F.conv2d(x, unit.conv.weight[part])
    return F.batch_norm(y, *statistics, norm.weight[part], norm.bias[part], norm.training, norm.momentum, norm.eps)


def plain_field(block: ReceptiveFieldBlock, x: Tensor) -> Tensor:
    """A receptive-field block, each branch beginning with its own convolution."""
    dim = block.fuse.conv.out_channels
    residual, *entries = (plain_unit(block.entry, x, slice(i * dim, (i + 1) * dim)) for i in range(5))
    branches = [entries[0], *(branch(entry) for branch, entry in zip(block.branches, entries[1:], strict=True))]
    return F.relu(block.fuse(torch.cat(branches, dim=1)) + residual)


def plain_decoder(decoder: PartialDecoder, deep: Tensor, middle: Tensor, fine: Tensor) -> Tensor:
    """The partial decoder, every enlargement made where it is used."""
    on_middle = decoder.deep_on_middle(doubled(deep)) * middle
    on_fine = decoder.deep_on_fine(doubled(doubled(deep))) * decoder.middle_on_fine(doubled(middle)) * fine
    merged = decoder.fuse_middle(torch.cat([on_middle, decoder.deep_beside_middle(doubled(deep))], dim=1))
    merged = decoder.fuse_fine(torch.cat([on_fine, decoder.middle_beside_fine(doubled(merged))], dim=1))
    return decoder.head(decoder.refine(merged))


def plain_network(net: PraNet, x: Tensor) -> tuple[Tensor, ...]:
    """PraNet in the plain formulation, with the weights of a plain copy; four maps, in evaluation too."""
    fine, middle, deep = net.encoder(x)
    fields = (plain_field(net.field_deep, deep), plain_field(net.field_middle, middle))
    rough = plain_decoder(net.decoder, *fields, plain_field(net.field_fine, fine))
    from_deep = plain_reverse(net.reverse_deep, deep, rough)
    from_middle = plain_reverse(net.reverse_middle, middle, from_deep)
    maps = (rough, from_deep, from_middle, plain_reverse(net.reverse_fine, fine, from_middle))
    return tuple(F.interpolate(each, size=x.shape[2:], mode="bilinear", align_corners=False) for each in maps)


def plain_loss(maps: tuple[Tensor, ...], mask: Tensor) -> Tensor:
    """The intended structure loss, the surroundings of each pixel averaged anew for each map."""
    total = mask.new_zeros(())
    for logits in maps:
        weight = 1 + 5 * (F.avg_pool2d(mask, 31, stride=1, padding=15) - mask).abs()
        entropy = F.binary_cross_entropy_with_logits(logits, mask, reduction="none")
        entropy = (weight * entropy).sum(dim=(2, 3)) / weight.sum(dim=(2, 3))
        probability = torch.sigmoid(logits)
        both = (probability * mask * weight).sum(dim=(2, 3))
        either = ((probability + mask) * weight).sum(dim=(2, 3))
        total = total + (entropy + 1 - (both + 1) / (either - both + 1)).mean()
    return total


def inference(side: int = SIDE, dtype: torch.dtype = torch.float32) -> Forms:
    """PraNet on one image of 352x352."""
    net = PraNet().eval().to(dtype)
    plain = plain_copy(net)
    x = torch.randn(1, 3, side, side, dtype=dtype)
    return in_use(lambda image: plain_network(plain, image)[-1], net, x)


def training(side: int = SIDE, dtype: torch.dtype = torch.float32) -> Forms:
    """One training step of PraNet, four images of 352x352, with the intended loss."""
    net = PraNet().train().to(dtype)
    plain = plain_copy(net)
    x = torch.randn(BATCH, 3, side, side, dtype=dtype)
    mask = F.interpolate(torch.randn(BATCH, 1, 11, 11), size=side, mode="bilinear").gt(0.3).to(dtype)
    loss = StructureLoss("intended")
    nets = nn.ModuleList([plain, net])
    return in_training(nets, lambda: plain_loss(plain_network(plain, x), mask), lambda: loss(net(x), mask))


ROWS = {"inference": inference, "training": training}
CHECKED = {name: partial(forms, SMALL_SIDE, torch.float64) for name, forms in ROWS.items()}


def pranet() -> tuple[nn.Module, Card]:
    """PraNet as published, which sees every picture as a whole, at its own size."""
    facts = {"tile": SIDE, "overlap": SIDE // 4, "size_multiple": 32, "frame": (SIDE, SIDE), "outputs": ("polyp",)}
    return built("polyp", PraNet, {}, activation="threshold", **facts)


FILES = {
    "smallest": FileRow("`infer`, PraNet", (2, 2), picture, "frame.png", "mask.png"),
    "large": FileRow("`infer`, PraNet at 352 x 352", (3000, 4000), picture, "frame.png", "mask.png"),
}
LIMITS = Subject("polyp", pranet, (1, 3, SIDE, SIDE), (SIDE, SIDE), "pixels", FILES)
NOT_FOR = (
    "Not for finding polyps in patients: no weights come along, and a polyp smaller than a few pixels of 352 x 352 is "
    "not seen, however large the picture."
)
SCORES = (
    Score("mean_dice", "mean Dice"),
    Score("weighted_f", "weighted F"),
    Score("s_measure", "S"),
    Score("mae", "MAE"),
)


def training_of(network: str, config: str, *options: str) -> Run:
    """Return a training on polyps."""
    held_out = {"validation": "frames of Kvasir-SEG, 128 x 128"}
    return Run("polyp", config, held_out, {network: ""}, SCORES, options)


LONGER = ("--trainer.max_steps", "1250", "--model.scheduler.init_args.total_steps", "1250")
QUALITY = {
    "pranet": training_of("PraNet, ResNet-18, 750 steps", "quickstart_pranet"),
    "unet": training_of("U-Net, ResNet-18, 750 steps", "quickstart_pranet_baseline"),
    "pranet_longer": training_of("PraNet, 1,250 steps: the U-Net's processor time", "quickstart_pranet", *LONGER),
}

if __name__ == "__main__":
    title = "Polyp segmentation"
    speed = forms_table(__file__, f"{title}: speed and memory", ROWS, CHECKED, limit=1e-9)
    run_app(__doc__, quality_table(title, QUALITY), speed, limits_table(__file__, title, LIMITS, NOT_FOR))

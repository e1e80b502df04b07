"""Two-dimensional medicine, measured: `python benchmarks/medseg.py quality|speed|limits [ROW ...]`.

quality: the quickstarts trained and scored, on data in datasets. speed: MSGA beside the plain formulation; every row
first checks that both forms agree (a training step in float64), then times them in turns in one process, and takes peak
memory in a fresh process for each. limits: sizes from file to file, and lower precision. The table goes into
benchmarks/RESULTS.md.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from limits import FileRow, Subject, built, grey_picture, limits_table
from measure import Forms, forms_table, in_training, in_use, run_app
from plain_gates import plain_channel_affinity, plain_position
from quality import Run, Score, quality_table
from torch import Tensor, nn

from foveal.apps.medseg.models.msga import MSGA, Stage, Supervised
from foveal.core.attention.channel_affinity import ChannelAffinityAttention
from foveal.core.attention.position import PositionAttention
from foveal.core.losses.guided_attention import GuidedAttentionLoss
from foveal.core.weights.card import Card

STEP_IMAGES = 2


def plain_unit(unit: nn.Sequential, x: Tensor) -> Tensor:
    """An attention unit."""
    before, block, after = unit
    attend = plain_position if isinstance(block, PositionAttention) else plain_channel_affinity
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
    return in_use(partial(plain_network, net), net, x)


def training(side: int = 256, dtype: torch.dtype = torch.float32) -> Forms:
    """One training step of MSGA, two slices of 256x256, all losses."""
    net, loss = network().to(dtype), GuidedAttentionLoss()
    x, target = torch.rand(STEP_IMAGES, 1, side, side, dtype=dtype), torch.randint(5, (STEP_IMAGES, side, side))
    return in_training(net, lambda: loss(plain_network(net, x), target), lambda: loss(net(x), target))


def position(channels: int = 64, *sizes: int) -> Forms:
    """The position attention, 64 channels, 64x64 positions, forward."""
    block, x = attention(channels, sizes or (64, 64))
    return in_use(partial(plain_position, block), block, x)


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


def msga() -> tuple[nn.Module, Card]:
    """MSGA as published, for slices of one channel."""
    outputs = ("background", "first", "second", "third", "fourth")
    facts = {
        "tile": 256,
        "overlap": 64,
        "size_multiple": 8,
        "smallest_size": 16,
        "channels": ("grey",),
        "outputs": outputs,
    }
    return built("medseg", MSGA, {}, activation="argmax", **facts)


FILES = {
    "smallest": FileRow("`infer`, MSGA", (2, 2), grey_picture, "slice.png", "mask.png"),
    "large": FileRow("`infer`, MSGA in tiles of 256", (512, 512), grey_picture, "slice.png", "mask.png"),
}
LIMITS = Subject("medseg", msga, (1, 1, 64, 64), (64, 64), "pixels", FILES)
NOT_FOR = (
    "Not for diagnosis: no weights come along, and what is trained here was not validated on anyone's patients. "
    "Memory of the position attention grows with the tile, not with the picture."
)


def segmentation(network: str, config: str) -> Run:
    """Return a training on nuclei."""
    scores = (Score("dice", "Dice"), Score("hd95", "HD95, pixels", 2))
    return Run("medseg", config, {"nuclei": "nuclei of DSB 2018, 128 x 128, 400 steps"}, {network: ""}, scores)


def classification(network: str, config: str, *options: str) -> Run:
    """Return a training on radiographs."""
    scores = (Score("balanced_accuracy", "balanced accuracy"), Score("auc_macro", "AUC"), Score("ece", "ECE"))
    return Run("medseg", config, {"validation": "PneumoniaMNIST, 64 x 64, 320 steps"}, {network: ""}, scores, options)


QUALITY = {
    "msga": segmentation("MSGA, ResNet-18, width 32", "quickstart_msga"),
    "unet": segmentation("U-Net, ResNet-18", "quickstart_unet"),
    "medusa": classification("MEDUSA-style, ResNet-18", "quickstart_medusa"),
    "resnet": classification("ResNet-18", "quickstart_resnet"),
    "medusa50": classification(
        "MEDUSA-style, ResNet-50", "quickstart_medusa", "--model.net.init_args.backbone", "resnet50"
    ),
    "resnet50": classification("ResNet-50", "quickstart_resnet", "--model.net.init_args.name", "resnet50"),
}

NOTE = (
    "The same data, steps and seed for each pair (`seed_everything: 0`, one run), no pretrained weights. The "
    "validation part chose the checkpoint of the pneumonia rows, so these are validation results."
)

if __name__ == "__main__":
    title = "Two-dimensional medicine"
    speed = forms_table(__file__, f"{title}: speed and memory", ROWS, CHECKED)
    run_app(__doc__, quality_table(title, QUALITY, NOTE), speed, limits_table(__file__, title, LIMITS, NOT_FOR))

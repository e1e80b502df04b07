"""Cloud removal, measured: `python benchmarks/cloudremoval.py quality|speed|limits [ROW ...]`.

quality: a PMAA and a U-Net trained and scored on data in datasets/satellite, beside composites. speed: PMAA beside the
plain formulation; every row first checks that both forms agree, then times them in turns in one process, and takes peak
memory in a fresh process for each. limits: scenes of three dates from folder to files, and lower precision. The table
goes into benchmarks/RESULTS.md.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from inference_memory import make_scene
from limits import FileRow, Subject, limits_table
from measure import Forms, forms_table, in_use, run_app
from quality import Run, Score, quality_table
from torch import Tensor

from foveal.apps.cloudremoval.features import AtrousPyramid, FeatureExtractor
from foveal.apps.cloudremoval.models.pmaa import PMAA
from foveal.apps.cloudremoval.task import CloudRemoval
from foveal.apps.cloudremoval.unet import Injection, SeparableLayer, UBlock, binned
from foveal.core.weights.card import Card
from foveal.data.datasets.made_places import MadePlaces


def plain_separable(layer: SeparableLayer, x: Tensor) -> Tensor:
    """Two convolutions, each followed by its norm."""
    y = F.conv2d(x, layer.spatial.weight, None, layer.spatial.stride, layer.spatial.padding, 1, layer.spatial.groups)
    y = F.instance_norm(layer.pointwise(F.instance_norm(y)))
    return y + x if layer.residual else y


def plain_injection(layer: Injection, local: Tensor, whole: Tensor) -> Tensor:
    """Three convolutions with their norms; both maps of the whole enlarged."""

    def normed(conv: torch.nn.Conv2d, x: Tensor) -> Tensor:
        return F.instance_norm(F.conv2d(x, conv.weight, None, 1, conv.padding, 1, conv.groups))

    size = local.shape[2:]
    gate = F.interpolate(torch.sigmoid(normed(layer.gate, whole)), size=size)
    return normed(layer.local, local) * gate + F.interpolate(normed(layer.embed, whole), size=size)


def plain_block(block: UBlock, x: Tensor) -> Tensor:
    """A U-block of the plain layers."""
    y = plain_separable(block.project, x)
    scales = []
    for layer in block.scales:
        y = plain_separable(layer, y)
        scales.append(y)
    height, width = y.shape[2:]
    whole = block.mixer(y + sum(binned(each, height, width) for each in scales[:-1]))
    fused = [plain_injection(fusion, scales[i], whole) for i, fusion in enumerate(block.fusions)]
    y = plain_injection(block.decoders[3], fused[3], fused[2])
    for i in (2, 1, 0):
        y = plain_injection(block.decoders[i], fused[i], y)
    return block.out(y) + torch.stack(x.chunk(block.parts, dim=1)).sum(dim=0)


def plain_unit(layers: torch.nn.Sequential, x: Tensor) -> Tensor:
    """Convolutions, norms and activations, one after the other and none in place."""
    for layer in layers:
        x = F.relu(x) if isinstance(layer, torch.nn.ReLU) else layer(x)
    return x


def plain_pyramid(pyramid: AtrousPyramid, x: Tensor) -> Tensor:
    """All views side by side, then the common convolution."""
    views = [plain_unit(branch, x) for branch in pyramid.branches]
    whole = plain_unit(pyramid.whole, x.mean(dim=(2, 3), keepdim=True))
    return plain_unit(pyramid.project, torch.cat([*views, whole.expand(-1, -1, *x.shape[2:])], dim=1))


def plain_features(extractor: FeatureExtractor, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mask, features and auxiliary image of a date."""
    blocks = extractor.bottlenecks
    y = plain_unit(extractor.stem, x)
    y = F.relu(plain_unit(blocks[0], y) + y)
    mask = plain_unit(extractor.mask, y)
    for i in (1, 2):
        y = F.relu(plain_unit(blocks[i], y) * mask + y)
    mask = plain_unit(extractor.mask, y)
    for i in (3, 4):
        y = F.relu(plain_unit(blocks[i], y) * mask + y)
    features = plain_pyramid(extractor.pyramid, F.relu(plain_unit(blocks[5], y) + y))
    return mask, features, torch.tanh(extractor.auxiliary(features))


def plain_network(net: PMAA, x: Tensor) -> Tensor:
    """The cloud-free image by the plain formulation, with the weights of `net`."""
    y = torch.cat([plain_features(net.features, date)[1] for date in x.split(net.bands, dim=1)], dim=1)
    for block in net.blocks:
        y = plain_block(block, y)
    return torch.tanh(net.head(y))


def dates(side: int, batch: int = 1) -> Tensor:
    """Return three dates of four bands, with clouds as smooth bright blobs."""
    x = F.interpolate(torch.rand(batch, 12, side // 8, side // 8), size=(side, side), mode="bicubic")
    return (x + 0.1 * torch.rand_like(x)).clamp(0, 1) * 2 - 1


def inference() -> Forms:
    """PMAA as published on a tile of 256x256."""
    net, x = PMAA().eval(), dates(256)
    return in_use(partial(plain_network, net), net, x)


def training() -> Forms:
    """One training step of PMAA by the mean absolute error, two patches of 64x64; the dropouts are off."""
    net = PMAA(dropout=0.0, drop_path=0.0).train()
    x, truth = dates(64, batch=2), torch.rand(2, 4, 64, 64) * 2 - 1

    def step(forward: Callable[[Tensor], Tensor]) -> Tensor:
        net.zero_grad()
        F.l1_loss(forward(x), truth).backward()
        return torch.cat([each.grad.flatten() for each in net.blocks.parameters()])

    return lambda: step(lambda patches: plain_network(net, patches)), lambda: step(lambda patches: net(patches)[0])


def checked_training() -> Forms:
    """The same in double precision, as single precision loses the gradients of nearly constant maps."""
    torch.set_default_dtype(torch.float64)
    try:
        return training()
    finally:
        torch.set_default_dtype(torch.float32)


ROWS = {"inference": inference, "training": training}


DATES = ("2018-03-07", "2018-06-10", "2018-07-30")


def landscapes(folder: Path, size: tuple[int, ...]) -> None:
    """Write dates of landscapes under clouds."""
    made = folder.with_name("made")
    MadePlaces(str(made), count=1, days=len(DATES), side=size[0]).images()
    (made / "made_00").rename(folder)


def sparse(folder: Path, size: tuple[int, ...]) -> None:
    """Write dates of which one block of 512x512 in 31 holds data."""
    folder.mkdir()
    for date in DATES:
        make_scene(folder / f"{date}.tif", size[0])


def pmaa(dim: int = 32) -> tuple[PMAA, Card]:
    """PMAA with the card that a training gives it."""
    task = CloudRemoval(PMAA(dim=dim), discriminator_widths=())
    task.network = {"class_path": f"{PMAA.__module__}.PMAA", "init_args": {"dim": dim}}
    return task.net, task.card()


BESIDE = ("--keep_clear", "--cloud_mask", "--quicklook", "--bands", "1", "2", "3", "4")
FILES = {
    "smallest": FileRow("`infer`, PMAA as published", (64, 64), landscapes, "place", "clear.tif"),
    "large": FileRow("`infer`, PMAA as published", (1024, 1024), landscapes, "place", "clear.tif"),
    "scene": FileRow(
        "`infer`, PMAA of 4 channels, all but the confidence; 3 % hold data",
        (10_980, 10_980),
        sparse,
        "place",
        "clear.tif",
        BESIDE,
        lambda: pmaa(4),
    ),
}
LIMITS = Subject("cloudremoval", pmaa, (1, 12, 64, 64), (64, 64), "pixels", FILES)
NOT_FOR = (
    "Sizes are those of one date of three. Not for measuring under clouds: what is covered on every date is guessed, "
    "so look there for no changes, damage or harvests; and the image is of no single date."
)
HELD_OUT = {"composed": "8 clear chips under real clouds, 4 draws each", "real": "10 clear dates of one place"}
BARE = {"least cloudy date": "least_cloudy_", "median of clear dates": "median_"}
SCORES = (
    Score("psnr_b", "PSNR, dB", 2),
    *(Score(f"psnr_b_{where}", where, 2) for where in ("cloudy", "clear")),
    Score("ssim_b", "SSIM"),
    *(Score(f"ssim_b_{where}", where) for where in ("cloudy", "clear")),
    Score("sam_b", "SAM, degrees", 2),
    Score("mae_b", "MAE", 4),
    *(Score(f"mae_b_{where}", where, 4) for where in ("cloudy", "clear")),
    Score("psnr_a", "displayed: PSNR", 2),
    Score("ssim_a", "SSIM"),
)


def training_of(network: str, config: str, bare: dict[str, str]) -> Run:
    """Return a training, of which the composites are scored as well where asked for."""
    methods = {**bare, network: "", f"{network}, kept": "keep_clear_"}
    return Run("cloudremoval", config, HELD_OUT, methods, SCORES, checkpoint="last", groups="place")


QUALITY = {"pmaa": training_of("PMAA", "pmaa_composed", BARE), "unet": training_of("U-Net", "unet_composed", {})}
NOTE = (
    "A narrow PMAA (907,241 weights, 1,230 steps) and a plain U-Net over the dates (904,490 weights, 12,320 steps) of "
    "the same processor time, about 1,240 s each, one seed, no discriminator; trained on 17 clear Sentinel-2 images of "
    "14 places under clouds of other images, scored on region 146 of SEN12MS-CR-TS, of which neither land nor clouds "
    "were trained on. Intervals are over the 8 places; the 10 dates are of one. Of reflectance in 0..1, four bands; "
    '"cloudy" is where more than half of the dates are; "displayed" is the rendering of Sen2_MTC_New. "Kept" is the '
    "least cloudy date where it is clear, as `infer --keep_clear` does."
)

if __name__ == "__main__":
    title = "Cloud removal"
    speed = forms_table(
        __file__, f"{title}: speed and memory", ROWS, {"inference": inference, "training": checked_training}
    )
    run_app(__doc__, quality_table(title, QUALITY, NOTE), speed, limits_table(__file__, title, LIMITS, NOT_FOR))

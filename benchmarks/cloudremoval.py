"""Speed and memory of PMAA beside the plain formulation: `python benchmarks/cloudremoval.py [ROW ...]`.

Every row first checks that both forms agree, then times them in turns in one process; peak memory is taken in a fresh
process for each form. The table is printed and appended to benchmarks/RESULTS.md. Whole scenes, from file to file, are
measured by benchmarks/cloudremoval_scene.py.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from measure import Forms, run_forms
from torch import Tensor

from foveal.apps.cloudremoval.features import AtrousPyramid, FeatureExtractor
from foveal.apps.cloudremoval.models.pmaa import PMAA
from foveal.apps.cloudremoval.unet import Injection, SeparableLayer, UBlock, binned


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

    def run(forward: Callable[[Tensor], Tensor]) -> Tensor:
        with torch.inference_mode():
            return forward(x)

    return lambda: run(lambda tile: plain_network(net, tile)), lambda: run(net)


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

if __name__ == "__main__":
    run_forms(__file__, __doc__, "Cloud removal", ROWS, {"inference": inference, "training": checked_training})

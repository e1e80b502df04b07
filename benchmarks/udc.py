"""Under-display cameras, measured: `python benchmarks/udc.py quality|speed|limits [ROW ...]`.

quality: the quickstarts trained and scored on photographs in datasets/restoration seen through a display, beside
classical deconvolution. speed: DWFormer beside the plain formulation; every row first checks that both forms agree,
then times them in turns in one process, and takes peak memory in a fresh process for each. limits: sizes from file to
file, and lower precision. The table goes into benchmarks/RESULTS.md.
"""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
import udc_quality
from limits import FileRow, Subject, built, limits_table, picture
from measure import Forms, Table, forms_table, in_training, in_use, run_app
from quality import HEAD, NAMED
from torch import Tensor, nn

from foveal.apps.udc.models.dwformer import DepthwiseBlock, DWFormer, Up
from foveal.core.attention.pooled_gate import PooledChannelGate
from foveal.core.weights.card import Card


def plain_gate(gate: PooledChannelGate, x: Tensor) -> Tensor:
    """The gate with the weighted map written out before it is added up, as the authors' code does."""
    weights = torch.softmax(gate.score(x).flatten(2), -1).view(x.shape[0], 1, *x.shape[2:])
    pooled = (weights * x).sum((2, 3))
    return x * torch.sigmoid(gate.excite(F.relu(gate.squeeze(pooled))))[:, :, None, None]


def plain_block(block: DepthwiseBlock, x: Tensor) -> Tensor:
    """A block with its norms apart from the convolutions that follow, and nothing in place."""
    y = block.project_in.conv(block.project_in.norm(x))
    y = plain_gate(block.gate, F.relu(block.depthwise(y)))
    x = x + block.project_out(y)
    return x + block.reduce(F.relu(block.expand.conv(block.expand.norm(x))))


def plain_up(up: Up, x: Tensor, skip: Tensor) -> Tensor:
    """Doubling the size."""
    return F.relu(up.fuse(torch.cat([F.pixel_shuffle(up.spread(x), 2), skip], 1)))


def plain_network(net: DWFormer, x: Tensor) -> Tensor:
    """DWFormer in the plain formulation, with the weights of `net`."""

    def stage(number: int, y: Tensor) -> Tensor:
        for block in net.stages[number]:
            y = plain_block(block, y)
        return y

    fine = stage(0, net.stem(x))
    middle = stage(1, net.downs[0](fine))
    coarse = stage(2, net.downs[1](middle))
    middle = stage(3, plain_up(net.ups[0], coarse, middle))
    fine = stage(4, plain_up(net.ups[1], middle, fine))
    return net.head(fine) + x


def inference() -> Forms:
    """DWFormer as published on one picture of 256x256."""
    net = DWFormer().eval()
    x = torch.rand(1, 3, 256, 256)
    return in_use(partial(plain_network, net), net, x)


def inference_channels_last() -> Forms:
    """The same, ours with channels last."""
    net = DWFormer().eval()
    x = torch.rand(1, 3, 256, 256)
    plain = DWFormer().eval()
    plain.load_state_dict(net.state_dict())
    net.to(memory_format=torch.channels_last)
    return in_use(partial(plain_network, plain), lambda y: net(y.contiguous(memory_format=torch.channels_last)), x)


def training() -> Forms:
    """One training step of DWFormer, four patches of 64x64."""
    net = DWFormer()
    x, truth = torch.rand(4, 3, 64, 64), torch.rand(4, 3, 64, 64)
    return in_training(net, lambda: F.l1_loss(plain_network(net, x), truth), lambda: F.l1_loss(net(x), truth))


ROWS = {"inference": inference, "inference_channels_last": inference_channels_last, "training": training}


def dwformer() -> tuple[nn.Module, Card]:
    """DWFormer as published."""
    return built("udc", DWFormer, {}, tile=128, overlap=32, size_multiple=4, smallest_size=12)


FILES = {
    "smallest": FileRow("`infer`, DWFormer", (2, 2), picture, "picture.png", "restored.png"),
    "large": FileRow("`infer`, DWFormer in tiles of 128", (1024, 2048), picture, "picture.png", "restored.png"),
}
LIMITS = Subject("udc", dwformer, (1, 3, 64, 64), (64, 64), "pixels", FILES)
NOT_FOR = (
    "Not for evidence: what the display took away is guessed. Weights are for the display and the sensor whose "
    "pictures, real or simulated, they were trained on."
)
NOTE = (
    "600 steps of 8 patches of 64 pixels of 7 other photographs, one seed. The classical methods know the point spread "
    "and the dimming, which the networks learn; what they leave to choose was chosen on two photographs of CID22."
)

if __name__ == "__main__":
    title = "Under-display cameras"
    quality = Table(f"{title}: quality", HEAD, udc_quality.ROWS, udc_quality.lines, tuple, NOTE, NAMED)
    speed = forms_table(__file__, f"{title}: speed and memory", ROWS)
    run_app(__doc__, quality, speed, limits_table(__file__, title, LIMITS, NOT_FOR))

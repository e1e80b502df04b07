"""Speed and memory of restoration beside the plain formulation: `python benchmarks/udc.py [ROW ...]`.

Every row first checks that both forms agree, then times them in turns in one process; peak memory is taken in a fresh
process for each form. The table is printed and appended to benchmarks/RESULTS.md. How well pictures are restored is
measured by `udc_restoration.py`.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from measure import Forms, run_forms
from torch import Tensor

from foveal.apps.udc.models.dwformer import DepthwiseBlock, DWFormer, Up
from foveal.core.attention.pooled_gate import PooledChannelGate


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

    def run(forward: Callable[[Tensor], Tensor]) -> Tensor:
        with torch.inference_mode():
            return forward(x)

    return lambda: run(lambda picture: plain_network(net, picture)), lambda: run(net)


def inference_channels_last() -> Forms:
    """The same, ours with channels last."""
    net = DWFormer().eval()
    x = torch.rand(1, 3, 256, 256)
    plain = DWFormer().eval()
    plain.load_state_dict(net.state_dict())
    net.to(memory_format=torch.channels_last)

    @torch.inference_mode()
    def ours() -> Tensor:
        return net(x.contiguous(memory_format=torch.channels_last))

    @torch.inference_mode()
    def theirs() -> Tensor:
        return plain_network(plain, x)

    return theirs, ours


def training() -> Forms:
    """One training step of DWFormer, four patches of 64x64."""
    net = DWFormer()
    x, truth = torch.rand(4, 3, 64, 64), torch.rand(4, 3, 64, 64)

    def step(forward: Callable[[Tensor], Tensor]) -> Tensor:
        net.zero_grad()
        F.l1_loss(forward(x), truth).backward()
        return torch.cat([each.grad.flatten() for each in net.parameters()])

    return lambda: step(lambda patches: plain_network(net, patches)), lambda: step(net)


ROWS = {"inference": inference, "inference_channels_last": inference_channels_last, "training": training}

if __name__ == "__main__":
    run_forms(__file__, __doc__, "Restoration of pictures taken through a display", ROWS)

"""Speed and memory of the kernels' forms for a CPU: `python benchmarks/kernels_cpu.py [ROW ...]`.

They stand beside the usual formulation in plain PyTorch. With `OMP_NUM_THREADS=1` it is processor time of one thread.
Every row first checks that both forms agree, then times them in turns in one process; peak memory is taken in a fresh
process for each form. The table is printed and appended to benchmarks/RESULTS.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from measure import Forms, in_use, run_forms
from torch import Tensor

from foveal.kernels.dynamic_conv import dynamic_conv2d
from foveal.kernels.gated_attention_pool import gated_attention_pool
from foveal.kernels.linear import linear

Form = Callable[..., Tensor]


def plain_dynamic_conv(x: Tensor, kernels: Tensor) -> Tensor:
    """By unfolding: every neighbour of every position is copied."""
    groups, taps = kernels.shape[1:3]
    side = math.isqrt(taps)
    patches = F.unfold(x, side, padding=side // 2).unflatten(1, (groups, -1, taps))
    return (patches * kernels.flatten(3).unsqueeze(2)).sum(3).view(x.shape)


def plain_pool(patches: Tensor, gates: Tensor, gates_bias: Tensor, score: Tensor, score_bias: Tensor) -> Tensor:
    """Two linear layers and a third, all instances at once."""
    (content, gate), (first, second) = gates.chunk(2), gates_bias.chunk(2)
    gated = torch.tanh(F.linear(patches, content, first)) * torch.sigmoid(F.linear(patches, gate, second))
    return F.linear(gated, score, score_bias).t().softmax(1) @ patches


def our_pool(*tensors: Tensor) -> Tensor:
    """What the function pools."""
    return gated_attention_pool(*tensors)[0]


def forward(plain: Form, ours: Form, tensors: list[Tensor]) -> Forms:
    """Return both forms of one pass without gradients."""
    return in_use(plain, ours, *tensors)


def training(plain: Form, ours: Form, tensors: list[Tensor]) -> Forms:
    """Return both forms of one pass forward and backward, giving the gradients."""

    def run(form: Form) -> Tensor:
        out = form(*tensors)
        wanted = [each for each in tensors if each.requires_grad]
        return torch.cat([each.flatten() for each in torch.autograd.grad(out, wanted, torch.ones_like(out))])

    return lambda: run(plain), lambda: run(ours)


def maps(side: int, grad: bool = False) -> list[Tensor]:
    """Return a map of 48 channels and its 8 kernels a position."""
    shapes = (1, 48, 128, 128), (1, 8, side**2, 128, 128)
    return [torch.randn(shape, requires_grad=grad) for shape in shapes]


def bag(instances: int, weights: bool = False, patches: bool = False, hidden: int = 128) -> list[Tensor]:
    """Return a bag of 512 channels, and weights of 5 branches with some hidden channels; gradients of either."""
    shapes = [(2 * hidden, 512), (2 * hidden,), (5, hidden), (5,)]
    drawn = [(0.05 * torch.randn(shape)).requires_grad_(weights) for shape in shapes]
    return [torch.randn(instances, 512, requires_grad=patches), *drawn]


def layer(grad: bool = False) -> list[Tensor]:
    """Return tokens, weight and bias of a linear layer."""
    return [torch.randn(shape, requires_grad=grad) for shape in [(25_088, 96), (288, 96), (288,)]]


def dynamic_conv_5() -> Forms:
    """Dynamic convolution, 48 channels, 8 kernels of 5x5 a position, 128x128, forward."""
    return forward(plain_dynamic_conv, dynamic_conv2d, maps(5))


def dynamic_conv_5_training() -> Forms:
    """The same, forward and backward."""
    return training(plain_dynamic_conv, dynamic_conv2d, maps(5, True))


def dynamic_conv_7() -> Forms:
    """Dynamic convolution, 48 channels, 8 kernels of 7x7 a position, 128x128, forward."""
    return forward(plain_dynamic_conv, dynamic_conv2d, maps(7))


def dynamic_conv_7_training() -> Forms:
    """The same, forward and backward."""
    return training(plain_dynamic_conv, dynamic_conv2d, maps(7, True))


def gated_pool() -> Forms:
    """Gated attention pooling of 100,000 instances x 512, 128 hidden channels, 5 branches, forward."""
    return forward(plain_pool, our_pool, bag(100_000))


def gated_pool_weights() -> Forms:
    """The same, forward and backward to the weights."""
    return training(plain_pool, our_pool, bag(100_000, True))


def gated_pool_training() -> Forms:
    """The same, forward and backward to weights and instances."""
    return training(plain_pool, our_pool, bag(100_000, True, True))


def gated_pool_large() -> Forms:
    """The same of 300,000 instances, forward and backward to the weights."""
    return training(plain_pool, our_pool, bag(300_000, True))


def gated_pool_wide() -> Forms:
    """The same of 100,000 instances with 384 hidden channels, forward and backward to the weights."""
    return training(plain_pool, our_pool, bag(100_000, True, hidden=384))


def gated_pool_small() -> Forms:
    """The same of 10,000 instances, forward and backward to weights and instances."""
    return training(plain_pool, our_pool, bag(10_000, True, True))


def linear_layer() -> Forms:
    """Linear layer, 25,088 tokens, 96 channels to 288, forward."""
    return forward(F.linear, linear, layer())


def linear_layer_training() -> Forms:
    """The same, forward and backward."""
    return training(F.linear, linear, layer(True))


ROWS = {
    "dynamic_conv_5": dynamic_conv_5,
    "dynamic_conv_5_training": dynamic_conv_5_training,
    "dynamic_conv_7": dynamic_conv_7,
    "dynamic_conv_7_training": dynamic_conv_7_training,
    "gated_pool": gated_pool,
    "gated_pool_weights": gated_pool_weights,
    "gated_pool_training": gated_pool_training,
    "gated_pool_large": gated_pool_large,
    "gated_pool_wide": gated_pool_wide,
    "gated_pool_small": gated_pool_small,
    "linear_layer": linear_layer,
    "linear_layer_training": linear_layer_training,
}

if __name__ == "__main__":
    run_forms(__file__, __doc__, "Forms of the kernels for a CPU", ROWS)

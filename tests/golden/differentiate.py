"""Outputs of a network together with the gradients that golden cases store."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from parity import probe
from torch import Tensor


def run(network: Callable[..., Tensor | dict[str, Tensor]], inputs: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """Return what `network` gives for the inputs, and grad_<i> = d sum(out * probe) / d input i.

    Args:
        network: takes the inputs as tensors; returns the tensor "out" or tensors by name, "out" among them.
        inputs: arrays; floating ones are differentiated, each that the output depends on gives a gradient.
    """
    tensors = [torch.from_numpy(array) for array in inputs]
    floating = {i: tensor.requires_grad_() for i, tensor in enumerate(tensors) if tensor.is_floating_point()}
    result = network(*tensors)
    outputs = result if isinstance(result, dict) else {"out": result}
    cotangent = torch.from_numpy(probe(outputs["out"].shape))
    gradients = torch.autograd.grad(outputs["out"], list(floating.values()), cotangent, allow_unused=True)
    named = {f"grad_{i}": gradient for i, gradient in zip(floating, gradients, strict=True) if gradient is not None}
    return {name: tensor.detach().numpy() for name, tensor in (outputs | named).items()}

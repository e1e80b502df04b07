"""How much memory a training step of a network keeps for its gradients, found without computing anything."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.func import functional_call


def activation_bytes(net: nn.Module, shape: tuple[int, ...]) -> int:
    """Return the bytes that the forward pass keeps for the backward pass, the network's own weights left out.

    The pass runs in training mode on PyTorch's meta device, where tensors have sizes but no content; the network stays
    as it is.

    Args:
        net: in float32.
        shape: of its input.

    Raises:
        ValueError: the network does not take this shape.
        RuntimeError: it cannot run on the meta device.
    """
    weights = {name: each.to("meta") for name, each in [*net.named_parameters(), *net.named_buffers()]}
    own = {each.untyped_storage()._cdata for each in weights.values()}
    kept: dict[int, torch.UntypedStorage] = {}  # held, as what is freed may give its address to another

    def note(saved: Tensor) -> Tensor:
        storage = saved.untyped_storage()
        if storage._cdata not in own:
            kept[storage._cdata] = storage
        return saved

    was_training = net.training
    try:
        with torch.autograd.graph.saved_tensors_hooks(note, lambda saved: saved):
            outputs = functional_call(net.train(), weights, (torch.empty(shape, device="meta"),))
    finally:
        net.train(was_training)
    del outputs
    return sum(each.nbytes() for each in kept.values())

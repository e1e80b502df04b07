"""The attention maps of a network of this package's blocks, made on demand; the network itself keeps its fast forms."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ..attention.token_weights import TokenWeights
from ..errors import UserError
from .relevance import contribution

Found = dict[str, list[TokenWeights]]
"""Weights of each mixer, by the name of its module, in the order in which they are used; `name#2` at a second use."""


def attention_maps(network: nn.Module, *inputs: Tensor, within: nn.Module | None = None) -> dict[str, Tensor]:
    """Return the attention map of every softmax token mixer of a network.

    Args:
        network: whose mixers have `with_weights`, see `core.attention.token_weights`.
        inputs: of the network, B samples.
        within: the part of the network whose mixers are wanted; None for all of it.

    Returns:
        (B, heads, N, N) for each mixer, queries before keys, by its name in the network, in the order of their use. N
        tokens are those of its map in raster order, also where it attends inside windows. Rows add up to 1, less what
        goes to padding.

    Raises:
        UserError: there is no such mixer.
        ValueError: a map has too many tokens.
    """
    with torch.no_grad(), written_out(network, within) as found:
        network(*inputs)
    return {name: torch.cat([part.over_map() for part in parts], 1) for name, parts in found.items()}


def relevance_maps(
    network: nn.Module, *inputs: Tensor, score: Callable[[Any], Tensor], within: nn.Module | None = None
) -> dict[str, Tensor]:
    """Return what each token mixer contributes to a score: the mean over heads of (gradient x attention)^+.

    Chefer, Gur, Wolf 2021: "Generic Attention-model Explainability for Interpreting Bi-Modal and Encoder-Decoder
    Transformers", arXiv 2103.15679, eq. 5. The rules of `relevance` join these over layers.

    Args:
        network: see `attention_maps`; so are the others.
        inputs: see `attention_maps`.
        score: makes the number that is explained of the network's output, for several samples the sum of theirs.
        within: see `attention_maps`.

    Returns:
        (B, N, N) for each mixer, at least 0.

    Raises:
        UserError: there is no such mixer.
        ValueError: a map has too many tokens.
    """
    with torch.enable_grad(), written_out(network, within) as found:
        value = score(network(*(each.detach().requires_grad_(each.is_floating_point()) for each in inputs)))
    return contributions(found, value)


def contributions(found: Found, value: Tensor) -> dict[str, Tensor]:
    """Return the contribution of each mixer to a number, see `relevance_maps`.

    Args:
        found: what `written_out` yielded while gradients were on.
        value: what was made of the network's output.
    """
    weights = [part.weights for parts in found.values() for part in parts]
    grads = iter(torch.autograd.grad(value, weights, allow_unused=True))
    return {name: _contribution(parts, [next(grads) for _ in parts]) for name, parts in found.items()}


def gate_maps(network: nn.Module, *inputs: Tensor, within: nn.Module | None = None) -> dict[str, Tensor]:
    """Return the gate of every module that weights positions, which is its own map of attention.

    Args:
        network: whose gates have `position_gate`: what they multiply positions by, (B, 1, *spatial), for their inputs.
        inputs: of the network, B samples.
        within: the part of the network whose gates are wanted; None for all of it.

    Returns:
        (B, 1, *spatial) for each gate, 0..1, by its name in the network, in the order of their use.

    Raises:
        UserError: there is no such gate.
    """
    found: dict[str, Tensor] = {}

    def keep(name: str, gate: nn.Module, given: tuple[Tensor, ...], _: Tensor) -> None:
        found[_free(name, found)] = gate.position_gate(*given)

    gates = modules_with("position_gate", network, within)
    if not gates:
        raise UserError(f"{type(network).__name__} has no gate over positions; nothing can be shown.")
    handles = [module.register_forward_hook(partial(keep, name)) for name, module in gates.items()]
    try:
        with torch.no_grad():
            network(*inputs)
    finally:
        for handle in handles:
            handle.remove()
    return found


@contextmanager
def written_out(network: nn.Module, within: nn.Module | None = None) -> Iterator[Found]:
    """Let the mixers of a network write their weights out while it runs, and yield where these are kept.

    Raises:
        UserError: there is no such mixer.
    """
    found: Found = {}

    def forward(name: str, mixer: nn.Module, *given: Tensor) -> Tensor:
        output, found[_free(name, found)] = mixer.with_weights(*given)
        return output

    mixers = modules_with("with_weights", network, within)
    if not mixers:
        raise UserError(f"{type(network).__name__} has no token mixer with attention maps; nothing can be shown.")
    for name, mixer in mixers.items():
        mixer.forward = partial(forward, name, mixer)
    try:
        yield found
    finally:
        for mixer in mixers.values():
            del mixer.forward  # that of its class is left
    if not found:
        raise UserError("none of the attention blocks was used for this input; give another part of the network.")


def modules_with(method: str, network: nn.Module, within: nn.Module | None = None) -> dict[str, nn.Module]:
    """Return the modules that have a method, by their names in the network; but not those inside of such.

    Args:
        method: "with_weights" for token mixers, "position_gate" for gates.
        network: where to look.
        within: the part of it that is searched; None for all of it.
    """
    inside = set((within or network).modules())
    found: dict[str, nn.Module] = {}
    for name, module in network.named_modules():
        nested = any(name.startswith(f"{outer}.") for outer in found)
        if module in inside and callable(getattr(type(module), method, None)) and not nested:
            found[name or "network"] = module
    return found


def _free(name: str, taken: dict[str, Any]) -> str:
    number = 1 + sum(each.split("#")[0] == name for each in taken)
    return name if number == 1 else f"{name}#{number}"


def _contribution(parts: list[TokenWeights], grads: list[Tensor | None]) -> Tensor:
    """Return the mean over all heads, laid out over the map, (B, N, N)."""
    heads = sum(part.weights.shape[1] for part in parts)
    total = None
    for part, grad in zip(parts, grads, strict=True):
        weights = part.weights.detach()
        grad = torch.zeros_like(weights) if grad is None else grad
        laid = weights.shape[1] * part.over_map(contribution(weights, grad).unsqueeze(1)).squeeze(1)
        total = laid if total is None else total + laid
    return total / heads

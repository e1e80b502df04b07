"""The groups of tokens that attention goes over: who asks, who answers, what is added to the scores."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import reduce
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes


class Group(NamedTuple):
    """Groups of tokens that differ by their place alone. G groups, n queries and m keys of each.

    Attributes:
        queries: (G, n) numbers of tokens.
        keys: (G, m) numbers of tokens; any number where there is padding. The same tensor as `queries` where tokens
            attend to themselves, which are then gathered once.
        padded: (m), true where a key is padding; None where none is.
        own: (n), which of the keys the queries are, where they are among them; None for all of them in this order.
        pairs: (n, m), where a pair's bias stands in the table; None where the table itself is (n, m) in order.
        penalty: (n, m), added to the scores; None for nothing.
    """

    queries: Tensor
    keys: Tensor
    padded: Tensor | None = None
    own: Tensor | None = None
    pairs: Tensor | None = None
    penalty: Tensor | None = None

    def chunks(self, cost: int, limit: int) -> list[tuple[Tensor, Tensor]]:
        """Return the queries and keys of some groups at a time: as many as cost, at `cost` each, at most `limit`."""
        at_once = max(1, limit // max(1, cost))
        return list(zip(self.queries.split(at_once), self.keys.split(at_once), strict=True))

    def on(self, device: torch.device) -> Group:
        """Return the group on a device."""
        if self.queries.device == device:
            return self
        queries, keys, *others = (None if each is None else each.to(device) for each in self)
        return Group(queries, queries if self.keys is self.queries else keys, *others)


@contextmanager
def constants() -> Iterator[None]:
    """Make real tensors on the CPU, also while a program is recorded or run in inference mode: they may be kept."""
    tracing = torch._C._get_tracing_state()
    torch._C._set_tracing_state(None)
    try:
        with _disable_current_modes(), torch.inference_mode(False), torch.device("cpu"):
            yield
    finally:
        torch._C._set_tracing_state(tracing)


def over_axes(matrices: Sequence[Tensor], joined: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Join what is said of each axis into what holds for the map: (a, b) and (c, d) -> (a * c, b * d), last fastest.

    Args:
        matrices: one for each axis, the first axis first.
        joined: of an element of one axis and an element of the next.
    """

    def pair(first: Tensor, second: Tensor) -> Tensor:
        every = joined(first[:, None, :, None], second[None, :, None, :])
        return every.flatten(2, 3).flatten(0, 1)

    return reduce(pair, matrices)

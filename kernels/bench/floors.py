"""The time that an operation takes at least: what must be moved and computed, over what a GPU moves and computes."""

from __future__ import annotations

from typing import NamedTuple

import torch


class Work(NamedTuple):
    """What an operation does at least.

    Attributes:
        bytes: read and written, each operand once.
        flops: of matrix products, in half precision.
        exponentials: also of tanh and sigmoid.
    """

    bytes: float
    flops: float = 0.0
    exponentials: float = 0.0


class Ceilings(NamedTuple):
    """What a GPU does at most, each a second.

    Attributes:
        bytes: of a copy, those read and those written.
        flops: of matrix products in half precision.
        exponentials: 16 for each multiprocessor and clock.
    """

    bytes: float
    flops: float
    exponentials: float


def floor(work: Work, ceilings: Ceilings) -> float:
    """Return the seconds of the slowest of the three."""
    return max(done / most for done, most in zip(work, ceilings, strict=True))


def exponentials(properties: torch.cuda._CudaDeviceProperties) -> float:
    """Return how many a GPU computes a second; its clock is 1.755 GHz where PyTorch does not tell it."""
    return 16e3 * properties.multi_processor_count * getattr(properties, "clock_rate", 1_755_000)

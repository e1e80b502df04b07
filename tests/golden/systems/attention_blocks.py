"""Attention blocks of the core, one variant for each published block.

`blocks/<family>.py` tells in BLOCKS how to build the block of a variant, by what the variant's name begins with; the
longest such beginning counts. Builders take everything from the case's config, shapes and inputs.
"""

import runpy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from differentiate import run
from parity import Case
from torch import Tensor

from foveal.core.attention.gate import AttentionGate

FAMILIES = sorted((Path(__file__).parents[1] / "blocks").glob("*.py"))


def outputs(case: Case) -> dict[str, np.ndarray]:
    """Return the output of a block and its gradients.

    Raises:
        LookupError: no block is known for the variant.
    """
    block = builder(case.meta["variant"])(case)
    return run(block, case.inputs) | maps(block, case)


def builder(variant: str) -> Callable[[Case], Callable[..., Tensor]]:
    """Return what builds the block of a variant.

    Raises:
        LookupError: no block is known for the variant.
    """
    known = {name: build for family in FAMILIES for name, build in runpy.run_path(str(family))["BLOCKS"].items()}
    fitting = [name for name in known if variant.startswith(name)]
    if not fitting:
        raise LookupError(f"no block computes the variant {variant!r}")
    return known[max(fitting, key=len)]


def maps(block: Callable[..., Tensor], case: Case) -> dict[str, np.ndarray]:
    """Return the attention map of a block that shows one."""
    if not isinstance(block, AttentionGate):
        return {}
    with torch.inference_mode():
        return {"attention": block.position_gate(*map(torch.from_numpy, case.inputs)).numpy()}

"""What tells that features are those that a network was trained on: their encoder, and the tiles that it saw."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...core.errors import UserError
from ...core.weights.card import Card

logger = logging.getLogger(__name__)

FACTS = ("encoder", "encoder_digest", "mpp", "patch_size")
"""What must be the same of all bags, where their files tell it, as other features mean other things."""
KINDS = {"encoder": str, "encoder_digest": str, "mpp": int | float, "patch_size": int}
OPTIONS = {"encoder": "--encoder", "encoder_digest": "--encoder", "mpp": "--mpp", "patch_size": "--size"}
"""The options that say what is taken, whatever the weights card tells."""


def alike(first: object, second: object) -> bool:
    """Tell whether two facts agree; micrometres may differ a little, as tiles are whole pixels of each slide."""
    numbers = isinstance(first, int | float) and isinstance(second, int | float)
    if numbers and float in (type(first), type(second)):
        return math.isclose(first, second, rel_tol=0.05)
    return first == second


def unfinite(values: np.ndarray) -> str | None:
    """Return what is wrong with features, (N, D), of which some are no finite numbers."""
    broken = ~np.isfinite(values).all(axis=1)
    if not broken.any():
        return None
    return (
        f"has features that are no finite numbers in {int(broken.sum())} of {len(broken)} rows, first row "
        f"{int(broken.argmax())}; make its features again"
    )


def expected_facts(card: Card, encoder: str | None, mpp: float | None, size: int | None) -> dict[str, Any]:
    """Return what a network expects of features, as far as that is known.

    Args:
        card: of the network; tells what it was trained on.
        encoder: to take in its place; None for that of the card. Its weights then are not compared either.
        mpp: likewise, micrometres per pixel of tiles.
        size: likewise, pixels along a side of a tile.
    """
    told = card.training.get("features")
    told = told if isinstance(told, dict) else {}
    facts = {name: told[name] for name in FACTS if isinstance(told.get(name), KINDS[name])}
    for name, value in {"encoder": encoder, "mpp": mpp, "patch_size": size}.items():
        if value is None:
            continue
        if name in facts and not alike(facts[name], value):
            logger.warning("%s %s: is taken; %s was trained on %s.", OPTIONS[name], value, card.name, facts[name])
        facts[name] = value
    if encoder is not None:
        facts.pop("encoder_digest", None)
    return facts


def check_facts(where: Path | str, found: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """Refuse features that are not what a network expects.

    Args:
        where: the features, named in the error.
        found: what is told of them.
        expected: from `expected_facts`; what one of both does not tell is not compared.

    Raises:
        UserError: names the first fact in which they differ, and the option that settles it.
    """
    for name in FACTS:
        if name not in found or name not in expected or alike(found[name], expected[name]):
            continue
        if name == "encoder_digest":
            raise UserError(
                f"{where}: {found['encoder']} has other weights than in the training (SHA-256 {found[name][:12]}, "
                f"not {expected[name][:12]}); give those of the training by --encoder_weights, or --encoder "
                f"{found['encoder']} to take these all the same."
            )
        raise UserError(
            f"{where}: {name} is {found[name]}, but the network was trained on {expected[name]}; make the features "
            f"again with {OPTIONS[name]} {expected[name]}, or give {OPTIONS[name]} {found[name]} to take them all the "
            "same."
        )

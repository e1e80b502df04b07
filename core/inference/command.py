"""What the `infer` commands of all apps share: weights and options in, an engine out."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from torch import nn

from ... import __version__
from ..catalogue import cards
from ..errors import UserError
from ..weights.card import Card
from ..weights.files import digest
from ..weights.load import Program, load_program
from ..weights.shipped import find_weights
from .device import Precision, find_device
from .engine import Engine, Tile
from .tiles import Blend

logger = logging.getLogger(__name__)


def open_engine(
    app: str | None,
    weights: str,
    scale: int | None = None,
    tile: Tile = "auto",
    overlap: int | None = None,
    device: str = "auto",
    precision: Precision = "float32",
    tta: bool = False,
    blend: Blend = "linear",
    batch: int = 1,
) -> tuple[Engine, dict[str, object]]:
    """Load weights and return the engine that runs them, and the facts on which its outputs depend.

    Args:
        app: the app that is run; None takes the weights of any.
        weights: what `load_program` takes.
        scale: the scale that the weights must have; None for any.
        tile: as for `Engine`; so are the others.
        overlap: see `Engine`.
        device: see `Engine`.
        precision: see `Engine`.
        tta: see `Engine`.
        blend: see `Engine`.
        batch: see `Engine`.

    Raises:
        UserError: the weights cannot be loaded, are of another app or scale, or an option is out of its range.
    """
    program, facts = open_program(app, weights, device, scale)
    return make_engine(program, facts, tile, overlap, device, precision, tta, blend, batch)


def open_program(
    app: str | None, weights: str, device: str = "auto", scale: int | None = None
) -> tuple[Program, dict[str, object]]:
    """Load weights and return their program, and the facts on which its outputs depend.

    Args:
        app: as for `open_engine`; so are the others.
        weights: see `open_engine`.
        device: see `open_engine`.
        scale: see `open_engine`.

    Raises:
        UserError: the weights cannot be loaded, or are of another app or scale.
    """
    place = find_device(device)
    program = load_program(weights, place)
    card = program.card
    _check_card(card, weights, app, scale)
    facts = {
        "version": __version__,
        "weights": digest(find_weights(weights)),
        "card": card.name,
        "device": place.type,
    }
    return program, facts


def make_engine(
    program: Program,
    facts: Mapping[str, object],
    tile: Tile = "auto",
    overlap: int | None = None,
    device: str = "auto",
    precision: Precision = "float32",
    tta: bool = False,
    blend: Blend = "linear",
    batch: int = 1,
) -> tuple[Engine, dict[str, object]]:
    """Return the engine that runs a program, and the facts on which its outputs depend; warn of useless options.

    Args:
        program: what `open_program` gave.
        facts: what it gave with it.
        tile: as for `Engine`; so are the others.
        overlap: see `Engine`.
        device: see `Engine`.
        precision: see `Engine`.
        tta: see `Engine`.
        blend: see `Engine`.
        batch: see `Engine`.

    Raises:
        UserError: an option is out of its range.
    """
    warn_of_exported(program, precision, batch)
    engine = Engine(program, program.card, find_device(device), precision, tile, overlap, tta, blend, batch)
    options = {"tile": engine.tiles, "overlap": engine.overlaps, "blend": blend, "batch": engine.batch}
    return engine, {**facts, **options, "precision": precision, "tta": tta}


def warn_of_exported(program: Program, precision: Precision, batch: int = 1) -> None:
    """Warn of what an exported program does not do: compute in another precision, or several inputs at once."""
    if isinstance(program, nn.Module):
        return
    for name, value, default in (("precision", precision, "float32"), ("batch", batch, 1)):
        if value != default:
            logger.warning("--%s %s has no effect: %s is an exported program.", name, value, program.card.name)


def _check_card(card: Card, weights: str, app: str | None, scale: int | None) -> None:
    if app not in (None, card.app):
        raise UserError(f"--weights {weights}: are for {card.app}, not for {app}; run `foveal {card.app} infer`.")
    if scale not in (None, card.scale):
        fitting = [each.name for each in cards() if each.app == card.app and each.scale == scale]
        none = f"no weights that come with Foveal enlarge by {scale}"
        hint = f"give --weights {' or '.join(fitting)}" if fitting else none
        raise UserError(f"--scale {scale}: the weights {weights} enlarge by {card.scale}, not by {scale}; {hint}.")

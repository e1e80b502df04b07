"""The weights card: what a set of weights needs from its input and promises about its output.

A card travels inside every checkpoint and every exported artefact as one JSON text, so that a file alone is enough to
run it. Needs no torch.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import UserError


@dataclass(frozen=True, kw_only=True)
class Card:
    """What a checkpoint or an exported program needs and promises.

    Attributes:
        name: what people call these weights, e.g. "dlgsanet-tiny-x2".
        app: the app that runs them, e.g. "superres".
        network: how to build the module: {"class_path": dotted path, "init_args": plain values}.
        channels: names of the input channels, in order.
        value_range: lowest and highest input value that the network was trained on.
        scale: output pixels per input pixel along each axis.
        size_multiple: input height and width must be multiples of this.
        tile: input pixels along one side of a tile.
        overlap: input pixels that neighbouring tiles share.
        licence: terms under which the weights may be used.
        training: facts about the training (data and their licences, config, steps, seed).
        metrics: measured quality, as plain values.

    Raises:
        UserError: a field has the wrong type or an impossible value.
    """

    name: str
    app: str
    network: dict[str, Any]
    tile: int
    overlap: int
    channels: tuple[str, ...] = ("red", "green", "blue")
    value_range: tuple[float, float] = (0.0, 1.0)
    scale: int = 1
    size_multiple: int = 1
    licence: str = ""
    training: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        problem = next(_problems(self), None)
        if problem:
            raise UserError(f"weights card: {problem}")

    def to_json(self) -> str:
        """Return the card as one JSON object; `from_json` gives an equal card back."""
        return json.dumps(dataclasses.asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str, source: str | Path = "") -> Card:
        """Read a card from JSON text.

        Args:
            text: what `to_json` wrote.
            source: the file that the text comes from, named in the error.

        Raises:
            UserError: the text is no JSON object, or a field is missing, unknown or wrong.
        """
        try:
            return cls(**_fields(text))
        except UserError as error:
            where = f"{source}: " if str(source) else ""
            raise UserError(
                f"{where}{error}. The file was damaged or written by another version of Foveal; "
                "get it again, or save or export it again with this version."
            ) from None


def _fields(text: str) -> dict[str, Any]:
    """Parse the JSON text into constructor arguments, lists of the tuple fields made tuples."""
    try:
        values = json.loads(text)
    except (json.JSONDecodeError, TypeError) as error:
        raise UserError(f"weights card: not valid JSON ({error})") from None
    if not isinstance(values, dict):
        raise UserError(f"weights card: expected a JSON object, found {type(values).__name__}")
    known = {item.name: item for item in dataclasses.fields(Card)}
    if unknown := sorted(set(values) - set(known)):
        raise UserError(f"weights card: unknown field {', '.join(unknown)}")
    required = {name for name, item in known.items() if _is_required(item)}
    if missing := sorted(required - set(values)):
        raise UserError(f"weights card: missing field {', '.join(missing)}")
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}


def _is_required(item: dataclasses.Field[Any]) -> bool:
    return item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING


def _problems(card: Card) -> Iterator[str]:
    """Yield what is wrong with the card, worst first."""
    for name in ("name", "app", "licence"):
        if not isinstance(getattr(card, name), str):
            yield f"{name} must be text, found {getattr(card, name)!r}"
    for name in ("network", "training", "metrics"):
        if not isinstance(getattr(card, name), dict):
            yield f"{name} must be a mapping, found {getattr(card, name)!r}"
    yield from _network_problems(card.network)
    if not _is_tuple_of(card.channels, str) or not card.channels:
        yield f"channels must be a list of names, found {card.channels!r}"
    if not _is_range(card.value_range):
        yield f"value_range must be two finite numbers, the lower first, found {card.value_range!r}"
    yield from _size_problems(card)


def _network_problems(network: dict[str, Any]) -> Iterator[str]:
    if not isinstance(network.get("class_path"), str):
        yield "network needs a class_path, the dotted path of a module class"
    if not isinstance(network.get("init_args", {}), dict):
        yield f"network.init_args must be a mapping, found {network['init_args']!r}"
    if extra := sorted(set(network) - {"class_path", "init_args"}):
        yield f"network has unknown entry {', '.join(map(str, extra))}"


def _size_problems(card: Card) -> Iterator[str]:
    for name, lowest in (("scale", 1), ("size_multiple", 1), ("tile", 1), ("overlap", 0)):
        value = getattr(card, name)
        if not isinstance(value, int) or isinstance(value, bool) or value < lowest:
            yield f"{name} must be a whole number of at least {lowest}, found {value!r}"
    if card.overlap >= card.tile:
        yield f"overlap {card.overlap} must be smaller than tile {card.tile}"
    if card.tile % card.size_multiple:
        yield f"tile {card.tile} must be a multiple of size_multiple {card.size_multiple}"


def _is_tuple_of(value: object, kind: type | tuple[type, ...]) -> bool:
    return isinstance(value, tuple) and all(isinstance(item, kind) and not isinstance(item, bool) for item in value)


def _is_range(value: object) -> bool:
    if not _is_tuple_of(value, (int, float)) or len(value) != 2:  # type: ignore[arg-type]
        return False
    low, high = value  # type: ignore[misc]
    return math.isfinite(low) and math.isfinite(high) and low < high

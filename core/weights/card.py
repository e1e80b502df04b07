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
from typing import Any, Literal, get_args

from ..errors import UserError
from .label import Label

Activation = Literal["none", "sigmoid", "softmax", "threshold", "argmax"]
"""What becomes of a network's blended outputs: themselves; probabilities of independent or of exclusive classes; or a
label map, 1 where the sigmoid is above one half, or the number of the channel with the highest value."""
Unit = Literal["", "reflectance"]
"""What the values of the channels are: what a format gives, or reflectance of the surface or at the top of the
atmosphere, mostly 0..1."""
Kind = Literal["dense", "classes", "bag"]
"""Whether a network gives something for every sample of its input, one score of each class for the whole, or these for
a bag of feature vectors."""
RGB = ("red", "green", "blue")
AXES = ({"R", "L"}, {"A", "P"}, {"S", "I"})
"""Letters of the directions in a body: right and left, anterior and posterior, superior and inferior."""
Sizes = int | tuple[int, ...]
"""One number for all spatial axes, or one for each."""


@dataclass(frozen=True, kw_only=True)
class Card:
    """What a checkpoint or an exported program needs and promises.

    Attributes:
        name: what people call these weights, e.g. "dlgsanet-tiny-x2".
        app: the app that runs them, e.g. "superres".
        network: how to build the module: {"class_path": dotted path, "init_args": plain values}; among these, what
            makes a part of it is such a mapping itself.
        kind: "dense", or "classes" for a classifier, (N, C, *frame) -> scores (N, len(outputs)), which `activation`
            makes probabilities, "softmax" of exclusive classes and "sigmoid" of independent ones; or "bag" for a
            classifier of bags, (1, instances, len(channels)) -> scores (1, len(outputs)).
        dimensions: spatial axes of the network's input, 2 or 3; a 2D network takes a volume slice by slice.
        axis: of a volume, along which a 2D network takes the slices: 0, 1 or 2 of the axes (i, j, k) of NIfTI, which
            are the columns, rows and slices of arrays; 2 takes them as they are stored. The other two keep their order.
        channels: names of the input channels, in order.
        dates: images of one place, each of these channels, that the network takes at once: as one image of
            dates * channels, all channels of the first date first.
        unit: of the channels' values.
        value_range: lowest and highest input value that the network was trained on.
        scale: output pixels per input pixel along each axis.
        size_multiple: every spatial size of the input must be a multiple of this; one number, or one for each axis.
        smallest_size: every spatial size of the input must be at least this.
        fixed_tile: inputs must be of exactly the size of a tile; smaller ones are padded to it.
        tile: input samples along a side of a tile; one number, or one for each axis.
        overlap: input samples that neighbouring tiles share; one number, or one for each axis.
        intensity: how values in the units of a format become those of the network: {} takes them as they are;
            {"window": [low, high]} and {"percentiles": [low, high]}, of each channel of the whole input, are mapped to
            `value_range` and cut off beyond; {"zscore": true} subtracts the mean of the whole input and divides by its
            standard deviation; {"zscore": "nonzero"} does so with the samples that are not zero alone, and leaves the
            others zero, as for MR of which all but the brain was cut away. Images are in `value_range` without it.
        mean: subtracted from each channel, in the units of `value_range`; () for none. Outputs that are channels
            themselves, with the activation "none", get it added again, after they were multiplied by `std`.
        std: by which each channel is divided then.
        frame: the size to which the whole input is resized, for networks that see it as a whole; () for none.
        spacing: distance between neighbouring samples that the network was trained on, for each spatial axis:
            millimetres for volumes, micrometres for slides, metres for rasters; () where it does not matter.
        orientation: where the indices of a volume grow to, a letter for each axis (D, H, W): "SPL" for towards the
            head (S, not I), back (P, not A) and left (L, not R); "" takes the axes as they are stored.
        outputs: names of the output channels; () where they are those of the input.
        activation: what becomes of the outputs.
        probabilities: the network itself gives probabilities of exclusive classes, not logits.
        labels: what the values of a label map mean.
        licence: terms under which the weights may be used.
        training: facts about the training (data and their licences, config, steps, seed).
        metrics: measured quality, as plain values.

    Raises:
        UserError: a field has the wrong type or an impossible value.
    """

    name: str
    app: str
    network: dict[str, Any]
    tile: Sizes
    overlap: Sizes
    kind: Kind = "dense"
    dimensions: int = 2
    axis: int = 2
    channels: tuple[str, ...] = RGB
    dates: int = 1
    unit: Unit = ""
    value_range: tuple[float, float] = (0.0, 1.0)
    scale: int = 1
    size_multiple: Sizes = 1
    smallest_size: int = 1
    fixed_tile: bool = False
    intensity: dict[str, Any] = field(default_factory=dict)
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    frame: tuple[int, ...] = ()
    spacing: tuple[float, ...] = ()
    orientation: str = ""
    outputs: tuple[str, ...] = ()
    activation: Activation = "none"
    probabilities: bool = False
    labels: tuple[Label, ...] = ()
    licence: str = ""
    training: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        problem = next(_problems(self), None)
        if problem:
            raise UserError(f"weights card: {problem}")

    @property
    def planes(self) -> int:
        """Return the channels of the network's input, of all dates together."""
        return self.dates * len(self.channels)

    @property
    def makes_labels(self) -> bool:
        """Tell whether outputs are label maps, not values."""
        return self.activation in ("threshold", "argmax")

    def per_axis(self, name: str) -> tuple[int, ...]:
        """Return "tile", "overlap" or "size_multiple" for each spatial axis."""
        value = getattr(self, name)
        return value if isinstance(value, tuple) else (value,) * self.dimensions

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


def network_entry(kind: type, arguments: dict[str, Any]) -> dict[str, Any]:
    """Return how a card tells of a network of this class, built with these arguments."""
    return {"class_path": f"{kind.__module__}.{kind.__qualname__}", "init_args": arguments}


def colour_names(channels: int) -> tuple[str, ...]:
    """Return what a card calls the channels of pictures: red, green and blue where there are three, else grey."""
    return RGB if channels == len(RGB) else ("grey",) * channels


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
    values["labels"] = [Label.from_plain(each) for each in values.get("labels", ())]
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}


def _is_required(item: dataclasses.Field[Any]) -> bool:
    return item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING


def _problems(card: Card) -> Iterator[str]:
    """Yield what is wrong with the card, worst first."""
    for name in ("name", "app", "licence"):
        if not isinstance(getattr(card, name), str):
            yield f"{name} must be text, found {getattr(card, name)!r}"
    for name in ("network", "training", "metrics", "intensity"):
        if not isinstance(getattr(card, name), dict):
            yield f"{name} must be a mapping, found {getattr(card, name)!r}"
    yield from _network_problems(card.network)
    if not _is_tuple_of(card.channels, str) or not card.channels:
        yield f"channels must be a list of names, found {card.channels!r}"
    if not _is_range(card.value_range):
        yield f"value_range must be two finite numbers, the lower first, found {card.value_range!r}"
    if card.unit not in get_args(Unit):
        yield f"unit must be one of {', '.join(map(repr, get_args(Unit)))}, found {card.unit!r}"
    yield from _size_problems(card)
    yield from _value_problems(card)
    yield from _output_problems(card)


def _network_problems(network: dict[str, Any]) -> Iterator[str]:
    if not isinstance(network.get("class_path"), str):
        yield "network needs a class_path, the dotted path of a module class"
    if not isinstance(network.get("init_args", {}), dict):
        yield f"network.init_args must be a mapping, found {network['init_args']!r}"
    if extra := sorted(set(network) - {"class_path", "init_args"}):
        yield f"network has unknown entry {', '.join(map(str, extra))}"


def _size_problems(card: Card) -> Iterator[str]:
    if card.dimensions not in (2, 3):
        yield f"dimensions must be 2 or 3, found {card.dimensions!r}"
    if card.axis not in (0, 1, 2) or isinstance(card.axis, bool):
        yield f"axis must be 0, 1 or 2, found {card.axis!r}"
    for name in ("scale", "smallest_size", "dates"):
        if not _is_whole(getattr(card, name), 1):
            yield f"{name} must be a whole number of at least 1, found {getattr(card, name)!r}"
    if card.dates != 1 and (card.dimensions, card.kind) != (2, "dense"):
        yield f"only a dense network of 2 dimensions takes several dates, found {card.dates!r}"
    for name, lowest in (("size_multiple", 1), ("tile", 1), ("overlap", 0)):
        value = getattr(card, name)
        if isinstance(value, tuple) and len(value) != card.dimensions:
            yield f"{name} must be one number or {card.dimensions}, found {value!r}"
        if not all(_is_whole(each, lowest) for each in (value if isinstance(value, tuple) else (value,))):
            yield f"{name} must be a whole number of at least {lowest}, found {value!r}"
    for tile, overlap, multiple in zip(*map(card.per_axis, ("tile", "overlap", "size_multiple")), strict=True):
        if overlap >= tile:
            yield f"overlap {overlap} must be smaller than tile {tile}"
        if tile % multiple:
            yield f"tile {tile} must be a multiple of size_multiple {multiple}"
        if tile < card.smallest_size:
            yield f"tile {tile} must be at least smallest_size {card.smallest_size}"
    if not isinstance(card.fixed_tile, bool):
        yield f"fixed_tile must be true or false, found {card.fixed_tile!r}"
    if card.fixed_tile and card.frame:
        yield "an input that is resized to a frame has no fixed_tile"


def _value_problems(card: Card) -> Iterator[str]:
    match card.intensity:
        case {} if not card.intensity:
            pass
        case {"window": pair} | {"percentiles": pair} if len(card.intensity) == 1 and _is_range(_tupled(pair)):
            pass
        case {"zscore": True | "nonzero"} if len(card.intensity) == 1:
            pass
        case _:
            yield f"intensity must be a window, percentiles or zscore, found {card.intensity!r}"
    for name in ("mean", "std"):
        value = getattr(card, name)
        if not _is_tuple_of(value, (int, float)) or len(value) not in (0, len(card.channels)):
            yield f"{name} must be one number for each of the {len(card.channels)} channels, found {value!r}"
    if len(card.mean) != len(card.std) or any(each <= 0 for each in card.std):
        yield f"mean and std belong together, and std is above 0; found {card.mean!r} and {card.std!r}"
    if card.frame and (len(card.frame) != card.dimensions or not all(_is_whole(each, 1) for each in card.frame)):
        yield f"frame must be {card.dimensions} whole numbers, found {card.frame!r}"


def _output_problems(card: Card) -> Iterator[str]:
    if not _is_tuple_of(card.spacing, (int, float)) or len(card.spacing) not in (0, card.dimensions):
        yield f"spacing must be one number for each of the {card.dimensions} axes, found {card.spacing!r}"
    elif any(each <= 0 for each in card.spacing):
        yield f"spacing must be above 0, found {card.spacing!r}"
    if card.orientation and not _is_orientation(card.orientation, card.dimensions):
        yield f"orientation must name three directions such as SPL, of a volume; found {card.orientation!r}"
    if not _is_tuple_of(card.outputs, str):
        yield f"outputs must be a list of names, found {card.outputs!r}"
    if card.activation not in get_args(Activation):
        yield f"activation must be one of {', '.join(get_args(Activation))}, found {card.activation!r}"
    if card.kind not in get_args(Kind):
        yield f"kind must be one of {', '.join(get_args(Kind))}, found {card.kind!r}"
    if card.probabilities and card.activation not in ("none", "argmax"):
        yield f"probabilities need no {card.activation}"
    if card.kind != "dense" and (not card.outputs or card.activation not in ("sigmoid", "softmax")):
        yield f"a classifier needs the names of its outputs, and softmax or sigmoid, found {card.activation!r}"
    if not _is_tuple_of(card.labels, Label):
        yield f"labels must be a list of labels, found {card.labels!r}"
    elif len({label.value for label in card.labels}) < len(card.labels):
        yield "two labels have the same value"


def _is_orientation(value: object, dimensions: int) -> bool:
    if not isinstance(value, str) or dimensions != 3 or len(value) != 3:
        return False
    return {next((i for i, pair in enumerate(AXES) if letter in pair), -1) for letter in value} == {0, 1, 2}


def _is_whole(value: object, lowest: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= lowest


def _is_tuple_of(value: object, kind: type | tuple[type, ...]) -> bool:
    return isinstance(value, tuple) and all(isinstance(item, kind) and not isinstance(item, bool) for item in value)


def _tupled(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


def _is_range(value: object) -> bool:
    if not _is_tuple_of(value, (int, float)) or len(value) != 2:  # type: ignore[arg-type]
        return False
    low, high = value  # type: ignore[misc]
    return math.isfinite(low) and math.isfinite(high) and low < high

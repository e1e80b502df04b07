"""What one file holds: its size, number type, spacing and range of values, and a digest of its samples.

Files are read window by window, once from the first to the last sample, so that damage shows; of a slide, which may
hold any number of them, only the overview. Memory does not grow with the file.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..core.errors import UserError
from ..core.inference.streams import Source, Window
from .geometry import RasterGeometry, SlideGeometry, VolumeGeometry
from .inventory import Item
from .io.formats import KINDS, Kind, kind_of, open_source

WINDOW = 1 << 22  # samples read at a time
SIDE = 256  # rows that tiled rasters store together
MOST_CLASSES = 1 << 16
TOLERANCE = 0.01  # of the range of 8 and 16 bits; how far background may vary
LEAST_STEPS = 10
LEAST_CONTENT = 0.01  # of the samples; a file that differs from its background in fewer is nearly empty


@dataclass
class Facts:
    """What a file holds.

    Attributes:
        kind: its format.
        shape: (C, *spatial), or (T, C, H, W).
        spatial: number of the last axes that are spatial.
        dtype: name of the stored type.
        spacing: distance of samples along the spatial axes; () where the file tells none.
        unit: of the spacing: "mm", "µm", "m", "°", or another of the coordinate system's.
        crs: coordinate reference system of a raster.
        low: smallest value, physical; None where no sample counts.
        high: largest value.
        mean: of each channel.
        deviation: standard deviation of each channel.
        content: share of the samples that differ from the first one; of a slide, of tissue.
        invalid: share of samples that count for nothing: nodata, NaN, infinite.
        digest: SHA-256 over shape, type and samples (of a slide: of its overview).
        classes: how many samples have each value; for labels alone.
    """

    kind: Kind
    shape: tuple[int, ...]
    spatial: int
    dtype: str
    spacing: tuple[float, ...] = ()
    unit: str = ""
    crs: str = ""
    low: float | None = None
    high: float | None = None
    mean: list[float] = field(default_factory=list)
    deviation: list[float] = field(default_factory=list)
    content: float = 0.0
    invalid: float = 0.0
    digest: str = ""
    classes: Counter[int] | None = None

    @property
    def is_nearly_empty(self) -> bool:
        """Tell whether there is next to nothing but background."""
        return self.content < LEAST_CONTENT

    @property
    def extent(self) -> tuple[int, ...]:
        """Samples along the spatial axes."""
        return self.shape[-self.spatial :]

    @property
    def channels(self) -> int:
        """Channels or bands."""
        return self.shape[-self.spatial - 1]


def open_item(
    item: Item, kinds: tuple[Kind, ...] = KINDS, options: Mapping[str, Any] | None = None
) -> tuple[Kind, Source]:
    """Open an item for reading.

    Args:
        item: what to open.
        kinds: the formats that are taken.
        options: of the sources, each used by the formats that have it.

    Raises:
        UserError: it cannot be used.
    """
    if item.error:
        raise UserError(item.error)
    kind = kind_of(item.path, kinds)
    return kind, open_source(item.path, kind, **(options or {}), **item.options)


def fingerprint(kind: Kind, source: Source, as_labels: bool = False) -> Facts:
    """Read a source from end to end and tell what it holds.

    Args:
        kind: its format.
        source: the opened file.
        as_labels: count the samples of each value; there must be one channel of whole numbers.

    Raises:
        UserError: the file is damaged, or what is in it are no labels.
    """
    facts = Facts(kind, tuple(source.shape), source.spatial, str(np.dtype(source.dtype)))
    facts.spacing, facts.unit, facts.crs = spacing_of(source)
    digest = hashlib.sha256(repr((facts.shape[-source.spatial - 1 :], facts.dtype)).encode())
    statistics, labels = _Statistics(facts), Counter()
    for values, valid in _overview(source) if kind == "slide" else _windows(source):
        values = _as_stored(values, kind, source)
        digest.update(np.ascontiguousarray(values))
        statistics.add(values, valid)
        if as_labels:
            labels.update(_counted(values, source))
    statistics.tell(facts)
    facts.invalid = max(facts.invalid, getattr(source, "not_finite", 0) / statistics.samples)
    if kind == "slide":
        facts.content = float(source.tissue_overview.mean())
    facts.digest = digest.hexdigest()
    facts.classes = labels if as_labels else None
    return facts


class _Statistics:
    """Range, mean and deviation of samples that come in windows."""

    def __init__(self, facts: Facts) -> None:
        self.tolerance = TOLERANCE * np.iinfo(facts.dtype).max if facts.kind in ("image", "slide") else 0.0
        self.low, self.high = np.inf, -np.inf
        self.first: np.ndarray | None = None
        self.counts = self.sums = self.squares = np.zeros(1)
        self.unequal = self.different = self.samples = 0

    def add(self, values: np.ndarray, valid: np.ndarray | None) -> None:
        """Take in a window, (C, *extent), and which of its samples count, (C, *extent) or (*extent)."""
        counts = np.isfinite(values)
        if valid is not None:
            counts &= valid
        flat, counts = values.reshape(len(values), -1), counts.reshape(len(values), -1)
        known = np.where(counts, flat, 0)
        if self.first is None:
            self.first = known[:, :1].copy()
            self.counts, self.sums, self.squares = (np.zeros(len(flat)) for _ in range(3))
        shifted = np.where(counts, known - self.first, 0)  # so that squares of large values keep their digits
        self.counts += counts.sum(axis=1)
        self.sums += shifted.sum(axis=1, dtype=np.float64)
        self.squares += np.square(shifted, dtype=np.float64).sum(axis=1)
        self.low = min(self.low, float(known.min(where=counts, initial=np.inf)))
        self.high = max(self.high, float(known.max(where=counts, initial=-np.inf)))
        self.unequal += int(np.count_nonzero(shifted))
        self.different += int(np.count_nonzero(np.abs(shifted) > self.tolerance))
        self.samples += flat.size

    def tell(self, facts: Facts) -> None:
        """Write the results."""
        facts.invalid = 1 - float(self.counts.sum()) / self.samples
        if facts.invalid == 1:
            return
        counts = np.maximum(self.counts, 1)
        means = self.sums / counts
        facts.low, facts.high = self.low, self.high
        facts.mean = (means + self.first[:, 0]).tolist()
        facts.deviation = np.sqrt(np.maximum(self.squares / counts - means**2, 0)).tolist()
        is_picture = self.high - self.low > LEAST_STEPS * self.tolerance  # and not the few numbers of classes
        facts.content = (self.different if is_picture else self.unequal) / self.samples


def _windows(source: Source) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    """Give all samples of a source in windows from top to bottom, and which of them count."""
    extent = source.shape[-source.spatial :]
    row = int(np.prod(source.shape)) // extent[0]
    rows = max(WINDOW // row, 1)
    rows = rows - rows % SIDE if rows > SIDE else rows
    for top in range(0, extent[0], rows):
        window = (slice(top, min(top + rows, extent[0])), *(slice(0, size) for size in extent[1:]))
        yield source.read(window), _valid(source, window)


def _valid(source: Source, window: Window) -> np.ndarray | None:
    return source.valid(window) if getattr(source, "may_have_invalid", False) else None


def _overview(source: Any) -> Iterator[tuple[np.ndarray, None]]:
    yield source.overview.transpose(2, 0, 1).astype(np.float32), None


def _as_stored(values: np.ndarray, kind: Kind, source: Source) -> np.ndarray:
    """Return the pixels of images as whole numbers; the values of other formats are physical already."""
    return (values * np.iinfo(source.dtype).max).round() if kind == "image" else values


def _counted(values: np.ndarray, source: Source) -> dict[int, int]:
    """Return how many samples have each value."""
    path = source.path
    if len(values) > 1 and (values != values[:1]).any():
        raise UserError(f"{path}: has {len(values)} channels; labels need one, which holds the number of the class.")
    values = values[0]
    if not (np.isfinite(values).all() and values.min() >= 0 and (values == values.round()).all()):
        raise UserError(f"{path}: holds values such as {_odd(values):g}; labels are whole numbers from 0.")
    if values.max() >= MOST_CLASSES:
        raise UserError(
            f"{path}: holds the label {values.max():.0f}; those above {MOST_CLASSES - 1} are not supported."
        )
    counts = np.bincount(values.astype(np.int64).ravel())
    return {int(value): int(counts[value]) for value in counts.nonzero()[0]}


def _odd(values: np.ndarray) -> float:
    return float(values[~np.isfinite(values) | (values < 0) | (values != np.round(values))][0])


def spacing_of(source: Source) -> tuple[tuple[float, ...], str, str]:
    """Return the distances of samples along the spatial axes, their unit, and the coordinate reference system.

    Where a file tells none of them they are () and ""; see `Facts`.
    """
    match source.geometry:
        case VolumeGeometry() as geometry:
            return geometry.spacing_mm[-source.spatial :], "mm", ""
        case SlideGeometry() as geometry:
            return (geometry.level0_mpp, geometry.level0_mpp), "µm", ""
        case RasterGeometry(crs=None):
            return (), "", ""
        case RasterGeometry(crs=crs, transform=at):
            unit = {"metre": "m", "meter": "m"}.get(crs.linear_units, crs.linear_units) if crs.is_projected else "°"
            return (float(np.hypot(at.b, at.e)), float(np.hypot(at.a, at.d))), unit, crs.to_string()
    return (), "", ""

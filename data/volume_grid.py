"""Bringing a volume to the spacing of a network while it is read, and what the network makes of it back to its grid.

Both are streams of bounded memory along the stored axes (D, H, W): a few slices of the file and the rows of one tile
are held, never a volume. Grids cover the same extent.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..core.errors import UserError
from ..core.inference.activate import activate
from ..core.inference.streams import Carry, Sink, Source, Window
from ..core.weights.card import Activation
from .geometry import VolumeGeometry
from .resample import Taps, cubic, linear, nearest, resampled

SAME = 0.01
"""Relative difference of spacings up to which an axis is left as it is."""
COARSE = 3.0
"""Times the finest spacing beyond which an axis is not interpolated when it is refined."""
LONGEST = 8192  # samples of an axis; more come of a wrong spacing
SLAB = 4 << 20  # samples that are brought back at once
KEPT = 16  # resampled slices of the file


class Grid(NamedTuple):
    """What a volume is resampled to.

    Attributes:
        stored: its (D, H, W).
        shape: the (D, H, W) that are made of it.
        repeated: the axes whose samples are repeated, not interpolated.
    """

    stored: tuple[int, ...]
    shape: tuple[int, ...]
    repeated: tuple[bool, ...]

    @property
    def changes(self) -> bool:
        """Tell whether there is anything to do."""
        return self.shape != self.stored

    def image_taps(self) -> list[Taps]:
        """Return how values are brought to the grid along each axis."""
        return [(nearest if each else cubic)(*sizes) for *sizes, each in zip(*self, strict=True)]

    def label_taps(self) -> list[Taps]:
        """Return how the masks of labels are brought to the grid along each axis."""
        return [(nearest if each else linear)(*sizes) for *sizes, each in zip(*self, strict=True)]

    def back_taps(self) -> list[Taps]:
        """Return how values on the grid are brought back along each axis."""
        return [linear(made, size) for size, made, _ in zip(*self, strict=True)]


def grid_of(geometry: VolumeGeometry, spacing: Sequence[float]) -> Grid:
    """Return the grid of a spacing over a volume.

    An axis whose spacing differs by at most 1% stays as it is. Along the one axis that is more than three times as
    coarse as the finest, samples are repeated where it is refined, as nnU-Net does; where an axis gets coarser, samples
    are averaged.

    Args:
        geometry: where the volume lies.
        spacing: wanted, millimetres along (D, H, W) as stored.

    Raises:
        UserError: the spacings are so different that an axis would be impossibly long.
    """
    found = geometry.spacing_mm
    shape = tuple(
        size if abs(has - wants) <= SAME * wants else max(1, round(size * has / wants))
        for size, has, wants in zip(geometry.shape, found, spacing, strict=True)
    )
    if max(shape) > max(LONGEST, *geometry.shape):
        sizes, wanted = (" x ".join(f"{each:g}" for each in values) for values in (found, spacing))
        raise UserError(
            f"the voxels are said to be {sizes} mm, the network takes {wanted} mm: that makes an axis of {max(shape)} "
            "voxels; check the spacing of the file."
        )
    largest = max(found)
    is_anisotropic = largest > COARSE * min(found) and sum(np.isclose(each, largest, rtol=SAME) for each in found) == 1
    repeated = tuple(
        is_anisotropic and has == largest and made > size
        for has, size, made in zip(found, geometry.shape, shape, strict=True)
    )
    return Grid(geometry.shape, shape, repeated)


class Regridded:
    """A volume on another grid of the same extent; read tile row after tile row.

    Args:
        source: a volume, whose slices are read one by one.
        grid: of it.

    Attributes:
        shape: (C, D, H, W) on the grid.
    """

    spatial = 3

    def __init__(self, source: Source, grid: Grid) -> None:
        self.source = source
        self.grid = grid
        self.shape = (source.shape[0], *grid.shape)
        self.geometry = source.geometry and source.geometry.resized(grid.shape)
        self.depth, *self.plane = grid.image_taps()
        self.slices: OrderedDict[int, Tensor] = OrderedDict()  # of the file, brought to the grid in their plane
        self.rows: dict[int, np.ndarray] = {}

    def read(self, window: Window) -> np.ndarray:
        """Return a window on the grid, float32 (C, *extent)."""
        rows, *inside = window
        for row in [each for each in self.rows if each < rows.start]:
            del self.rows[row]
        return np.stack([self._row(row)[:, *inside] for row in range(rows.start, rows.stop)], axis=1)

    def is_empty(self, window: Window) -> bool:
        """Return False: volumes do not say where nothing is."""
        return False

    def _row(self, row: int) -> np.ndarray:
        """Return a row of the grid, (C, H, W)."""
        if row not in self.rows:
            taps = zip(self.depth.index[row].tolist(), self.depth.weights[row].tolist(), strict=True)
            (first, share), *others = [each for each in taps if each[1]]
            total = self._slice(first) * share
            for number, share in others:
                total.add_(self._slice(number), alpha=share)
            self.rows[row] = total.numpy()
        return self.rows[row]

    def _slice(self, number: int) -> Tensor:
        """Return a slice of the file on the grid of its plane, (C, H, W)."""
        if number not in self.slices:
            _, height, width = self.grid.stored
            values = self.source.read((slice(number, number + 1), slice(0, height), slice(0, width)))[:, 0]
            self.slices[number] = resampled(torch.from_numpy(np.ascontiguousarray(values)), self.plane)
            if len(self.slices) > KEPT:
                self.slices.popitem(last=False)
        return self.slices[number]


class RegriddedSink:
    """Takes what a program makes on a grid and hands it on to a sink on the grid of the file.

    Between two samples values are interpolated linearly. Each window is handed on as far as its samples and the last
    ones of the windows before it reach; these last ones are all that is held, and what is carried to the next row of
    tiles.

    Args:
        sink: on the grid of the file.
        grid: what comes in.
        activation: what becomes of the values that are brought back.

    Attributes:
        rows_done: rows of the grid that need not be computed again.
        carry: what the engine kept for the rows after these.
    """

    def __init__(self, sink: Sink, grid: Grid, activation: Activation) -> None:
        self.sink = sink
        self.grid = grid
        self.activation = activation
        self.geometry = sink.geometry and sink.geometry.resized(grid.shape)
        self.taps = grid.back_taps()
        carry = sink.carry
        self.rows_done = int(carry[DONE]) if DONE in carry else 0
        self.carry = {place: array for place, array in carry.items() if place[0] >= 0}
        own = {(-1 - top, left): array for (top, left), array in carry.items() if top < 0 <= left}
        # Along each axis: the last samples of the windows before, by where these begin along the axes after it.
        self.ends: list[Carry] = [own, {}, {}]

    def aside(self, window: Window) -> object:
        """Return what belongs to the window that a window of the grid completes."""
        stored = self._stored(window)
        return self.sink.aside(stored) if _holds(stored) else None

    def write(self, window: Window, values: np.ndarray, aside: object) -> None:
        """Hand on what a window of the grid completes."""
        stored = self._stored(window)
        block, taps = torch.from_numpy(values), []
        for axis, (taken, made) in enumerate(zip(window, stored, strict=True)):
            origin = taken.start
            if self.taps[axis].changes:
                place = tuple(each.start for each in window[axis + 1 :])
                before = self.ends[axis].get(place) if origin else None
                block = block if before is None else torch.cat([torch.from_numpy(before), block], axis + 1)
                origin -= before is not None
                self.ends[axis][place] = block.narrow(axis + 1, block.shape[axis + 1] - 1, 1).clone().numpy()
            taps.append(self.taps[axis].part(made.start, made.stop, origin))
        if _holds(stored):
            self.sink.write(stored, self._made(block, taps), aside)

    def finish(self, rows: int, carry: Carry) -> None:
        """Note that all before this row of the grid is written."""
        own = {(-1 - top, left): array for (top, left), array in self.ends[0].items()}
        self.rows_done, self.carry = rows, {}
        self.sink.finish(self._ready(0, rows), {**carry, **own, DONE: np.array(rows)})

    def commit(self) -> None:
        """Let the finished output appear."""
        self.sink.commit()

    def _made(self, block: Tensor, taps: Sequence[Taps]) -> np.ndarray:
        """Return what becomes of a block that is brought back, (C, *extent); a few rows at once."""
        depth, *plane = taps
        step = max(1, SLAB // (len(block) * len(plane[0].index) * len(plane[1].index)))
        parts = []
        for start in range(0, len(depth.index), step):
            index, weights = depth.index[start : start + step], depth.weights[start : start + step]
            low, high = int(index.min()), int(index.max()) + 1
            values = resampled(block[:, low:high], [Taps(index - low, weights), *plane])
            parts.append(activate(values.numpy(), self.activation))
        return np.concatenate(parts, axis=1)

    def _stored(self, window: Window) -> Window:
        """Return the window of the file that is completed by one of the grid."""
        return tuple(slice(self._ready(axis, s.start), self._ready(axis, s.stop)) for axis, s in enumerate(window))

    def _ready(self, axis: int, samples: int) -> int:
        """Return how many samples of the file the first samples of the grid make along an axis."""
        return int(torch.searchsorted(self.taps[axis].index[:, -1].contiguous(), samples))


DONE = (-1, -1)
"""Place among what is carried of the number of finished rows; those of a row's last samples are negative too."""


def _holds(window: Window) -> bool:
    return all(each.stop > each.start for each in window)

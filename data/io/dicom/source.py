"""DICOM images: single files, multi-frame files and folders of a series, read slice by slice.

Arrays are (C, H, W) for one image and (C, D, H, W) for more, D along the normal of the slices. What is written lies
in `sinks`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813 (its own name for itself)
from pydicom import Dataset

from ....core.errors import UserError
from .files import read_image_file, read_whole_header
from .pixels import decode, physical
from .records import Frame, ImageFile
from .series import Series, choose_series, list_series
from .stack import stack

__all__ = ["DicomSource", "Series", "list_series"]


class DicomSource:
    """A DICOM image or volume, read in windows as float32.

    Grey samples become physical values (slope and intercept of the file applied, such as HU); where the file shows
    high values dark (MONOCHROME1), they are turned over within the range of its stored bits. Colour, palettes
    included, becomes RGB in 0..1. Slices are decoded when they are asked for; as many as the deepest window so far
    asked for, and one more, are kept decoded.

    Args:
        path: a file of any name, or a folder of which one series is read, the folders in it included.
        series: UID, or number in the list that the error shows, of the series to read; for a folder of several.
        resample: turn tilted slices (gantry tilt) upright and uneven ones even, by linear interpolation to the finest
            of their distances, instead of refusing them.

    Attributes:
        shape: (C, H, W) for one image, (C, D, H, W) for several.
        spatial: 2 or 3.
        dtype: of the stored samples.
        geometry: None for several images that have no place in space (cine loops), and for one without spacing.
        value_range: what the stored bits can reach, in the values that `read` gives.
        files: the files, in the order of the slices.

    Raises:
        UserError: the file is no DICOM image, is damaged, or cannot be decoded; the folder holds none, or several
            series and none is chosen; or the images make no even stack (see `stack.stack`).
    """

    def __init__(self, path: str | Path, series: str | int | None = None, resample: bool = False) -> None:
        self.path = Path(path)
        files = choose_series(self.path, series).files if self.path.is_dir() else (self._file(series),)
        self.stack = stack(self.path, [frame for file in files for frame in file.frames], resample)
        first = self.stack.frames[0]
        self.files = tuple({frame.file.path: frame.file for frame in self.stack.frames}.values())
        self.geometry = self.stack.geometry
        depth = len(self.stack.blends or self.stack.frames)
        size = self.geometry.shape[1:] if self.geometry else first.file.size
        self.spatial = 2 if depth == 1 else 3
        self.shape = (first.file.channels, *((depth,) if depth > 1 else ()), *size)
        self.dtype = first.file.dtype
        self.value_range = _value_range(self.stack.frames)
        self._decoded = _Kept()
        self._slices = _Kept()
        self._slice(0)  # so that damage, and what cannot be decoded, shows before any work

    def read(self, window: tuple[slice, ...]) -> np.ndarray:
        """Return a window, float32 (C, *extent).

        Raises:
            UserError: the pixels of a slice are damaged.
        """
        *depth, rows, columns = window
        numbers = range(depth[0].start, depth[0].stop) if depth else range(1)
        self._decoded.capacity = max(self._decoded.capacity, len(numbers) + 1)
        self._slices.capacity = max(self._slices.capacity, len(numbers) + 1)
        values = np.stack([self._values(number, rows, columns) for number in numbers])  # (D, h, w) or (D, h, w, C)
        values = np.moveaxis(values, -1, 0) if self.shape[0] > 1 else values[None]
        return np.ascontiguousarray(values if depth else values[:, 0])

    def is_empty(self, window: tuple[slice, ...]) -> bool:
        """Return False: the files do not say where nothing is."""
        return False

    def header(self) -> Dataset:
        """Return all elements but the pixels of the first slice's file, with identifiers of the patient."""
        return read_whole_header(self.stack.frames[0].file.path)

    def close(self) -> None:
        """Drop what is kept decoded."""
        self._decoded.clear()
        self._slices.clear()

    def __enter__(self) -> DicomSource:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _file(self, series: str | int | None) -> ImageFile:
        file = read_image_file(self.path)
        if series is not None and str(series) not in (file.series, "1"):
            raise UserError(f"{self.path}: belongs to series {file.series}, not {series}; leave out --series.")
        return file

    def _values(self, number: int, rows: slice, columns: slice) -> np.ndarray:
        """Return a window of a slice, (h, w) or (h, w, 3)."""
        if self.stack.blends is not None:
            return self._slice(number)[rows, columns]
        return physical(self.stack.frames[number], self._slice(number)[rows, columns])

    def _slice(self, number: int) -> np.ndarray:
        """Return a whole slice: stored samples, or values where it is resampled."""
        if self.stack.blends is None:
            return self._frame(number)
        return self._slices.get(number, self._resampled)

    def _frame(self, number: int) -> np.ndarray:
        return self._decoded.get(number, lambda number: decode(self.stack.frames[number]))

    def _resampled(self, number: int) -> np.ndarray:
        blend = self.stack.blends[number]
        low = self._upright(blend.low) if blend.weight < 1 else 0
        high = self._upright(blend.high) if blend.weight > 0 else 0
        return np.float32(1 - blend.weight) * low + np.float32(blend.weight) * high

    def _upright(self, number: int) -> np.ndarray:
        """Return a frame on the grid of the upright volume; what lies beyond it gets its lowest value."""
        frame = self.stack.frames[number]
        values = physical(frame, self._frame(number))
        image = sitk.GetImageFromArray(values, isVector=values.ndim == 3)
        down, right = self.stack.shifts[number]
        back = sitk.TranslationTransform(2, (-right, -down))
        _, height, width = self.geometry.shape
        grid = ((width, height), back, sitk.sitkLinear, (0.0, 0.0), (1.0, 1.0), (1.0, 0.0, 0.0, 1.0))
        return sitk.GetArrayFromImage(sitk.Resample(image, *grid, float(values.min())))


class _Kept:
    """The arrays asked for last."""

    def __init__(self) -> None:
        self.capacity = 2
        self.arrays: OrderedDict[int, np.ndarray] = OrderedDict()

    def get(self, number: int, make: Callable[[int], np.ndarray]) -> np.ndarray:
        """Return the array of a number, making it where it is not kept."""
        if number not in self.arrays:
            while len(self.arrays) >= self.capacity:
                self.arrays.popitem(last=False)
            self.arrays[number] = make(number)
        self.arrays.move_to_end(number)
        return self.arrays[number]

    def clear(self) -> None:
        """Forget all."""
        self.arrays.clear()


def _value_range(frames: tuple[Frame, ...]) -> tuple[float, float]:
    file = frames[0].file
    if file.channels == 3:
        return 0.0, 1.0
    if file.dtype.kind == "f":
        return float(np.finfo(np.float32).min), float(np.finfo(np.float32).max)
    low, high = file.stored_range
    ends = [frame.slope * sample + frame.intercept for frame in frames for sample in (low, high)]
    return min(ends), max(ends)

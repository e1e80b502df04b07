"""Volumes whose channels lie in files of their own, and labels whose values are exchanged, read as one source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import UserError
from ..core.inference.streams import Source, Window
from .io.formats import Kind, kind_of, open_source

KINDS: tuple[Kind, ...] = ("nifti", "dicom")
APART = 0.1
"""Of the finest spacing, by which the corners of files of one case may lie apart: headers are rounded, and not all
programs round them alike."""


def open_volume(images: Sequence[Path], **options: Any) -> Any:
    """Open the image of a case: one file or DICOM series with all channels, or one file for each.

    Args:
        images: these.
        options: of the source of a single one.

    Raises:
        UserError: a file cannot be used, is no volume, or they do not have one grid.
    """
    return _opened(images[0], **options) if len(images) == 1 else ChannelFiles(images)


def open_labels(path: Path, relabel: Mapping[int, int] | None = None) -> Any:
    """Open the labels of a case.

    Args:
        path: their file.
        relabel: what some values become; the others stay. None for no change.

    Raises:
        UserError: the file cannot be used or is no volume.
    """
    source = _opened(path)
    return Relabelled(source, relabel) if relabel else source


def check_grid(path: Path, found: Any, reference_path: Path, reference: Any) -> None:
    """Refuse a file whose voxels lie elsewhere than those of another one.

    Raises:
        UserError: sizes differ, or corners lie more than a tenth of a voxel apart.
    """
    difference = reference.difference(found, APART * min(reference.spacing_mm))
    if difference:
        raise UserError(
            f"{path}: lies on another grid than {reference_path.name} ({difference}); resample it to that grid, or get "
            "both from one program."
        )


class ChannelFiles:
    """Several volumes of one grid as the channels of one.

    Args:
        paths: a file for each channel, in their order.

    Attributes:
        shape: (C, D, H, W).
        geometry: where the voxels of the first file lie.
        dtype: of its stored samples.

    Raises:
        UserError: a file cannot be used, is no volume of one channel, or they do not have one grid.
    """

    spatial = 3

    def __init__(self, paths: Sequence[Path]) -> None:
        self.sources: list[Any] = []
        try:
            for path in paths:
                self.sources.append(_opened(path))
                self._check(path)
        except BaseException:
            self.close()
            raise
        first = self.sources[0]
        self.path = Path(paths[0])
        self.shape = (len(paths), *first.shape[1:])
        self.geometry, self.dtype = first.geometry, first.dtype

    @property
    def has_spacing(self) -> bool:
        """Whether all files say how far voxels are apart."""
        return all(getattr(each, "has_spacing", True) for each in self.sources)

    @property
    def not_finite(self) -> int:
        """How many samples were read as 0 so far, as they are no finite numbers."""
        return sum(getattr(each, "not_finite", 0) for each in self.sources)

    def read(self, window: Window) -> np.ndarray:
        """Return the values of a window, float32 (C, *extent)."""
        return np.concatenate([each.read(window) for each in self.sources])

    def is_empty(self, window: Window) -> bool:
        """Return False: the formats mark nothing as absent."""
        return False

    def close(self) -> None:
        """Close all files."""
        for each in self.sources:
            each.close()

    def __enter__(self) -> ChannelFiles:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _check(self, path: Path) -> None:
        first, last = self.sources[0], self.sources[-1]
        if last.shape[0] != 1:
            raise UserError(f"{path}: holds {last.shape[0]} volumes; a file of one channel holds one.")
        check_grid(path, last.geometry, first.path, first.geometry)


class Relabelled:
    """Labels of which some values become others.

    Args:
        source: whole numbers.
        relabel: {stored value: what it becomes}; the others stay.
    """

    def __init__(self, source: Any, relabel: Mapping[int, int]) -> None:
        self.source = source
        self.relabel = dict(relabel)
        self.path, self.shape, self.spatial, self.geometry = source.path, source.shape, source.spatial, source.geometry

    @property
    def not_finite(self) -> int:
        """How many samples were read as 0 so far, as they are no finite numbers."""
        return getattr(self.source, "not_finite", 0)

    def read(self, window: Window) -> np.ndarray:
        """Return the values of a window, float32 (C, *extent)."""
        stored = self.source.read(window)
        values = stored.copy()
        for old, new in self.relabel.items():
            values[stored == old] = new
        return values

    def is_empty(self, window: Window) -> bool:
        """Return False: the format marks nothing as absent."""
        return False

    def close(self) -> None:
        """Close the file."""
        self.source.close()

    def __enter__(self) -> Relabelled:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _opened(path: Path, **options: Any) -> Source:
    source = open_source(path, kind_of(path, KINDS), **options)
    if source.spatial != 3 or min(source.shape[1:]) < 2:
        source.close()
        raise UserError(f"{path}: is a single slice, not a volume; leave it out, or use an app for images.")
    return source

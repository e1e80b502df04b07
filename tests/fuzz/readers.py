"""What is done with a damaged file, by format: it is opened and read window by window, as the engine does."""

from __future__ import annotations

from pathlib import Path

import numpy as np

WINDOW = 256  # samples along each axis of an image
DEPTH = 16  # slices of a volume
MOST_WINDOWS = 48  # a header may truly declare a huge and sparse file; some windows of it tell enough


def image(path: Path) -> None:
    """Read an image."""
    from foveal.data.io.image import ImageSource

    _read_all(ImageSource(path))


def dicom(path: Path) -> None:
    """Read a DICOM file or a folder of slices."""
    from foveal.data.io.dicom import DicomSource

    _read_all(DicomSource(path))


def nifti(path: Path) -> None:
    """Read a NIfTI volume."""
    from foveal.data.io.nifti import NiftiSource

    _read_all(NiftiSource(path))


def geotiff(path: Path) -> None:
    """Read a raster."""
    from foveal.data.io.geotiff import GeoTiffSource

    _read_all(GeoTiffSource(path))


def slide(path: Path) -> None:
    """Read a whole-slide image."""
    from foveal.data.io.slide import SlideSource

    _read_all(SlideSource(path, slide_mpp=0.5))


def _read_all(source: object) -> None:
    with source:
        spatial = getattr(source, "spatial", len(source.shape) - 1)
        extent, leading = source.shape[-spatial:], source.shape[:-spatial]
        for window in _windows(extent):
            source.is_empty(window) if hasattr(source, "is_empty") else None
            values = source.read(window)
            assert values.dtype == np.float32, f"read gave {values.dtype}"
            expected = (*leading, *(each.stop - each.start for each in window))
            assert values.shape == expected, f"read gave {values.shape} instead of {expected}"


def _windows(extent: tuple[int, ...]) -> list[tuple[slice, ...]]:
    """Return windows from first to last: all of them, or some where there are very many."""
    steps = (DEPTH, WINDOW, WINDOW)[-len(extent) :]
    counts = [-(-length // step) for length, step in zip(extent, steps, strict=True)]
    total = int(np.prod(counts, dtype=object))
    chosen = (
        range(total) if total <= MOST_WINDOWS else [i * (total - 1) // (MOST_WINDOWS - 1) for i in range(MOST_WINDOWS)]
    )
    places = (_unravelled(index, counts) for index in chosen)
    return [
        tuple(slice(p * s, min((p + 1) * s, n)) for p, s, n in zip(place, steps, extent, strict=True))
        for place in places
    ]


def _unravelled(index: int, counts: list[int]) -> tuple[int, ...]:
    place = []
    for count in reversed(counts):
        index, rest = divmod(index, count)
        place.append(rest)
    return tuple(reversed(place))

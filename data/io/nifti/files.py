"""NIfTI-1 and NIfTI-2: .nii, .nii.gz, and pairs of .hdr and .img, of 2 to 4 dimensions.

Arrays are (C, D, H, W) = the file's (t, k, j, i), or (C, H, W) for files of two dimensions. Values are physical, after
the header's slope and intercept, as float32, which is exact for whole numbers of up to 24 bits.
"""

from __future__ import annotations

import gzip
import math
import os
import shutil
import tempfile
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import BinaryIO

import numpy as np
from nibabel import Nifti1Header

from ....core.errors import UserError
from ....core.inference.streams import Source
from ....core.weights.card import Card
from ...geometry import VolumeGeometry
from ..sink import SpooledSink
from . import header as headers
from .unpack import first_bytes, open_samples

SUFFIXES = (".nii", ".nii.gz", ".hdr", ".img", ".hdr.gz", ".img.gz")
"""Of the files that can be read; the first two can be written."""
BLOCK = 8 << 20  # bytes of samples in memory while a file is written
GZIP_LEVEL = 1  # as nibabel; higher levels take several times as long for a tenth of the size
MILLIMETRES = {1: 1000.0, 3: 0.001}  # by the header's code of units; all others are taken for millimetres


class NiftiSource:
    """A NIfTI file, read in windows as float32; a gzipped one is unpacked once into a file without a name.

    A sample that float32 holds as no finite number (NaN, infinity) is read as 0.

    Args:
        path: the file; either one of a pair.

    Attributes:
        shape: (C, D, H, W), or (C, H, W) for a file of two dimensions.
        spatial: 3 or 2.
        dtype: of the stored samples.
        geometry: where the voxels lie.
        header: the file's, mended where it was wrong.
        has_spacing: the header says how far voxels are apart; else it was mended to 1.
        not_finite: how many samples were read as 0 so far, as they are no finite numbers.

    Raises:
        UserError: the file is missing, damaged, cut short, or not of a supported kind; or no room is left to unpack it.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        head, body = _pair(self.path)
        block = first_bytes(head, headers.LONGEST_HEADER)
        self.header = headers.parse(block, head)
        self.has_spacing = headers.has_spacing(block, head)
        self.not_finite = 0
        sizes = headers.dimensions(self.header, head)
        self.spatial = min(len(sizes), 3)
        self.shape = (*([1] if len(sizes) < 4 else []), *sizes[::-1])
        self._stored = headers.sample_type(self.header, head)
        self.dtype = self._stored.newbyteorder("=")
        self.slope, self.intercept = headers.scaling(self.header, head)
        self.geometry = self._geometry(head)
        size = math.prod(self.shape) * self.dtype.itemsize
        start = headers.data_offset(self.header, head)
        self._file, self._start = open_samples(head if self.header.is_single else body, start, size)

    def read(self, window: tuple[slice, ...]) -> np.ndarray:
        """Return the values of a window of the spatial axes, float32 (C, *extent)."""
        values = np.empty((self.shape[0], *(each.stop - each.start for each in window)), np.float32)
        *outer, rows, columns = ((0, self.shape[0]), *((each.start, each.stop) for each in window))
        for place in product(*(range(*each) for each in outer)):
            index = tuple(at - each[0] for at, each in zip(place, outer, strict=True))
            values[index] = self._physical(self._rows(place, *rows)[:, slice(*columns)])
        return values

    def is_empty(self, window: tuple[slice, ...]) -> bool:
        """Return False: the format marks nothing as absent."""
        return False

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> NiftiSource:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _geometry(self, head: Path) -> VolumeGeometry:
        affine = headers.affine(self.header, head)
        affine[:3] *= MILLIMETRES.get(int(self.header["xyzt_units"]) & 7, 1.0)
        shape = self.shape[1:] if self.spatial == 3 else (1, *self.shape[1:])
        return VolumeGeometry(shape, affine, planar=self.spatial == 2)

    def _rows(self, place: tuple[int, ...], start: int, stop: int) -> np.ndarray:
        """Return stored samples of whole rows start..stop of the plane (channel[, slice]), (h, W)."""
        *_, height, width = self.shape
        plane = int(np.ravel_multi_index(place, self.shape[:-2]))
        samples = np.empty((stop - start, width), self._stored)
        view, offset = memoryview(samples).cast("B"), (plane * height + start) * samples[:1].nbytes + self._start
        while view:
            got = os.preadv(self._file.fileno(), [view], offset)
            if not got:
                raise UserError(f"{self.path}: the file became shorter while it was read; give the command again.")
            view, offset = view[got:], offset + got
        return samples

    def _physical(self, samples: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore", invalid="ignore"):
            if (self.slope, self.intercept) != (1.0, 0.0):
                samples = samples * np.float64(self.slope) + self.intercept
            values = samples.astype(np.float32)
        finite = np.isfinite(values)
        if not finite.all():
            values[~finite] = 0
            self.not_finite += finite.size - int(np.count_nonzero(finite))
        return values


class NiftiSink(SpooledSink):
    """A NIfTI file, .nii or .nii.gz, written window by window.

    Args:
        path: the file.
        shape: (C, D, H, W), or (C, H, W) for one slice.
        dtype: of the stored samples.
        geometry: where the voxels lie.
        header: of the file, little-endian; values are stored samples times its slope plus its intercept.
        fingerprint: tells the same work again; "" never goes on from an earlier run.

    Raises:
        UserError: the file's suffix is another; the disk has no room; or another run writes the same output now.
    """

    def __init__(
        self,
        path: str | Path,
        shape: tuple[int, ...],
        dtype: np.dtype,
        geometry: VolumeGeometry,
        header: Nifti1Header,
        fingerprint: str = "",
    ) -> None:
        if not str(path).lower().endswith(SUFFIXES[:2]):
            raise UserError(f"{path}: NIfTI files end in .nii or .nii.gz; give another name.")
        self.header = header
        self.slope, self.intercept = headers.scaling(header, Path(path))
        super().__init__(path, shape, np.dtype(dtype), geometry, fingerprint)

    @classmethod
    def like(cls, path: str | Path, source: Source, card: Card, fingerprint: str = "") -> NiftiSink:
        """Make a sink for what a network makes of a source.

        Labels are stored as whole numbers. Values of the kind and grid of a NIfTI source keep its type and scaling;
        all others are float32. Of a NIfTI source sform, qform, their codes, units and spacing are kept as they are, and
        follow a finer grid; any other source's affine becomes sform and qform, with the code of the scanner.

        Args:
            path: the file.
            source: a NiftiSource, or any with a VolumeGeometry.
            card: of the network.
            fingerprint: tells the same work again; "" never goes on from an earlier run.

        Raises:
            UserError: the source has no place in space.
        """
        if not isinstance(source.geometry, VolumeGeometry):
            raise UserError(f"{path}: NIfTI needs a volume with a place in space; {source.path} is none.")
        geometry = source.geometry.scaled(card.scale)
        shape = (_channels(source, card), *geometry.shape[-source.spatial :])
        is_nifti = isinstance(source, NiftiSource)
        keeps = is_nifti and _keeps_values(card)
        dtype = _label_type(card) if card.makes_labels else source.dtype if keeps else np.dtype(np.float32)
        header = source.header if is_nifti else headers.for_geometry(geometry.affine)
        moves = is_nifti and card.scale > 1
        made = headers.for_output(
            header,
            _sizes(shape[0], geometry, has_two_axes=is_nifti and int(header["dim"][0]) == 2),
            dtype,
            step=np.linalg.inv(source.geometry.affine) @ geometry.affine if moves else None,
            keeps_values=keeps,
            is_label=card.makes_labels,
        )
        return cls(path, shape, dtype, geometry, made, fingerprint)

    def converted(
        self, values: np.ndarray | None, aside: np.ndarray | None, window: tuple[slice, ...]
    ) -> np.ndarray | None:
        """Return the stored samples of a window, (C, *extent); where nothing was computed, those of the value 0."""
        dtype = self.spool.dtype
        if values is None:
            if not self.intercept:
                return None
            values = np.zeros((self.spool.shape[0], *(each.stop - each.start for each in window)), np.float32)
        if (self.slope, self.intercept) != (1.0, 0.0):
            values = (values - np.float64(self.intercept)) / self.slope
        if dtype.kind == "f" or values.dtype.kind != "f":
            return values
        return np.rint(values).clip(*_limits(dtype, values.dtype)).astype(dtype)

    def encode(self, part: Path) -> None:
        """Write the file, block after block."""
        with part.open("wb") as file:
            if self.path.suffix.lower() == ".gz":
                with gzip.GzipFile("", "wb", GZIP_LEVEL, file, mtime=0) as packed:
                    self._write(packed)
            else:
                self._write(file)

    def _write(self, file: BinaryIO) -> None:
        file.write(self.header.binaryblock + bytes(4))  # no extensions
        if self.spool.shape[0] == 1:
            for _, rows in self._blocks():
                file.write(np.ascontiguousarray(rows))
            return
        with tempfile.TemporaryFile(dir=self.path.parent) as planar:  # the spool has the channels inmost
            for start, rows in self._blocks():
                for channel, each in enumerate(rows):
                    planar.seek((channel * self.spool.shape[1] + start) * each[:1].nbytes)
                    planar.write(np.ascontiguousarray(each))
            planar.seek(0)
            shutil.copyfileobj(planar, file, BLOCK)

    def _blocks(self) -> Iterator[tuple[int, np.ndarray]]:
        """Yield the stored samples as (first row, (C, rows, *rest)), in the file's order of bytes."""
        channels, count, *rest = self.spool.shape
        step = max(1, BLOCK // (channels * math.prod(rest) * self.spool.dtype.itemsize))
        for start in range(0, count, step):
            rows = self.spool.rows(start, min(start + step, count))
            yield start, rows.astype(self.spool.dtype.newbyteorder("<"), copy=False)


def _pair(path: Path) -> tuple[Path, Path]:
    """Return the files of header and samples by either's name; both are the same for a single file.

    Raises:
        UserError: one of a pair is missing.
    """
    packed = ".gz" if path.suffix.lower() == ".gz" else ""
    plain = path.with_suffix("") if packed else path
    if plain.suffix.lower() not in (".hdr", ".img"):
        return path, path
    upper = plain.suffix.isupper()
    head, body = (plain.with_suffix(each.upper() if upper else each) for each in (".hdr", ".img"))
    head, body = (each.with_name(each.name + path.suffix) if packed else each for each in (head, body))
    for each in (head, body):
        if not each.is_file():
            raise UserError(f"{path}: there is no {each.name} beside it; the two belong together.")
    return head, body


def _keeps_values(card: Card) -> bool:
    """Tell whether outputs are on the same grid and of the same kind as inputs."""
    return card.scale == 1 and card.activation == "none" and card.outputs in ((), card.channels)


def _channels(source: Source, card: Card) -> int:
    if card.activation == "argmax":
        return 1
    return len(card.outputs) or source.shape[0]


def _label_type(card: Card) -> np.dtype:
    highest = max([len(card.outputs) - 1, *(label.value for label in card.labels)])
    return np.dtype(np.uint8 if highest <= np.iinfo(np.uint8).max else np.uint16)


def _sizes(channels: int, geometry: VolumeGeometry, has_two_axes: bool) -> tuple[int, ...]:
    """Return the header's sizes along (i, j[, k[, t]])."""
    sizes = geometry.shape[::-1]
    if channels > 1:
        return *sizes, channels
    return sizes[:2] if has_two_axes else sizes


def _limits(dtype: np.dtype, real: np.dtype) -> tuple[np.floating, np.floating]:
    """Return the lowest and highest number of a real type that an integer type holds."""
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    nearest = real.type(high)
    return real.type(low), nearest if int(nearest) <= high else np.nextafter(nearest, real.type(0))

"""Images: PNG, JPEG, TIFF and BMP with 8 or 16 bits, grey or RGB, with or without alpha.

Arrays are (C, H, W). A program sees the colour channels alone; alpha goes from source to sink beside it.
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

import numpy as np

from ...core.errors import UserError
from .decode import BAND, open_picture
from .encode import GREY, GREY_ALPHA, RGB_ALPHA, SUFFIXES, check_format, encode
from .rows import RowFile

__all__ = ["SUFFIXES", "ImageSink", "ImageSource", "read_image", "write_image"]

SMALL_BAND = 16  # rows
Range = tuple[float, float]


def read_image(path: str | Path, alpha: bool = False) -> np.ndarray:
    """Return the pixels of an image file, upright, (C, H, W), uint8 or uint16.

    Args:
        path: the file.
        alpha: keep the alpha channel, which is then the last of 2 or 4; without it C is 1 or 3.

    Raises:
        UserError: the file is missing, damaged, or no image of a supported kind.
    """
    picture = open_picture(Path(path))
    image = picture.whole()
    picture.close()
    has_alpha = len(image) in (GREY_ALPHA, RGB_ALPHA)
    return image[:-1] if has_alpha and not alpha else image


def write_image(path: str | Path, image: np.ndarray, icc_profile: bytes | None = None) -> None:
    """Write an image file, in the format of its suffix; it appears whole or not at all.

    Args:
        path: the file.
        image: (C, H, W), uint8 or uint16; with 2 or 4 channels the last is alpha.
        icc_profile: the colour profile to embed.

    Raises:
        UserError: the format cannot hold the image.
        OSError: the file cannot be written.
    """
    with ImageSink(path, image.shape, image.dtype, icc_profile=icc_profile) as sink:
        sink.append(image)
        sink.commit()


class ImageSource:
    """An image file, read in windows as float32.

    The file is decoded once when it is opened, so that damage shows before any work. The rows read last are kept, so
    that overlapping windows, read from top to bottom, decode each row once; going back starts at the file's top.

    Args:
        path: the file.
        channels: what the program takes; grey is repeated to fill them. None for those of the file.
        value_range: what black and white become.

    Attributes:
        shape: (C, H, W), alpha not counted.

    Raises:
        UserError: the file is missing, damaged, or no image of a supported kind; or it is a colour image and the
            program takes another number of channels.
    """

    def __init__(self, path: str | Path, channels: int | None = None, value_range: Range = (0.0, 1.0)) -> None:
        self.path = Path(path)
        self.picture = open_picture(self.path)
        self.has_alpha = self.picture.shape[0] in (GREY_ALPHA, RGB_ALPHA)
        self.colours = self.picture.shape[0] - self.has_alpha
        if channels not in (None, self.colours) and self.colours != GREY:
            self.close()
            raise UserError(f"{self.path}: has {self.colours} colour channels; the network takes {channels}.")
        self.shape = (channels or self.colours, *self.picture.shape[1:])
        self.value_range = value_range
        self._band, self._band_top, self._tallest = self.picture.rows(0, 1), 0, 1
        for top in range(0, self.shape[1], BAND):
            self.picture.rows(top, min(top + BAND, self.shape[1]))

    def read(self, slices: tuple[slice, ...]) -> np.ndarray:
        """Return a window, float32 (C, h, w), in the value range."""
        rows, columns = slices
        samples = self._rows(rows.start, rows.stop)[: self.colours, :, columns]
        low, high = self.value_range
        values = samples.astype(np.float32) / np.float32(np.iinfo(samples.dtype).max) * (high - low) + low
        return np.repeat(values, self.shape[0] // self.colours, axis=0)

    def alpha(self, start: int, stop: int) -> np.ndarray:
        """Return rows of the alpha channel, (r, W), of the file's dtype."""
        return self._rows(start, stop)[-1]

    def close(self) -> None:
        """Close the file."""
        self.picture.close()

    def __enter__(self) -> ImageSource:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _rows(self, start: int, stop: int) -> np.ndarray:
        """Return rows of all channels, decoding only those that come after the ones at hand."""
        bottom = self._band_top + self._band.shape[1]
        self._tallest = max(self._tallest, stop - start)
        if not self._band_top <= start <= bottom:
            self._band, self._band_top = self.picture.rows(start, stop), start
        elif stop > bottom:
            # Alpha is read a few rows beyond the tiles, after them; the next tiles must still find theirs.
            top = max(self._band_top, min(start, stop - self._tallest - 16))
            kept = self._band[:, top - self._band_top :]
            self._band = np.concatenate([kept, self.picture.rows(bottom, stop)], axis=1)
            self._band_top = top
        return self._band[:, start - self._band_top : stop - self._band_top]


class ImageSink:
    """An image file, written row after row.

    Rows are kept in a raw file beside the output and become the image at `commit`. Left without it by an interrupted
    run, they are what the next run of the same work goes on from.

    Args:
        path: the file; its suffix tells the format.
        shape: (C, H, W); with 2 or 4 channels the last is alpha.
        dtype: uint8 or uint16.
        icc_profile: the colour profile to embed.
        value_range: what the program gives for black and white; values beyond are cut off.
        source: where alpha comes from.
        scale: output pixels per pixel of the source.
        fingerprint: tells the same work again; "" never goes on from an earlier run.

    Raises:
        UserError: the format cannot hold the image, or the disk has no room for it.
    """

    def __init__(
        self,
        path: str | Path,
        shape: tuple[int, int, int],
        dtype: np.dtype,
        icc_profile: bytes | None = None,
        value_range: Range = (0.0, 1.0),
        source: ImageSource | None = None,
        scale: int = 1,
        fingerprint: str = "",
    ) -> None:
        self.path = Path(path)
        check_format(self.path, shape, dtype)
        self.icc_profile = icc_profile
        self.value_range = value_range
        self.source = source
        self.scale = scale
        self.fingerprint = fingerprint
        self.highest = np.iinfo(dtype).max
        self.colours = shape[0] - (shape[0] in (GREY_ALPHA, RGB_ALPHA))
        self.file = RowFile(self.path.with_name(f".{self.path.name}.rows"), shape, dtype, fingerprint)

    @classmethod
    def like(cls, path: str | Path, source: ImageSource, scale: int = 1, fingerprint: str = "") -> ImageSink:
        """Make a sink for the source's image enlarged: same depth, grey or RGB, alpha and colour profile."""
        channels, height, width = source.picture.shape
        return cls(
            path,
            (channels, height * scale, width * scale),
            source.picture.dtype,
            source.picture.icc_profile,
            source.value_range,
            source,
            scale,
            fingerprint,
        )

    @property
    def rows_done(self) -> int:
        """Rows that are safe on disk."""
        return self.file.rows_done

    def write(self, rows: np.ndarray) -> None:
        """Append the next rows of colour, float (C, r, W) in the value range; RGB is averaged for a grey file."""
        for top in range(0, rows.shape[1], SMALL_BAND):  # so that what is made on the way stays small
            part = rows[:, top : top + SMALL_BAND]
            if self.colours == GREY:
                part = part.mean(axis=0, keepdims=True)
            self.append(self._with_alpha(self._quantised(part)))

    def append(self, rows: np.ndarray) -> None:
        """Append the next rows as they stand in the file, alpha included, (C, r, W) of the file's dtype."""
        self.file.append(rows)

    def commit(self) -> None:
        """Write the image file and remove the rows.

        Raises:
            OSError: the file cannot be written.
        """
        if self.rows_done != self.file.shape[1]:
            raise ValueError(f"{self.path}: {self.rows_done} of {self.file.shape[1]} rows were written")
        encode(self.file, self.path, self.icc_profile)
        self.file.delete()

    def abort(self) -> None:
        """Remove the rows."""
        self.file.delete()

    def close(self) -> None:
        """Leave the rows for a later run."""
        self.file.close()

    def __enter__(self) -> ImageSink:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        """Keep the rows where the same work can go on from them: not where the input or an option is at fault."""
        if not self.fingerprint or isinstance(error, UserError):
            self.abort()
        else:
            self.close()

    def _quantised(self, rows: np.ndarray) -> np.ndarray:
        low, high = self.value_range
        values = (rows - low) * np.float32(self.highest / (high - low))
        return values.clip(0, self.highest).round().astype(self.file.dtype)

    def _with_alpha(self, colour: np.ndarray) -> np.ndarray:
        if self.file.shape[0] == self.colours:
            return colour
        start = self.rows_done
        alpha = self._alpha(start, start + colour.shape[1])
        return np.concatenate([colour, alpha[None]])

    def _alpha(self, start: int, stop: int) -> np.ndarray:
        """Return rows of the source's alpha, enlarged by bicubic interpolation, (r, W)."""
        if self.scale == 1:
            return self.source.alpha(start, stop)
        import torch

        from ...core.blocks.resampling import bicubic_resize

        # Three rows more on each side than are shown, as interpolation reaches two.
        top = max(start // self.scale - 3, 0)
        bottom = min(-(-stop // self.scale) + 3, self.source.shape[1])
        rows = torch.from_numpy(self.source.alpha(top, bottom).astype(np.float32))
        enlarged = bicubic_resize(rows, self.scale)[start - top * self.scale : stop - top * self.scale]
        return enlarged.clamp(0, self.highest).round().numpy().astype(self.file.dtype)

"""Images: PNG, JPEG, TIFF and BMP with 8 or 16 bits, grey or RGB, with or without alpha.

Arrays are (C, H, W). A program sees the colour channels alone; alpha goes from source to sink beside it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ....core.errors import UserError
from ....core.weights.card import Card
from ..sink import SpooledSink
from .channel_file import ChannelsSink
from .decode import BAND, open_picture
from .encode import GREY, GREY_ALPHA, RGB, RGB_ALPHA, SUFFIXES, check_format, encode
from .samples import Range, quantised, samples_of

__all__ = ["SUFFIXES", "ImageSink", "ImageSource", "read_image", "write_image"]


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
        page: which page of a TIFF file with several, counted from 1.

    Attributes:
        shape: (C, H, W), alpha not counted.
        dtype: uint8 or uint16.

    Raises:
        UserError: the file is missing, damaged, or no image of a supported kind; or it is a colour image and the
            program takes another number of channels.
    """

    spatial = 2
    geometry = None

    def __init__(
        self,
        path: str | Path,
        channels: int | None = None,
        value_range: Range = (0.0, 1.0),
        page: int | None = None,
    ) -> None:
        self.path = Path(path)
        self.picture = open_picture(self.path, page)
        self.has_alpha = self.picture.shape[0] in (GREY_ALPHA, RGB_ALPHA)
        self.colours = self.picture.shape[0] - self.has_alpha
        if channels not in (None, self.colours) and self.colours != GREY:
            self.close()
            raise UserError(
                f"{self.path}: has {self.colours} colour channels; the network takes {channels}. Convert it first."
            )
        self.shape = (channels or self.colours, *self.picture.shape[1:])
        self.dtype = self.picture.dtype
        self.value_range = value_range
        self._band, self._band_top, self._tallest = self.picture.rows(0, 1), 0, 1
        for top in range(0, self.shape[1], BAND):
            self.picture.rows(top, min(top + BAND, self.shape[1]))

    def read(self, window: tuple[slice, ...]) -> np.ndarray:
        """Return a window, float32 (C, h, w), in the value range."""
        rows, columns = window
        samples = self._rows(rows.start, rows.stop)[: self.colours, :, columns]
        low, high = self.value_range
        values = samples.astype(np.float32) / np.float32(np.iinfo(samples.dtype).max) * (high - low) + low
        return np.repeat(values, self.shape[0] // self.colours, axis=0)

    def is_empty(self, window: tuple[slice, ...]) -> bool:
        """Return False: every pixel of an image counts."""
        return False

    def alpha(self, window: tuple[slice, ...]) -> np.ndarray:
        """Return a window of the alpha channel, (h, w), of the file's dtype."""
        rows, columns = window
        return self._rows(rows.start, rows.stop)[-1][:, columns]

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


class ImageSink(SpooledSink):
    """An image file, written window by window.

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
        UserError: the format cannot hold the image, the disk has no room for it, or another run writes it now.
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
        check_format(Path(path), shape, dtype)
        super().__init__(path, shape, dtype, fingerprint=fingerprint)
        self.icc_profile = icc_profile
        self.value_range = value_range
        self.source = source
        self.scale = scale
        self.highest = np.iinfo(dtype).max
        self.colours = shape[0] - (shape[0] in (GREY_ALPHA, RGB_ALPHA))

    @classmethod
    def like(cls, path: str | Path, source: ImageSource, card: Card, fingerprint: str = "") -> ImageSink | ChannelsSink:
        """Make a sink for what the card's program makes of the source.

        Pictures get the source's depth, grey or RGB, with its alpha and colour profile. Labels, probabilities and
        other values get grey or RGB as `Samples` says; more channels than an image has are written as float32 TIFF.

        Raises:
            UserError: the file's format cannot hold what the program makes.
        """
        channels, height, width = source.picture.shape
        size = (height * card.scale, width * card.scale)
        samples = samples_of(Path(path), card)
        if samples is None:
            dtype, profile = source.picture.dtype, source.picture.icc_profile
            return cls(path, (channels, *size), dtype, profile, card.value_range, source, card.scale, fingerprint)
        if samples.channels not in (GREY, RGB):
            return ChannelsSink(path, size, card, fingerprint)
        shape = (samples.channels, *size)
        return cls(path, shape, samples.dtype, value_range=samples.value_range, fingerprint=fingerprint)

    def append(self, rows: np.ndarray) -> None:
        """Add the next rows as they stand in the file, alpha included, (C, r, W) of the file's dtype."""
        start, stop = self.rows_done, self.rows_done + rows.shape[1]
        self.spool.write((slice(start, stop), slice(0, rows.shape[2])), rows)
        self.spool.finish(stop)

    def aside(self, window: tuple[slice, ...]) -> np.ndarray | None:
        """Return the source's alpha in a window of the output, (h, w)."""
        if self.spool.shape[0] == self.colours or self.source is None:
            return None
        if self.scale == 1:
            return self.source.alpha(window)
        return self._enlarged_alpha(window)

    def converted(
        self, values: np.ndarray | None, aside: np.ndarray | None, window: tuple[slice, ...]
    ) -> np.ndarray | None:
        """Quantise a window of colour, float (C, h, w) in the value range; RGB is averaged for a grey file."""
        if values is None:
            return None
        if self.colours == GREY and len(values) > 1:
            values = values.mean(axis=0, keepdims=True)
        samples = quantised(values, self.value_range, self.spool.dtype)
        return samples if aside is None else np.concatenate([samples, aside[None]])

    def encode(self, part: Path) -> None:
        """Write the image."""
        encode(self.spool, part, self.icc_profile)

    def _enlarged_alpha(self, window: tuple[slice, ...]) -> np.ndarray:
        """Return the source's alpha enlarged by bicubic interpolation, (h, w)."""
        import torch

        from ....core.blocks.resampling import bicubic_resize

        # Three pixels more on each side than are shown, as interpolation reaches two.
        reach = tuple(
            slice(max(each.start // self.scale - 3, 0), min(-(-each.stop // self.scale) + 3, size))
            for each, size in zip(window, self.source.shape[1:], strict=True)
        )
        alpha = torch.from_numpy(self.source.alpha(reach).astype(np.float32))
        shown = (
            slice(each.start - wider.start * self.scale, each.stop - wider.start * self.scale)
            for each, wider in zip(window, reach, strict=True)
        )
        enlarged = bicubic_resize(alpha, self.scale)[*shown]
        return enlarged.clamp(0, self.highest).round().numpy().astype(self.spool.dtype)

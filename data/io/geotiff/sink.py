"""Writing rasters of what a program makes of others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from ....core.errors import UserError
from ....core.weights.card import Card
from ...geometry import RasterGeometry
from ..sink import SpooledSink
from .dates import SUFFIXES
from .encode import Description, lasting_tags, write_geotiff
from .files import GeoTiffSource
from .raster import Window
from .units import unit_tags


class GeoTiffSink(SpooledSink):
    """A raster file, written window by window.

    Args:
        path: the file.
        shape: (C, H, W) of the bands.
        description: what the file says about itself.
        geometry: where the pixels lie.
        source: where it is known which pixels count; None if all do.
        scale: output pixels per pixel of the source.
        fingerprint: tells the same work again; "" never goes on from an earlier run.
        cog: write a cloud-optimised file, with overviews.

    Raises:
        UserError: the name does not end in .tif or .tiff; the disk has no room for the samples; another run writes the
            same output now.
    """

    def __init__(
        self,
        path: str | Path,
        shape: tuple[int, int, int],
        description: Description,
        geometry: RasterGeometry,
        source: GeoTiffSource | None = None,
        scale: int = 1,
        fingerprint: str = "",
        cog: bool = False,
    ) -> None:
        if Path(path).suffix.lower() not in SUFFIXES:
            raise UserError(f"{path}: a raster is written as GeoTIFF; end the name in .tif.")
        self.description = description
        self.source = source if source is not None and source.may_have_invalid else None
        self.scale = scale
        self.cog = cog
        channels, height, width = shape
        super().__init__(
            path, (channels + description.has_mask, height, width), description.dtype, geometry, fingerprint
        )

    @classmethod
    def like(
        cls, path: str | Path, source: GeoTiffSource, card: Card, fingerprint: str = "", cog: bool = False
    ) -> GeoTiffSink:
        """Make a sink for what a program makes of a source: same CRS, transform (scaled) and nodata.

        Label maps are integers with the card's names and colours; independent classes have a band each. Values have the
        number type, scale and offset of the source where they are its bands, and are float32 otherwise, as
        probabilities are.

        Raises:
            UserError: as the class; or the source has other bands than the card wants.
        """
        bands = len(source.first.bands)
        if bands != len(card.channels):
            raise UserError(
                f"{source.path}: has {bands} bands, the network takes {len(card.channels)} "
                f"({', '.join(card.channels)}); choose them with --bands."
            )
        geometry = source.geometry.scaled(card.scale)
        description = _description(source, card)
        shape = (len(description.names), *geometry.shape)
        return cls(path, shape, description, geometry, source, card.scale, fingerprint, cog)

    def aside(self, window: Window) -> np.ndarray | None:
        """Return which pixels of a window of the output count, bool (C, h, w) or (1, h, w); None if all do."""
        if self.source is None:
            return None
        scale = self.scale
        around = tuple(slice(each.start // scale, -(-each.stop // scale)) for each in window)
        valid = np.atleast_3d(self.source.valid(around).T).T
        if valid.all():
            return None
        if scale > 1:
            valid = valid.repeat(scale, axis=-2).repeat(scale, axis=-1)
            starts = (each.start - scale * whole.start for each, whole in zip(window, around, strict=True))
            extent = (each.stop - each.start for each in window)
            valid = valid[:, *(slice(start, start + size) for start, size in zip(starts, extent, strict=True))]
        return valid

    def converted(self, values: np.ndarray | None, aside: np.ndarray | None, window: Window) -> np.ndarray | None:
        """Return the samples of a window as they are stored."""
        description = self.description
        fill = description.fill
        if values is None or (aside is not None and not aside.any()):
            if fill == 0:
                return None
            extent = tuple(each.stop - each.start for each in window)
            return np.full((self.spool.shape[0], *extent), fill, self.spool.dtype)
        valid = self._per_output(aside, len(values))
        samples = description.stored(values, valid)
        if valid is not None:
            samples = np.where(valid, samples, description.dtype.type(fill))
        if description.has_mask:
            mask = np.ones(samples.shape[1:], bool) if valid is None else valid.any(axis=0)
            samples = np.concatenate([samples, mask[None].astype(samples.dtype)])
        return samples

    def encode(self, part: Path) -> None:
        """Write the file out of the spool."""
        write_geotiff(self.spool, part, self.description, self.geometry, self.cog)

    def _per_output(self, valid: np.ndarray | None, outputs: int) -> np.ndarray | None:
        """Return what is valid of each output, (outputs, h, w) or (1, h, w): its own band, or any where it has none."""
        if valid is None or len(valid) == 1:
            return valid
        if self.description.bands:
            return valid[list(self.description.bands)]
        return valid.any(axis=0, keepdims=True)


def _description(source: GeoTiffSource, card: Card) -> Description:
    """Return what the output says about itself."""
    first = source.first
    common = Description(
        dtype=first.dtype,
        names=(),
        fill=0,
        tags=lasting_tags([raster.tags for raster in source.rasters], card.scale),
        is_sparse=first.layout is not None and first.layout.is_sparse,
    )
    names = card.outputs or card.channels
    if card.makes_labels:
        names = ("labels",) if card.activation == "argmax" or len(names) == 1 else tuple(names)
        highest = max([label.value for label in card.labels] + [len(card.outputs) - 1, 1])
        dtype = np.dtype(np.uint8 if highest < 255 else np.uint16)
        return replace(
            common,
            dtype=dtype,
            names=names,
            fill=np.iinfo(dtype).max,
            labels=card.labels if len(names) == 1 else (),  # of independent classes each band holds 0 and 1
            is_label_map=True,
        )
    if card.activation != "none" or not set(names) <= set(card.channels):
        nodata = np.nan if source.may_have_invalid else None
        return replace(common, dtype=np.dtype(np.float32), names=tuple(names), fill=np.nan, nodata=nodata)
    bands = tuple(card.channels.index(name) for name in names)
    fill = first.nodata if first.nodata is not None else np.nan if first.dtype.kind == "f" else 0
    return replace(
        common,
        dtype=first.dtype,
        tags=common.tags | unit_tags(first),
        bands=bands,
        fill=fill,
        nodata=first.nodata,
        has_mask=first.rule in ("mask", "alpha") and first.nodata is None,
        **first.described(bands),
    )

"""Where the samples of an array lie in the world: values that travel with arrays, from source to sink.

Axes of arrays are (D, H, W) for volumes and (H, W) for rasters and slides. Coordinates name the centres of voxels, as
in NIfTI and DICOM, but the corners of raster pixels, as in GDAL.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from affine import Affine
    from rasterio.crs import CRS

LPS_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""Turns DICOM's axes (to the left, posterior, superior) into NIfTI's (right, anterior, superior), and back."""
TOLERANCE_MM = 1e-3
TOLERANCE_PIXELS = 1e-2


@dataclass(frozen=True, eq=False)
class VolumeGeometry:
    """Where the voxels of a volume, or the pixels of one slice of it, lie in the patient.

    Attributes:
        shape: (D, H, W) in voxels.
        affine: 4x4 float64; maps (column, row, slice, 1), the array's indices from last to first, to (x, y, z, 1) in
            millimetres, x to the right, y to the front (anterior), z to the head (RAS+).
        frame_of_reference: DICOM UID of the coordinate system; "" where it is not known, which fits any.
        planar: scaling leaves D as it is: a single slice, or a volume that is worked on slice by slice.
    """

    shape: tuple[int, int, int]
    affine: np.ndarray
    frame_of_reference: str = ""
    planar: bool = False

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distances between neighbouring voxels along (D, H, W), millimetres."""
        width, height, depth = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(depth), float(height), float(width)

    @property
    def orientation(self) -> str:
        """Where the indices of (D, H, W) grow to, a letter for each, such as "SPL"; of oblique axes the closest."""
        from nibabel.orientations import aff2axcodes

        return "".join(reversed(aff2axcodes(self.affine)))

    def scaled(self, scale: int) -> VolumeGeometry:
        """Return the geometry with `scale` voxels in place of one along every axis, over the same extent."""
        depth, height, width = self.shape
        return self.resized((depth if self.planar else scale * depth, scale * height, scale * width))

    def resized(self, shape: tuple[int, int, int]) -> VolumeGeometry:
        """Return the geometry with other numbers of voxels along the axes, over the same extent."""
        if shape == self.shape:
            return self
        steps = np.divide(self.shape, shape)[::-1]
        step = np.diag([*steps, 1])
        step[:3, 3] = (steps - 1) / 2  # the first centre moves towards the corner, or away from it
        return replace(self, shape=shape, affine=self.affine @ step)

    def difference(self, other: object, tolerance_mm: float = TOLERANCE_MM) -> str | None:
        """Say in which way another geometry differs, or None where the same voxel lies at the same place.

        Args:
            other: a geometry.
            tolerance_mm: how far apart the corners may be.
        """
        if not isinstance(other, VolumeGeometry):
            return f"a volume against {_kind(other)}"
        if self.shape != other.shape:
            return f"{_times(self.shape)} voxels against {_times(other.shape)}"
        frames = {self.frame_of_reference, other.frame_of_reference} - {""}
        if len(frames) > 1:
            return "another frame of reference"
        depth, height, width = self.shape
        corners = np.array([(i, j, k, 1.0) for i in (0, width - 1) for j in (0, height - 1) for k in (0, depth - 1)])
        shift = np.linalg.norm(corners @ (self.affine - other.affine)[:3].T, axis=1).max()
        return None if shift <= tolerance_mm else f"corners {shift:.3g} mm apart"  # not a number is apart too


@dataclass(frozen=True, eq=False)
class RasterGeometry:
    """Where the pixels of a raster lie on the earth.

    Attributes:
        shape: (H, W) in pixels.
        crs: coordinate reference system; None where the file names none.
        transform: maps (column, row) of pixel corners to coordinates of the CRS.
    """

    shape: tuple[int, int]
    crs: CRS | None
    transform: Affine

    def scaled(self, scale: int) -> RasterGeometry:
        """Return the geometry with `scale` pixels in place of one along both axes, over the same extent."""
        height, width = self.shape
        smaller = self.transform * self.transform.scale(1 / scale)
        return RasterGeometry((scale * height, scale * width), self.crs, smaller)

    def difference(self, other: object) -> str | None:
        """Say in which way another geometry differs, or None where the same pixel lies at the same place."""
        if not isinstance(other, RasterGeometry):
            return f"a raster against {_kind(other)}"
        if self.crs != other.crs:
            return f"{_crs(self.crs)} against {_crs(other.crs)}"
        if self.shape != other.shape:
            return f"{_times(self.shape)} pixels against {_times(other.shape)}"
        height, width = self.shape
        back = ~self.transform * other.transform
        corners = [(column, row) for column in (0, width) for row in (0, height)]
        shift = np.max([np.hypot(*np.subtract(back * corner, corner)) for corner in corners])
        return None if shift <= TOLERANCE_PIXELS else f"corners {shift:.3g} pixels apart"


@dataclass(frozen=True, eq=False)
class SlideGeometry:
    """Where the pixels, read at some resolution, lie on the finest level of a whole-slide image.

    Attributes:
        shape: (H, W) in pixels as read.
        mpp: micrometres between neighbouring pixels as read.
        level0_shape: (H, W) of the finest level.
        level0_mpp: micrometres per pixel of the finest level.
    """

    shape: tuple[int, int]
    mpp: float
    level0_shape: tuple[int, int]
    level0_mpp: float

    @property
    def downsample(self) -> float:
        """Pixels of the finest level per pixel as read."""
        return self.mpp / self.level0_mpp

    def scaled(self, scale: int) -> SlideGeometry:
        """Return the geometry with `scale` pixels in place of one along both axes."""
        height, width = self.shape
        return SlideGeometry((scale * height, scale * width), self.mpp / scale, self.level0_shape, self.level0_mpp)

    def difference(self, other: object) -> str | None:
        """Say in which way another geometry differs, or None where the same pixel lies at the same place."""
        if not isinstance(other, SlideGeometry):
            return f"a slide against {_kind(other)}"
        if self.level0_shape != other.level0_shape:
            return f"a slide of {_times(self.level0_shape)} pixels against {_times(other.level0_shape)}"
        if self.shape != other.shape:
            return f"{_times(self.shape)} pixels against {_times(other.shape)}"
        return None if np.isclose(self.mpp, other.mpp, rtol=1e-4) else f"{self.mpp:g} against {other.mpp:g} µm/pixel"


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def _kind(geometry: object) -> str:
    names = {VolumeGeometry: "a volume", RasterGeometry: "a raster", SlideGeometry: "a slide"}
    return names.get(type(geometry), "no geometry")


def _crs(crs: CRS | None) -> str:
    return crs.to_string() if crs else "no CRS"

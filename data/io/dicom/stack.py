"""Putting the frames of a DICOM series in order: where they lie, and whether they make an even stack.

Positions and directions are LPS, millimetres. The order is that of the positions along the normal of the slices;
the numbers that a scanner gives to slices say nothing reliable.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ....core.errors import UserError
from ...geometry import LPS_RAS, VolumeGeometry
from .files import SEGMENTATIONS
from .records import Frame

SAME_DIRECTION = 1e-3  # difference of direction cosines
SAME_SPACING = 1e-3  # of the spacing
DUPLICATE = 1e-2  # of the distance between slices
UNEVEN = 0.05  # of the distance between slices, which leaves room for rounded positions
TILT_MM = 0.1  # sideways from the first slice to the last
MOST_INSERTED = 20  # slices made of one, where uneven ones are resampled


@dataclass(frozen=True, eq=False)
class Blend:
    """How a slice of a resampled stack is made.

    Attributes:
        low: number of the frame before it.
        high: number of the frame after it.
        weight: share of `high`, 0..1.
    """

    low: int
    high: int
    weight: float


@dataclass(frozen=True, eq=False)
class Stack:
    """Frames in order.

    Attributes:
        frames: along the normal.
        geometry: of the volume; None where the frames have no place in space.
        shifts: where each frame's first pixel lies on the grid of the volume, (rows, columns), not whole numbers;
            None where all lie on it as they are.
        blends: how the slices are made, where they are not the frames themselves.
    """

    frames: tuple[Frame, ...]
    geometry: VolumeGeometry | None
    shifts: np.ndarray | None = None
    blends: tuple[Blend, ...] | None = None


def stack(path: Path, frames: Sequence[Frame], resample: bool = False) -> Stack:
    """Order the frames of one series.

    Args:
        path: what errors name.
        frames: in any order.
        resample: turn a tilted or uneven stack into an even, upright one instead of refusing it.

    Raises:
        UserError: the frames differ in size, kind, orientation or spacing; slices lie at the same place or are
            missing; or the stack is tilted or uneven and is not to be resampled.
    """
    _check_alike(path, frames)
    if len(frames) == 1:
        return Stack(tuple(frames), _single(frames[0]))
    if frames[0].position is None:
        if len({frame.file.path for frame in frames}) > 1:
            raise UserError(
                f"{path}: its {len(frames)} images do not say where they lie and so make no volume; give one file."
            )
        return Stack(tuple(frames), None)
    columns, rows = np.split(frames[0].orientation, 2)
    normal = np.cross(columns, rows)
    frames = sorted(frames, key=lambda frame: float(frame.position @ normal))
    positions = np.array([frame.position for frame in frames])
    distances = positions @ normal
    if frames[0].file.sop_class in SEGMENTATIONS and np.diff(distances).min() < 1e-6:
        raise UserError(
            f"{path}: is a segmentation of several segments, no volume; give the series that it is of, or make "
            "label maps by `foveal volseg convert`."
        )
    even = _check_steps(path, distances, resample)
    drift = positions - positions[0] - np.outer(distances - distances[0], normal)
    tilt = float(np.linalg.norm(drift, axis=1).max())
    if tilt > TILT_MM and not resample:
        raise UserError(
            f"{path}: the slices are tilted: they move {tilt:.1f} mm sideways over {np.ptp(distances):.1f} mm "
            "(gantry tilt); pass --resample to turn them into an upright volume."
        )
    if even and tilt <= TILT_MM:
        step = (distances[-1] - distances[0]) / (len(frames) - 1)
        return Stack(tuple(frames), _geometry(frames, (len(frames), *frames[0].file.size), positions[0], normal * step))
    return _resampled(path, frames, positions[0], drift, distances, even)


def _check_alike(path: Path, frames: Sequence[Frame]) -> None:
    first = frames[0]
    for frame in frames[1:]:
        file = frame.file
        problem = None
        if file.size != first.file.size:
            problem = f"has {_times(file.size)} pixels, {first.file.path.name} {_times(first.file.size)}"
        elif (file.channels, file.dtype) != (first.file.channels, first.file.dtype):
            problem = f"holds {_kind(frame)}, {first.file.path.name} {_kind(first)}"
        elif (frame.position is None) != (first.position is None):
            problem = f"says where it lies, or does not, unlike {first.file.path.name}"
        elif frame.position is not None and not np.allclose(frame.orientation, first.orientation, atol=SAME_DIRECTION):
            problem = f"lies in another direction than {first.file.path.name}"
        elif frame.spacing and not np.allclose(frame.spacing, first.spacing or 0, rtol=SAME_SPACING):
            problem = f"has another pixel spacing than {first.file.path.name}"
        elif file.frame_of_reference != first.file.frame_of_reference:
            problem = f"lies in another frame of reference than {first.file.path.name}"
        if problem:
            raise UserError(f"{file.path}: image {frame.index + 1} {problem}; they make no volume. Separate them.")


def _check_steps(path: Path, distances: np.ndarray, resample: bool) -> bool:
    """Refuse doubled and missing slices; tell whether the others are even."""
    steps = np.diff(distances)
    typical = float(np.sort(steps)[(len(steps) - 1) // 2])  # the lower median: a gap is not typical of three slices
    doubled = int((steps < max(DUPLICATE * typical, 1e-6)).sum())
    if doubled:
        place = distances[int(steps.argmin())]
        raise UserError(
            f"{path}: {doubled} of the images lie at the same place as another, such as at {place:.2f} mm along "
            "the normal: copies, or several times, echoes or phases in one series; keep one of each place."
        )
    even = (distances[-1] - distances[0]) / len(steps)
    if np.abs(distances - distances[0] - even * np.arange(len(distances))).max() <= UNEVEN * even:
        return True
    gaps = steps / typical
    for place in np.flatnonzero(gaps > 1.5):
        if abs(gaps[place] - round(gaps[place])) < UNEVEN:
            raise UserError(
                f"{path}: {round(gaps[place]) - 1} of the slices are missing between {distances[place]:.2f} and "
                f"{distances[place + 1]:.2f} mm along the normal (the others are {typical:.3g} mm apart); "
                "get the whole series."
            )
    if not resample:
        raise UserError(f"{path}: {_uneven(distances, steps, typical)}; pass --resample to make them even.")
    return False


def _uneven(distances: np.ndarray, steps: np.ndarray, typical: float) -> str:
    worst = int(np.abs(steps - typical).argmax())
    count = int((np.abs(steps - typical) > UNEVEN * typical).sum())
    return (
        f"the slices are not evenly spaced: most are {typical:.3g} mm apart, {count} of {len(steps)} steps are not, "
        f"such as {steps[worst]:.3g} mm at {distances[worst]:.2f} mm along the normal (from {steps.min():.3g} to "
        f"{steps.max():.3g} mm)"
    )


def _resampled(
    path: Path, frames: list[Frame], origin: np.ndarray, drift: np.ndarray, distances: np.ndarray, even: bool
) -> Stack:
    """Plan an upright, even stack that covers all frames, at the finest of their distances."""
    columns, rows = np.split(frames[0].orientation, 2)
    row_mm, column_mm = frames[0].spacing
    shifts = np.stack([drift @ rows / row_mm, drift @ columns / column_mm], axis=1)
    lowest = np.floor(shifts.min(axis=0) + 1e-6)
    extent = np.array(frames[0].file.size) + np.ceil(shifts.max(axis=0) - 1e-6).astype(int) - lowest.astype(int)
    length = distances[-1] - distances[0]
    step = length / (len(frames) - 1) if even else float(np.diff(distances).min())
    depth = int(np.floor(length / step + 1e-6)) + 1
    if depth > MOST_INSERTED * len(frames):
        raise UserError(
            f"{path}: {len(frames)} slices would become {depth}, as the closest are {step:.3g} mm apart and all lie "
            f"on {length:.0f} mm; remove those that belong to something else."
        )
    blends = []
    for place in distances[0] + np.arange(depth) * step:
        low = min(int(np.searchsorted(distances, place + 1e-6, side="right")) - 1, len(frames) - 2)
        weight = (place - distances[low]) / (distances[low + 1] - distances[low])
        blends.append(Blend(low, low + 1, float(np.clip(weight, 0, 1))))
    corner = origin + lowest[0] * row_mm * rows + lowest[1] * column_mm * columns
    shape = (depth, int(extent[0]), int(extent[1]))
    geometry = _geometry(frames, shape, corner, np.cross(columns, rows) * step)
    return Stack(tuple(frames), geometry, shifts - lowest, tuple(blends))


def _single(frame: Frame) -> VolumeGeometry | None:
    """Return the place of a lone image, or its spacing alone where it has no place."""
    thickness = frame.file.thickness or 1.0
    shape = (1, *frame.file.size)
    if frame.position is not None:
        normal = np.cross(*np.split(frame.orientation, 2))
        return replace(_geometry([frame], shape, frame.position, normal * thickness), planar=True)
    if frame.spacing is None:
        return None
    return VolumeGeometry(shape, np.diag([frame.spacing[1], frame.spacing[0], thickness, 1.0]), planar=True)


def _geometry(frames: list[Frame], shape: tuple[int, int, int], origin: np.ndarray, step: np.ndarray) -> VolumeGeometry:
    columns, rows = np.split(frames[0].orientation, 2)
    row_mm, column_mm = frames[0].spacing
    affine = np.eye(4)
    affine[:3] = np.stack([columns * column_mm, rows * row_mm, step, origin], axis=1)
    return VolumeGeometry(shape, LPS_RAS @ affine, frames[0].file.frame_of_reference)


def _times(size: tuple[int, int]) -> str:
    return f"{size[1]} x {size[0]}"


def _kind(frame: Frame) -> str:
    return f"{'grey' if frame.file.channels == 1 else 'colour'} of {frame.file.dtype}"

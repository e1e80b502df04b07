"""One 2D image of any format as values in 0..1, as a person would see it. Arrays are (C, H, W)."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from ..core.errors import UserError
from ..core.inference.windows import whole
from .io.formats import kind_of, open_source

EIGHT_BITS = 8
PERCENTILES = (0.5, 99.5)
LUMA = (0.299, 0.587, 0.114)


def read_unit_image(path: Path) -> np.ndarray:
    """Return an image file or a DICOM file as float32 (C, H, W) in 0..1, C 1 or 3.

    Images are divided by the highest value of their depth. DICOM: colour as it is; grey of up to 8 bits over the range
    of these bits; more bits through the window of the header, where it has one, else from the 0.5th to the 99.5th
    percentile. What lies beyond is cut off.

    Raises:
        UserError: the file is missing, damaged, of another kind, without pixels, or holds more than one image.
    """
    kind = kind_of(path, ("image", "dicom"))
    with open_source(path, kind) as source:
        if source.spatial != 2:
            raise UserError(f"{path}: holds {source.shape[1]} images; give one image a file.")
        values = source.read(whole(source.shape[1:]))
        if kind == "image" or len(values) == 3:
            return values
        low, high = shown_range(source, values)
        return ((values - low) / max(high - low, 1e-8)).clip(0, 1).astype(np.float32)


def fit(image: np.ndarray, size: int | tuple[int, int], channels: int) -> np.ndarray:
    """Return an image at the size and channels of a network, uint8 (channels, H, W).

    It is resized without regard to its proportions, bilinearly and smoothed before it gets smaller. Grey is repeated;
    colour becomes grey by its luma.

    Args:
        image: (C, H, W) in 0..1, C 1 or 3.
        size: (H, W) in pixels, or the side of a square.
        channels: 1 or 3.
    """
    x = torch.from_numpy(np.ascontiguousarray(image, dtype=np.float32))[None]
    if x.shape[1] == 3 and channels == 1:
        x = (x * torch.tensor(LUMA).view(1, 3, 1, 1)).sum(dim=1, keepdim=True)
    size = (size, size) if isinstance(size, int) else size
    if x.shape[-2:] != size:
        x = F.interpolate(x, size=size, mode="bilinear", align_corners=False, antialias=True)
    return (x[0].expand(channels, -1, -1) * 255).round().clamp(0, 255).byte().numpy()


def to_tensor(image: np.ndarray) -> torch.Tensor:
    """Return samples of whole numbers, such as (C, H, W), as float32 in 0..1."""
    return torch.from_numpy(image.astype(np.float32) / np.iinfo(image.dtype).max)


def shown_range(source: Any, values: np.ndarray) -> tuple[float, float]:
    """Return the values that a grey DICOM image shows as black and white; see `read_unit_image`.

    Args:
        source: the opened file.
        values: all of its values.
    """
    header = source.header()
    bottom, top = source.value_range
    if int(header.get("BitsStored", 16)) <= EIGHT_BITS:
        return bottom, top
    centre, width = (_first_number(header.get(name)) for name in ("WindowCenter", "WindowWidth"))
    if centre is None or width is None or width <= 1:
        low, high = np.percentile(values, PERCENTILES)
        return float(low), float(high)
    if header.get("PhotometricInterpretation") == "MONOCHROME1":
        centre = bottom + top - centre  # the values were turned over within this range
    return centre - width / 2, centre + width / 2


def _first_number(value: object) -> float | None:
    """Return the first of one or several numbers of a header, None where there is none."""
    values = value if isinstance(value, (list, tuple)) or hasattr(value, "append") else [value]
    return float(values[0]) if len(values) and values[0] not in (None, "") else None

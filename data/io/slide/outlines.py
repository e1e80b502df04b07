"""Regions of a slide as annotations (GeoJSON) that QuPath opens: polygons with holes, in pixels of the finest level."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine
from rasterio.features import rasterize, shapes
from scipy import ndimage

from ....core.errors import UserError

Rings = list[list[list[float]]]
"""The outline of a polygon and those of its holes, each a closed list of [x, y]."""


def regions_of(mask: np.ndarray) -> tuple[np.ndarray, int]:
    """Return the number of the region to which each pixel of a mask belongs, int32, and how many there are.

    A region's pixels touch by their sides; what belongs to none is 0.
    """
    return ndimage.label(mask)


def areas_of(regions: np.ndarray, count: int, pixel: float) -> np.ndarray:
    """Return the area of each region, by its number (0..count), where a pixel has the area `pixel`."""
    return np.bincount(regions.ravel(), minlength=count + 1) * pixel


def outlines(regions: np.ndarray, step: float, level0_shape: tuple[int, int]) -> Iterator[tuple[int, Rings]]:
    """Yield the number and the outline of each region.

    Args:
        regions: from `regions_of`.
        step: pixels of the finest level per pixel of the regions.
        level0_shape: (H, W) of the finest level, which no outline leaves.
    """
    height, width = level0_shape
    for outline, number in shapes(regions, mask=regions > 0, connectivity=4, transform=Affine.scale(step)):
        rings = [[[min(x, width), min(y, height)] for x, y in ring] for ring in outline["coordinates"]]
        yield int(number), rings


def annotation(
    rings: Rings, name: str, colour: tuple[int, int, int], measurements: Mapping[str, float] | None = None
) -> dict[str, Any]:
    """Return one annotation.

    Args:
        rings: its outline and holes.
        name: of its class.
        colour: of its class, each part 0..255.
        measurements: shown beside it.
    """
    coordinates = [[[round(x, 2), round(y, 2)] for x, y in ring] for ring in rings]
    return {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": coordinates},
        "properties": {
            "objectType": "annotation",
            "classification": {"name": name, "color": list(colour)},
            "measurements": dict(measurements or {}),
        },
    }


def write_annotations(path: Path, annotations: Iterable[Mapping[str, Any]]) -> None:
    """Write a file of annotations, one after the other."""
    with path.open("w", encoding="utf-8") as file:
        file.write('{"type": "FeatureCollection", "features": [')
        separator = "\n"
        for each in annotations:
            file.write(separator + json.dumps(each, ensure_ascii=False))
            separator = ",\n"
        file.write("\n]}\n")


def read_mask(path: Path, shape: tuple[int, int], step: float) -> np.ndarray:
    """Return where the polygons of a file of annotations lie, bool (h, w).

    Args:
        path: what `write_annotations` or QuPath wrote.
        shape: (h, w) of the mask.
        step: pixels of the finest level per pixel of the mask.

    Raises:
        UserError: the file is missing or holds no GeoJSON.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        polygons = [each for each in _geometries(content) if each["type"] in ("Polygon", "MultiPolygon")]
        if not polygons:
            return np.zeros(shape, bool)
        return rasterize(polygons, shape, transform=Affine.scale(step), dtype=np.uint8).astype(bool)
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such file of outlines.") from None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(f"{path}: is no GeoJSON that can be read ({error}); write it again.") from None


def _geometries(content: Any) -> Iterator[dict[str, Any]]:
    """Yield the geometries in a collection, a list of features, a feature or a geometry."""
    if isinstance(content, list):
        for each in content:
            yield from _geometries(each)
    elif "features" in content or "geometries" in content:
        yield from _geometries(content.get("features", content.get("geometries")))
    elif "geometry" in content:
        yield from _geometries(content["geometry"])
    else:
        yield content

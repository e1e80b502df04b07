"""Whether memory is bounded: `python benchmarks/inference_memory.py [ROW ...]`.

Peak resident memory of a whole run of the engine, from file to file, on a small and on a much larger input of the same
kind, each in a process of its own. The table is printed and appended to benchmarks/RESULTS.md.
"""

from __future__ import annotations

import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import rasterio
import torch
from measure import Table, card_of, in_fresh_process, run, status_megabytes
from rasterio.windows import Window

from foveal.core.allocator import keep_freed_memory
from foveal.core.inference.engine import Engine
from foveal.core.weights.card import Card
from foveal.data.io.formats import Kind, open_sink, open_source
from foveal.data.volume_run import run_volume

BLOCK = 512
EVERY = 31  # of the blocks of a scene or slide one holds data, spread over the whole
TIFF = {"driver": "GTiff", "tiled": True, "blockxsize": BLOCK, "blockysize": BLOCK, "sparse_ok": True}


def make_scene(path: Path, side: int) -> None:
    """Write a sparse raster of four bands, uint16."""
    place = {"crs": "EPSG:32633", "transform": rasterio.Affine(10, 0, 5e5, 0, -10, 5e6), "nodata": 0}
    _make_blocks(path, side, 4, "uint16", BIGTIFF="YES", compress="deflate", **place)


def make_slide(path: Path, side: int) -> None:
    """Write a pyramidal slide of which most is background."""
    resolution = {"TIFFTAG_XRESOLUTION": "20000", "TIFFTAG_YRESOLUTION": "20000", "TIFFTAG_RESOLUTIONUNIT": "3"}
    _make_blocks(path, side, 3, "uint8", BIGTIFF="YES", compress="deflate", photometric="rgb", nodata=None)
    with rasterio.open(path, "r+") as file:
        file.update_tags(**resolution)
        file.build_overviews(
            [2**level for level in range(2, 10, 2) if side >> level > 256], rasterio.enums.Resampling.average
        )


def make_volume(path: Path, slices: int) -> None:
    """Write a volume of 512 x 512 voxels a slice, int16."""
    pattern = np.random.default_rng(0).integers(-1000, 1000, (512, 512, 8), dtype=np.int16)
    nibabel.save(nibabel.Nifti1Image(np.tile(pattern, (1, 1, slices // 8)), np.diag([0.7, 0.7, 1.0, 1.0])), path)


def _make_blocks(path: Path, side: int, bands: int, dtype: str, **profile: object) -> None:
    generator = np.random.default_rng(0)
    warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
    with rasterio.open(path, "w", width=side, height=side, count=bands, dtype=dtype, **TIFF | profile) as file:
        places = [(top, left) for top in range(0, side, BLOCK) for left in range(0, side, BLOCK)]
        for top, left in places[::EVERY]:
            extent = (bands, min(BLOCK, side - top), min(BLOCK, side - left))
            file.write(generator.integers(60, 200, extent).astype(dtype), window=Window(left, top, *extent[:0:-1]))


ROWS: dict[str, tuple[str, Kind, str, str, int, int, Callable[[Path, int], None], Card]] = {
    "geotiff": (
        "GeoTIFF of 4 bands, {0} x {0}",
        "geotiff",
        ".tif",
        ".tif",
        4_000,
        40_000,
        make_scene,
        card_of(channels=("blue", "green", "red", "nir"), tile=BLOCK, overlap=64),
    ),
    "volume": (
        "NIfTI of 512 x 512 x {0}",
        "nifti",
        ".nii",
        ".nii",
        80,
        800,
        make_volume,
        card_of(channels=("ct",), dimensions=3, tile=(32, 128, 128), overlap=(8, 32, 32)),
    ),
    "labels": (
        "14 classes at 1.5 mm of a NIfTI of 512 x 512 x {0}",
        "nifti",
        ".nii",
        ".nii.gz",
        160,
        1200,
        make_volume,
        card_of(
            channels=("ct",),
            dimensions=3,
            tile=(64, 128, 128),
            overlap=(32, 64, 64),
            spacing=(1.5, 1.5, 1.5),
            orientation="SPL",
            outputs=tuple(f"class {number}" for number in range(14)),
            activation="argmax",
        ),
    ),
    "slide": (
        "Slide of {0} x {0}",
        "slide",
        ".tiff",
        ".tif",
        4_000,
        40_000,
        make_slide,
        card_of(tile=BLOCK, overlap=64),
    ),
}
"""What is run: title, format, suffixes of input and output, the two sizes, what makes the input, the card."""

HEAD = "| what, small and large | small MB | large MB | memory | small s | large s |"


def measured(row: str, size: str, folder: str) -> list[float]:
    """Send an input through the engine in this process; return its peak megabytes and the seconds it took.

    It is copied, or for a card with outputs multiplied by another number for each.
    """
    _, kind, before, after, *_, card = ROWS[row]
    keep_freed_memory()  # as every command does
    start = time.perf_counter()
    with (
        open_source(Path(folder, f"{size}{before}"), kind, card) as source,
        open_sink(Path(folder, f"{size}-out{after}"), kind, source, card) as sink,
    ):
        factors = torch.linspace(-1, 1, len(card.outputs) or 1).view(-1, *(1,) * card.dimensions)
        engine = Engine((lambda x: x * factors) if card.outputs else (lambda x: x), card)
        if card.dimensions == 3:
            run_volume(engine, source, sink)
        else:
            engine.run(source, sink)
    return [status_megabytes("VmHWM"), time.perf_counter() - start]


def compared(row: str) -> str:
    """Measure both sizes and return a line of the table."""
    title, _, suffix, _, small, large, make, _ = ROWS[row]
    peaks = []
    for size in (small, large):
        with tempfile.TemporaryDirectory() as folder:
            make(Path(folder, f"{size}{suffix}"), size)
            peaks.append(in_fresh_process(__file__, row, str(size), folder))
    (low, short), (high, long) = peaks
    sizes = f"{title.format(f'{small:,}')} and {large:,}"
    return f"| {sizes} | {low:.0f} | {high:.0f} | {high / low:.2f}x | {short:.0f} | {long:.0f} |"


if __name__ == "__main__":
    run(__doc__, Table("Peak memory of tiled inference", HEAD, ROWS, compared, measured))

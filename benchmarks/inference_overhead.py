"""What tiled inference costs beside the network: `python benchmarks/inference_overhead.py [ROW ...]`.

The engine, from file to file, beside the plain way to do the same, each in processes of their own that take turns.
Both outputs are compared first. The table is printed and appended to benchmarks/RESULTS.md.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import nibabel
import numpy as np
import rasterio
import torch
from measure import Table, card_of, in_fresh_process, run, status_megabytes
from rasterio.windows import Window
from torch import Tensor, nn

from foveal.core.allocator import keep_freed_memory
from foveal.core.inference.engine import Engine
from foveal.data.io.geotiff import GeoTiffSink, GeoTiffSource
from foveal.data.io.nifti import NiftiSink, NiftiSource

SIDE, BANDS, BLOCK = 10_000, 4, 512  # pixels of the scene
VOXELS, CUBE, SHARED = 256, 64, 32  # of the volume, a tile and the overlap
PROFILE = {"driver": "GTiff", "tiled": True, "blockxsize": BLOCK, "blockysize": BLOCK, "compress": "deflate"}
REPEATS = 3


class SmallNet(nn.Module):
    """Two layers of eight channels and a classifier of three classes, (N, 1, D, H, W) -> (N, 3, D, H, W)."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        layers = [
            nn.Conv3d(1, 8, 3, padding=1),
            nn.ReLU(),
            nn.Conv3d(8, 8, 3, padding=1),
            nn.ReLU(),
            nn.Conv3d(8, 3, 1),
        ]
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits."""
        return self.layers(x)


def make_scene(path: Path) -> None:
    """Write a raster of smooth fields with sensor noise, uint16."""
    generator = np.random.default_rng(0)
    profile = PROFILE | {"width": SIDE, "height": SIDE, "count": BANDS, "dtype": "uint16", "predictor": 2}
    with rasterio.open(
        path, "w", crs="EPSG:32633", transform=rasterio.Affine(10, 0, 5e5, 0, -10, 5e6), **profile
    ) as file:
        for top in range(0, SIDE, BLOCK):
            rows = min(BLOCK, SIDE - top)
            fields = 3000 + 2000 * np.sin(np.arange(SIDE) / 300) * np.cos((top + np.arange(rows)[:, None]) / 200)
            noise = generator.normal(0, 20, (BANDS, rows, SIDE))
            file.write((fields + noise).astype(np.uint16), window=Window(0, top, SIDE, rows))


def copy_plainly(source: Path, target: Path) -> None:
    """Copy a raster window by window through rasterio."""
    with rasterio.open(source) as before, rasterio.open(target, "w", **before.profile | {"predictor": 2}) as after:
        for _, window in before.block_windows(1):
            after.write(before.read(window=window), window=window)


def copy_through_engine(source: Path, target: Path) -> None:
    """Copy a raster through the engine, with a program that returns its input."""
    card = card_of(channels=("blue", "green", "red", "nir"), tile=BLOCK, overlap=64)
    with GeoTiffSource(source) as before, GeoTiffSink.like(target, before, card) as after:
        Engine(lambda x: x, card).run(before, after)


def make_volume(path: Path) -> None:
    """Write a volume of noise, float32."""
    values = np.random.default_rng(0).random((VOXELS,) * 3, dtype=np.float32)
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), path)


def slide_with_monai(source: Path, target: Path) -> None:
    """Run the network by MONAI's sliding window and save what it gives."""
    from monai.inferers import sliding_window_inference

    image = nibabel.load(source)
    volume = torch.from_numpy(np.asarray(image.dataobj, dtype=np.float32).transpose(2, 1, 0))
    with torch.inference_mode():
        outputs = sliding_window_inference(volume[None, None], CUBE, 1, SmallNet().eval(), overlap=SHARED / CUBE)
    nibabel.save(nibabel.Nifti1Image(outputs[0].numpy().transpose(3, 2, 1, 0), image.affine), target)


def slide_with_engine(source: Path, target: Path) -> None:
    """Run the network by the engine."""
    card = card_of(channels=("mr",), outputs=("a", "b", "c"), dimensions=3, tile=CUBE, overlap=SHARED)
    with NiftiSource(source) as before, NiftiSink.like(target, before, card) as after:
        Engine(SmallNet().eval(), card, blend="constant").run(before, after)


def raster_difference(a: Path, b: Path) -> float:
    """Return the largest difference between the pixels of two rasters."""
    with rasterio.open(a) as first, rasterio.open(b) as second:
        windows = [window for _, window in first.block_windows(1)]
        return max(float(np.abs(first.read(window=w).astype(int) - second.read(window=w)).max()) for w in windows)


def volume_difference(a: Path, b: Path) -> float:
    """Return the largest difference between two volumes, relative to the largest value."""
    first, second = (np.asarray(nibabel.load(each).dataobj) for each in (a, b))
    return float(np.abs(first - second).max() / np.abs(first).max())


Way = Callable[[Path, Path], None]
ROWS: dict[str, tuple[str, str, Callable[[Path], None], Way, Way, Callable[[Path, Path], float]]] = {
    "raster": (
        f"Copy of a {BANDS}-band {SIDE} x {SIDE} GeoTIFF (uint16, deflate), against rasterio's windows",
        ".tif",
        make_scene,
        copy_plainly,
        copy_through_engine,
        raster_difference,
    ),
    "volume": (
        f"A small network over {VOXELS}^3 voxels, tiles of {CUBE}^3 sharing {SHARED}, against MONAI",
        ".nii",
        make_volume,
        slide_with_monai,
        slide_with_engine,
        volume_difference,
    ),
}
"""What is measured, suffix, what makes the input, the plain way, ours, and how outputs are compared."""

HEAD = "| what | plain s | ours s | time | plain MB | ours MB | memory | difference |"


def measured(row: str, way: str, folder: str) -> list[float]:
    """Run one way in this process; return seconds, and the megabytes by which memory grew at its peak."""
    _, suffix, _, plain, ours, _ = ROWS[row]
    if way == "ours":
        keep_freed_memory()  # as every command does
    source, target = Path(folder, f"input{suffix}"), Path(folder, f"{way}{suffix}")
    Path("/proc/self/clear_refs").write_text("5")  # the peak so far, of the imports, is forgotten
    before, start = status_megabytes("VmRSS"), time.perf_counter()
    (plain if way == "plain" else ours)(source, target)
    return [time.perf_counter() - start, status_megabytes("VmHWM") - before]


def compared(row: str) -> str:
    """Measure both ways in turns and return a line of the table."""
    title, suffix, make, _, _, difference = ROWS[row]
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder, f"input{suffix}"))
        runs = {"plain": [], "ours": []}
        for _ in range(REPEATS):
            for way, results in runs.items():
                results.append(in_fresh_process(__file__, row, way, folder))
        differs = difference(Path(folder, f"plain{suffix}"), Path(folder, f"ours{suffix}"))
    (plain, plain_mb), (ours, ours_mb) = (map(median, zip(*each, strict=True)) for each in runs.values())
    memory = f"{plain_mb:.0f} | {ours_mb:.0f} | {ours_mb / plain_mb:.2f}x"
    return f"| {title} | {plain:.1f} | {ours:.1f} | {ours / plain:.2f}x | {memory} | {differs:.0e} |"


if __name__ == "__main__":
    run(__doc__, Table("Overhead of tiled inference", HEAD, ROWS, compared, measured))

"""Features of the tiles of a slide."""

# N tiles, D features

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch

from ...core.errors import UserError
from ...core.inference.device import Precision, autocast
from ...core.inference.engine import Progress
from ...data.io.slide import SlideSource
from .encoders import Encoder
from .tiling import Tiles

AHEAD = 2  # batches that are read before they are needed
WHITE = 255


def extract(
    source: SlideSource,
    tiles: Tiles,
    encoder: Encoder,
    batch: int = 32,
    device: torch.device | None = None,
    precision: Precision = "float32",
    progress: Progress | None = None,
) -> np.ndarray:
    """Return the features of tiles, float16 (N, D), in their order.

    Tiles are read in strips, so that what two of them share is decoded once, by a thread of its own, which is a few
    batches ahead. Beside the features memory holds these batches and the source's blocks.

    Args:
        source: the slide, read at the resolution of the tiles.
        tiles: which; what lies beyond the slide is white.
        encoder: is moved to the device.
        batch: tiles computed at once.
        device: where to compute; None for the CPU.
        precision: what the encoder computes in.
        progress: is told how many tiles are done.

    Raises:
        UserError: the slide is damaged, or a feature is no finite number in float16.
    """
    device = device or torch.device("cpu")
    encoder.module.to(device)
    order = reading_order(source, tiles)
    features = np.empty((len(order), encoder.dim), np.float16)
    done = 0
    with torch.inference_mode(), autocast(device, precision):
        for places, pixels in _read_ahead(source, tiles, np.split(order, range(batch, len(order), batch))):
            found = encoder(torch.from_numpy(pixels).to(device))
            features[places] = found.half().cpu().numpy()
            done += len(places)
            if progress:
                progress(done, len(order))
    if not np.isfinite(features).all():
        raise UserError(
            f"{source.path}: the encoder {encoder.name} gives features beyond float16; take --encoder another."
        )
    return features


def reading_order(source: SlideSource, tiles: Tiles) -> np.ndarray:
    """Return the order in which tiles are read: strips from left to right, in each row by row."""
    x, y = tiles.coords.T
    strip = source.strip(tiles.size) * source.geometry.downsample
    return np.lexsort((x, y, x // strip))


def _read_ahead(
    source: SlideSource, tiles: Tiles, batches: list[np.ndarray]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield batches of tiles and their pixels, uint8 (N, size, size, 3)."""
    waiting: deque[tuple[np.ndarray, Future[np.ndarray]]] = deque()
    with ThreadPoolExecutor(1, "reader") as reader:
        try:
            for places in batches:
                waiting.append((places, reader.submit(_read, source, tiles, places)))
                if len(waiting) > AHEAD:
                    places, future = waiting.popleft()
                    yield places, future.result()
            while waiting:
                places, future = waiting.popleft()
                yield places, future.result()
        finally:
            reader.shutdown(cancel_futures=True)


def _read(source: SlideSource, tiles: Tiles, places: np.ndarray) -> np.ndarray:
    return np.stack([_tile(source, *each, tiles.size) for each in tiles.coords[places].tolist()])


def _tile(source: SlideSource, x: int, y: int, size: int) -> np.ndarray:
    """Return a tile given its corner on the finest level, uint8 (size, size, 3)."""
    height, width = source.shape[1:]
    top, left = round(y / source.geometry.downsample), round(x / source.geometry.downsample)
    bottom, right = min(top + size, height), min(left + size, width)
    if (top + size, left + size) == (bottom, right):
        return source.pixels((slice(top, bottom), slice(left, right)))
    tile = np.full((size, size, 3), WHITE, np.uint8)
    if top < bottom and left < right:
        tile[: bottom - top, : right - left] = source.pixels((slice(top, bottom), slice(left, right)))
    return tile

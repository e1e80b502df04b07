"""Restoration of held-out photographs seen through a display: networks, tiles, and classical deconvolution.

Every photograph is degraded by the physical model, with a seed of its own. The classical methods know the point spread
and how much light the display takes; they work in linear light, each colour for itself, and what they leave to choose
(the balance of Wiener's filter, the iterations of Richardson and Lucy) is what gives the highest PSNR on the
photographs for tuning. The networks run through the engine as `infer` does.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from quality import foveal, line, shown, working_folder
from skimage.restoration import richardson_lucy, wiener

from foveal import load_model
from foveal.apps.udc.physics import UnderDisplay, decoded, encoded
from foveal.core.inference.engine import Engine
from foveal.core.metrics.interval import bootstrap_mean
from foveal.core.metrics.under_display import under_display_scores
from foveal.data.datasets.image_folder import image_files
from foveal.data.io.image import read_image

Pair = tuple[np.ndarray, np.ndarray]
"""A photograph degraded and clean, float32 (3, H, W) in 0..1."""
Restore = Callable[[np.ndarray], np.ndarray]
BALANCES = (1e-2, 3e-2, 1e-1, 3e-1, 1.0, 3.0)
ITERATIONS = (1, 3, 6, 12, 24)
HELD_OUT, TUNING = Path("datasets/restoration/kodak"), Path("datasets/restoration/cid22_val")
TUNED_ON = ("1025469", "1418519")  # of the photographs for tuning
TRAININGS = {
    "dwformer": ("DWFormer", ["quickstart_dwformer"]),
    "unet": ("U-Net", ["quickstart_unet"]),
    "sum_pooling": ("DWFormer with sum pooling", ["quickstart_dwformer", "--model.net.init_args.pooling", "sum"]),
}
ROWS = ("classical", *TRAININGS)
TILES = ((128, 32), (256, 64))  # side and overlap, pixels


def pairs(folder: Path, camera: UnderDisplay, names: tuple[str, ...] = ()) -> list[Pair]:
    """Return the photographs of a folder, or those alone that are named."""
    found = []
    for seed, path in enumerate(each for each in image_files(folder) if not names or each.stem in names):
        image = read_image(path)
        clean = image.astype(np.float32) / np.iinfo(image.dtype).max
        found.append((camera(clean, seed), clean))
    return found


def brightened(camera: UnderDisplay) -> Restore:
    """Return what brings back the light that the display takes, and no more."""

    def restore(picture: np.ndarray) -> np.ndarray:
        return encoded(np.clip(light_of(picture, camera), 0, 1))

    return restore


def deconvolved(camera: UnderDisplay, method: Callable[..., np.ndarray], **choice: Any) -> Restore:
    """Return a deconvolution of each colour in linear light, which is mirrored beyond the borders."""
    reach = camera.reach

    def restore(picture: np.ndarray) -> np.ndarray:
        wide = np.pad(light_of(picture, camera), ((0, 0), (reach, reach), (reach, reach)), mode="symmetric")
        colours = [
            method(light.astype(float), kernel.astype(float), clip=False, **choice)
            for light, kernel in zip(wide, camera.point_spread, strict=True)
        ]
        return encoded(np.clip(np.stack(colours)[:, reach:-reach, reach:-reach], 0, 1))

    return restore


def light_of(picture: np.ndarray, camera: UnderDisplay) -> np.ndarray:
    """Return linear light as it was before the display took its share."""
    return decoded(picture) / (camera.panel.gain * np.array(camera.panel.transmission)[:, None, None])


def best(make: Callable[[Any], Restore], choices: tuple[Any, ...], tuning: list[Pair]) -> tuple[Restore, Any]:
    """Return what restores the photographs for tuning best, and the choice that makes it."""
    choice = max(choices, key=lambda each: np.mean([score["psnr"] for score in scored(make(each), tuning)]))
    return make(choice), choice


def scored(restore: Restore, photographs: list[Pair]) -> list[dict[str, float]]:
    """Return the scores of every photograph, and the seconds that it took."""
    found = []
    for degraded, clean in photographs:
        start = time.process_time()
        estimate = torch.from_numpy(restore(degraded).astype(np.float32))
        seconds = time.process_time() - start
        found.append(under_display_scores(estimate, torch.from_numpy(clean)) | {"seconds": seconds})
    return found


def classical(camera: UnderDisplay) -> Iterator[tuple[str, Restore]]:
    """Yield the methods that learn nothing, by their names."""
    tuning = pairs(TUNING, camera, TUNED_ON)
    yield "the picture as taken", lambda picture: picture
    yield "brightness and colour brought back", brightened(camera)
    restore, balance = best(lambda each: deconvolved(camera, wiener, balance=each), BALANCES, tuning)
    yield f"Wiener, balance {balance:g}", restore
    restore, steps = best(lambda each: deconvolved(camera, richardson_lucy, num_iter=each), ITERATIONS, tuning)
    yield f"Richardson-Lucy, iterations {steps}", restore


def trained(row: str) -> Iterator[tuple[str, Restore]]:
    """Train a network, and yield it whole and in tiles."""
    name, (config, *options) = TRAININGS[row]
    with working_folder() as folder:
        foveal(folder, "udc", "fit", "--config", f"configs/udc/{config}.yaml", *options)
        (file,) = folder.glob("runs/*/*/best.ckpt")
        network = load_model(str(file))
    count = sum(each.numel() for each in network.parameters())
    yield f"{name} ({count:,} weights), whole", Engine(network, network.card, tile="whole").array
    for tile, overlap in TILES:
        engine = Engine(network, network.card, tile=tile, overlap=overlap)
        yield f"{name}, tiles of {tile} that share {overlap}", engine.array


def lines(row: str) -> str:
    """Measure the methods of a row, and return the lines of the table."""
    camera = UnderDisplay("poled")
    held_out = pairs(HELD_OUT, camera)
    methods = classical(camera) if row == "classical" else trained(row)
    return "\n".join(_line(name, scored(restore, held_out)) for name, restore in methods)


def _line(name: str, scores: list[dict[str, float]]) -> str:
    found = {each: bootstrap_mean([score[each] for score in scores]) for each in ("psnr", "psnr_8bit", "ssim")}
    others = [shown("of 8 bits", found["psnr_8bit"], 2), shown("SSIM", found["ssim"])]
    others.append(f"{np.mean([each['seconds'] for each in scores]):.1f} s of a processor each")
    return line("Kodak through a P-OLED display", len(scores), name, shown("PSNR, dB", found["psnr"], 2), others)

"""Restoration of held-out photographs seen through a display: networks, tiles, and classical deconvolution.

    python benchmarks/udc_restoration.py --display poled --photographs FOLDER \
        --tuning FOLDER --weights DWFormer=FILE U-Net=FILE

Every photograph is degraded by the physical model, with a seed of its own. The classical methods know the point spread
and how much light the display takes; they work in linear light, each colour for itself, and what they leave to choose
(the balance of Wiener's filter, the iterations of Richardson and Lucy) is what gives the highest PSNR on the
photographs for tuning. The networks run through the engine as `infer` does. Scores are those of `udc test`, with 95%
bootstrap intervals over photographs; the table is appended to benchmarks/RESULTS.md.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measure import record
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
TILES = ((128, 32), (256, 64))  # side and overlap, pixels


def pairs(folder: Path, camera: UnderDisplay) -> Iterator[Pair]:
    """Yield the photographs of a folder."""
    for seed, path in enumerate(image_files(folder)):
        image = read_image(path)
        clean = image.astype(np.float32) / np.iinfo(image.dtype).max
        yield camera(clean, seed), clean


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


def methods(camera: UnderDisplay, tuning: list[Pair], weights: dict[str, str]) -> Iterator[tuple[str, Restore]]:
    """Yield every method by its name."""
    yield "the picture as taken", lambda picture: picture
    yield "brightness and colour brought back", brightened(camera)
    restore, balance = best(lambda each: deconvolved(camera, wiener, balance=each), BALANCES, tuning)
    yield f"Wiener, balance {balance:g}", restore
    restore, steps = best(lambda each: deconvolved(camera, richardson_lucy, num_iter=each), ITERATIONS, tuning)
    yield f"Richardson-Lucy, iterations {steps}", restore
    for name, file in weights.items():
        network = load_model(file)
        count = sum(each.numel() for each in network.parameters())
        yield f"{name} ({count:,} weights), whole", Engine(network, network.card, tile="whole").array
        for tile, overlap in TILES:
            engine = Engine(network, network.card, tile=tile, overlap=overlap)
            yield f"{name}, tiles of {tile} that share {overlap}", engine.array


def line(name: str, scores: list[dict[str, float]]) -> str:
    """Return a line of the table."""
    cells = []
    for metric, digits in (("psnr", 2), ("psnr_8bit", 2), ("ssim", 3)):
        values = [each[metric] for each in scores]
        found = bootstrap_mean(values)
        cells.append(f"{found.mean:.{digits}f} [{found.low:.{digits}f}, {found.high:.{digits}f}]")
    return f"| {name} | {' | '.join(cells)} | {np.mean([each['seconds'] for each in scores]):.1f} |"


def main() -> None:
    """Measure all methods."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--display", choices=("poled", "toled"), required=True)
    parser.add_argument("--photographs", type=Path, required=True)
    parser.add_argument("--tuning", type=Path, required=True, help="other photographs, for the classical methods")
    parser.add_argument("--weights", nargs="*", default=[], metavar="NAME=FILE")
    options = parser.parse_args()
    camera = UnderDisplay(options.display)
    held_out = list(pairs(options.photographs, camera))
    weights = dict(each.split("=", 1) for each in options.weights)
    tuning = list(pairs(options.tuning, camera))
    rows = [line(name, scored(restore, held_out)) for name, restore in methods(camera, tuning, weights)]
    head = ["| method | PSNR, dB | PSNR of 8 bits, dB | SSIM | processor seconds each |", "|" + " --- |" * 5]
    where = f"{len(held_out)} photographs of `{options.photographs}`, through `UnderDisplay({options.display!r})`"
    record("Restoration of photographs seen through a display", [where, "", *head, *rows])


if __name__ == "__main__":
    main()

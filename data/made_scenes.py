"""Fields, woods, towns and water with clouds over them, made by a formula: no real images, but of the kind.

Arrays are float32 reflectance, (4, H, W): red, green, blue and near infrared, as 10 m pixels of Sentinel-2 would be.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import fft
from scipy.ndimage import shift
from scipy.spatial import cKDTree

SPECTRA = {
    "soil": (0.16, 0.13, 0.12, 0.22),
    "crop": (0.05, 0.085, 0.09, 0.40),
    "grass": (0.07, 0.095, 0.095, 0.32),
    "wood": (0.035, 0.06, 0.07, 0.26),
    "town": (0.16, 0.15, 0.15, 0.22),
    "water": (0.04, 0.06, 0.09, 0.03),
}
"""Typical reflectance at the top of the atmosphere."""
SHARES = {"crop": 0.55, "grass": 0.2, "wood": 0.17, "town": 0.08}  # of the fields
FIELD = 18  # pixels along a side, about
HAZE = np.array((0.6, 0.8, 1.0, 0.3), np.float32)[:, None, None]  # how much of it each band shows
CLOUD = np.array((1.0, 1.0, 1.03, 1.06), np.float32)[:, None, None]
SHADOW = 0.55  # of the light that the thickest cloud takes from the ground


@dataclass(frozen=True)
class Ground:
    """What is at each pixel.

    Attributes:
        ripe, bare: its reflectance in the best season and in the worst, (4, H, W).
        season: when the best season is, as a share of a year, (H, W).
    """

    ripe: np.ndarray
    bare: np.ndarray
    season: np.ndarray


def made_ground(side: int, generator: np.random.Generator) -> Ground:
    """Return a landscape of `side` x `side` pixels: fields of random shapes, roads, and water where it is low."""
    number, border = _fields(side, generator)
    count = number.max() + 1
    kinds = generator.choice(len(SHARES), count, p=list(SHARES.values()))
    ripe = np.array([SPECTRA[name] for name in SHARES], np.float32)[kinds]
    bare = np.where((kinds == list(SHARES).index("crop"))[:, None], np.float32(SPECTRA["soil"]), ripe)
    shade = generator.uniform(0.85, 1.15, (count, 1)).astype(np.float32)
    season = generator.normal(0.45, 0.12, count).astype(np.float32)[number]
    texture = 1 + 0.06 * fractal(side, 2.0, generator) + generator.normal(0, 0.02, (side, side)).astype(np.float32)
    is_water = np.abs(fractal(side, 5.0, generator)) < 0.04
    layers = []
    for spectra in (ripe, bare):
        land = (spectra * shade)[number].transpose(2, 0, 1) * texture
        land[:, border] = np.float32(SPECTRA["town"])[:, None]
        land[:, is_water] = np.float32(SPECTRA["water"])[:, None]
        layers.append(np.clip(land, 0.01, 1))
    return Ground(layers[0], layers[1], season)


def on_day(ground: Ground, year_share: float, generator: np.random.Generator) -> np.ndarray:
    """Return a landscape in its season, (4, H, W), under a little haze and another sun each time."""
    ripeness = 0.5 + 0.5 * np.cos(2 * np.pi * (year_share - ground.season))
    land = ripeness * ground.ripe + (1 - ripeness) * ground.bare
    return (land * generator.uniform(0.92, 1.08) + generator.uniform(0, 0.015) * HAZE).astype(np.float32)


def under_clouds(land: np.ndarray, cover: float, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return a landscape under clouds and in their shadow, (4, H, W), and how opaque the clouds are, (1, H, W).

    Args:
        land: without clouds.
        cover: share of it that has a cloud above it, 0..1.
        generator: draws their shapes.
    """
    side = land.shape[-1]
    shape = fractal(side, 3.5, generator)
    thickness = np.maximum(shape - np.quantile(shape, 1 - cover), 0)
    opacity = 1 - np.exp(-1.6 * thickness)
    down, right = generator.uniform(6, 16), generator.uniform(-10, 10)
    shadow = shift(opacity, (down, right), order=1, mode="nearest")
    light = 0.2 + 0.4 * opacity + 0.04 * fractal(side, 2.4, generator)
    clouded = (1 - opacity) * land * (1 - SHADOW * shadow) + opacity * light * CLOUD
    return clouded.astype(np.float32), opacity[None].astype(np.float32)


def fractal(side: int, exponent: float, generator: np.random.Generator) -> np.ndarray:
    """Return noise whose power falls with frequency to an exponent, (side, side), of mean 0 and variance 1."""
    frequency = np.hypot(fft.fftfreq(2 * side)[:, None], fft.rfftfreq(2 * side)[None])  # cut, as it is periodic
    frequency[0, 0] = 1
    noise = fft.irfft2(fft.rfft2(generator.standard_normal((2 * side, 2 * side))) * frequency ** (-exponent / 2))
    part = noise[:side, :side]
    return ((part - part.mean()) / part.std()).astype(np.float32)


def _fields(side: int, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return the number of the field of each pixel, and where there is a road between two, (side, side)."""
    angle = generator.uniform(0, np.pi)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) * [[1.0], [0.6]]
    centres = generator.uniform(-FIELD, side + FIELD, (max(2, round((side / FIELD + 2) ** 2)), 2))
    pixels = np.stack(np.mgrid[:side, :side], axis=-1).reshape(-1, 2)
    distance, number = cKDTree(centres @ turn.T).query(pixels @ turn.T, k=2)
    is_road = (distance[:, 1] - distance[:, 0] < 0.7) & (number.sum(axis=1) % 4 == 0)
    return number[:, 0].reshape(side, side), is_road.reshape(side, side)

"""Tiles and their features as HDF5, in the layout that users of CLAM and TRIDENT have.

A file is named as its slide. It holds `coords`, int64 (N, 2): x and y of the tiles' upper left corners in pixels of the
finest level, and `features`, float16 (N, D), where they are made. Attributes of `coords`: name (of the slide), mpp
(micrometres per pixel at which tiles were read), patch_size (pixels along a side there), patch_size_level0,
level0_mpp, level0_width, level0_height, level0_magnification and target_magnification (as TRIDENT counts them: 10 over
micrometres per pixel). Attributes of `features`: name, encoder, encoder_digest (SHA-256 of its weights), precision.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import h5py
import numpy as np

from ...core.atomic import written_beside
from ...core.errors import UserError
from ...data.io.slide import SlideSource
from .slides import slide_name
from .tiling import Tiles

UM_PER_MAGNIFICATION = 10.0  # micrometres per pixel times magnification, by convention


def write_tiles(path: Path, tiles: Tiles) -> None:
    """Write where tiles lie."""
    with h5py.File(path, "w") as file:
        _write_coords(file, tiles)


def write_features(
    path: Path, tiles: Tiles, features: np.ndarray, encoder: str, digest: str, precision: str = "float32"
) -> None:
    """Write tiles and their features.

    Args:
        path: the file.
        tiles: where they lie.
        features: float16 (N, D).
        encoder: its name.
        digest: of its weights.
        precision: in which it computed.
    """
    with written_beside(path) as part, h5py.File(part, "w") as file:
        _write_coords(file, tiles)
        written = file.create_dataset("features", data=features)
        facts = {"name": tiles.slide, "encoder": encoder, "encoder_digest": digest, "precision": precision}
        written.attrs.update(facts)


def write_attention(
    path: Path, coords: np.ndarray | None, attention: np.ndarray, branches: np.ndarray, **facts: Any
) -> None:
    """Write how a network shares its attention among the tiles of a slide, with where they lie.

    Args:
        path: the file.
        coords: (N, 2), corners of tiles in pixels of the finest level; None where that is not known.
        attention: with which the slide's feature is made, float32 (N,), adds up to 1.
        branches: that of each branch, float32 (N, K).
        facts: attributes of `coords`.
    """
    with h5py.File(path, "w") as file:
        file.create_dataset("attention", data=attention)
        file.create_dataset("branches", data=branches)
        if coords is not None:
            file.create_dataset("coords", data=coords).attrs.update(facts)


def read_tiles(path: Path, slide: SlideSource, given: Mapping[str, Any] = MappingProxyType({})) -> Tiles:
    """Return the tiles of a file that `tile`, CLAM or TRIDENT wrote.

    Args:
        path: the file.
        slide: the slide on which they lie.
        given: the `patch_size` and `mpp` of tiles, where the file does not tell, as CLAM's features do not.

    Raises:
        UserError: the file is missing or damaged, tells no size of tiles, or is of another slide.
    """
    coords, facts = _read_coords(path)
    geometry = slide.geometry
    if "patch_size" not in facts and {"patch_size", "mpp"} <= given.keys():
        facts |= {"patch_size": given["patch_size"], "downsample": given["mpp"] / geometry.level0_mpp}
    size = int(facts.get("patch_size", 0))
    size0 = int(facts.get("patch_size_level0", round(size * downsample_of(facts))))
    if min(size, size0) < 1:
        raise UserError(
            f"{path}: does not tell the size of tiles (patch_size); write it again with `tile`, or give --size and "
            "--mpp to `infer`."
        )
    check_slide(path, coords, facts, slide)
    mpp = float(facts.get("mpp", geometry.level0_mpp * size0 / size))
    return Tiles(slide_name(slide.path), coords, size, size0, mpp, geometry.level0_mpp, geometry.level0_shape)


def check_slide(path: Path, coords: np.ndarray, facts: Mapping[str, Any], slide: SlideSource) -> None:
    """Refuse tiles that cannot be those of a slide.

    Args:
        path: their file.
        coords: their corners, (N, 2), in pixels of the finest level.
        facts: what their file tells.
        slide: the slide.

    Raises:
        UserError: the slide has another size than the file tells, or corners lie beyond it.
    """
    height, width = slide.geometry.level0_shape
    stated = int(facts.get("level0_width", width)), int(facts.get("level0_height", height))
    if stated != (width, height) or not ((coords >= 0) & (coords < (width, height))).all():
        raise UserError(f"{path}: its tiles are not of {slide.path}, which has {width} x {height} pixels.")


def stated_mpp(path: Path) -> float | None:
    """Return what a file of tiles says of the micrometres per pixel of the slide's finest level, if anything.

    Raises:
        UserError: the file is missing or damaged.
    """
    _, facts = _read_coords(path)
    return float(facts["level0_mpp"]) if "level0_mpp" in facts else None


def find_tiles(folder: Path, slide: Path) -> Path:
    """Return the file of a slide's tiles in a folder, by the name that `tile` and CLAM give, or TRIDENT."""
    name = slide_name(slide)
    of_trident = folder / f"{name}_patches.h5"
    return of_trident if of_trident.exists() else folder / f"{name}.h5"


def downsample_of(facts: Mapping[str, Any]) -> float:
    """Return how much coarser than the finest level is the one to which CLAM's patch size refers."""
    return float(np.mean(facts.get("downsample", 1.0)))


def facts_of(tiles: Tiles) -> dict[str, Any]:
    """Return the attributes of `coords`."""
    height, width = tiles.level0_shape
    return {
        "name": tiles.slide,
        "mpp": tiles.mpp,
        "patch_size": tiles.size,
        "patch_size_level0": tiles.size0,
        "level0_mpp": tiles.level0_mpp,
        "level0_width": width,
        "level0_height": height,
        "level0_magnification": round(UM_PER_MAGNIFICATION / tiles.level0_mpp, 4),
        "target_magnification": round(UM_PER_MAGNIFICATION / tiles.mpp, 4),
    }


def _write_coords(file: h5py.File, tiles: Tiles) -> None:
    file.create_dataset("coords", data=tiles.coords).attrs.update(facts_of(tiles))


def _read_coords(path: Path) -> tuple[np.ndarray, dict[str, object]]:
    if not path.is_file():
        raise UserError(f"{path}: there is no such file of tiles; run `tile` on its slide, or leave out --tiles.")
    try:
        with h5py.File(path) as file:
            coords = np.asarray(file["coords"])
            facts = dict(file["coords"].attrs)
    except (OSError, KeyError, TypeError) as error:
        raise UserError(f"{path}: is no HDF5 file with `coords` ({error}); write it again with `tile`.") from None
    if coords.ndim != 2 or coords.shape[1] != 2 or not len(coords) or coords.dtype.kind not in "iu":
        found = f"{coords.dtype} {coords.shape}"
        raise UserError(f"{path}: `coords` must be whole numbers (tiles, 2), found {found}; write it with `tile`.")
    return coords.astype(np.int64), facts

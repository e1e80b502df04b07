"""Decoded images kept on disk."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np


class PixelCache:
    """Decoded images as memory-mapped files, so that a patch costs its own pixels and not its image's.

    Args:
        folder: where the files live; made when first needed. A changed source file is decoded anew.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, source: Path, recipe: str, make: Callable[[], np.ndarray]) -> np.ndarray:
        """Return the array that `make` gives for `source`, from the cache where it is there already."""
        key = f"{identity(source)}|{recipe}"
        path = self.folder / f"{source.stem}-{recipe}-{hashlib.sha256(key.encode()).hexdigest()[:12]}.npy"
        if not path.exists():
            array = make()
            self.folder.mkdir(parents=True, exist_ok=True)
            part = path.with_name(f".{path.name}.{os.getpid()}.part")
            try:
                with part.open("wb") as file:
                    np.save(file, array)
                part.replace(path)
            finally:
                part.unlink(missing_ok=True)
        return np.load(path, mmap_mode="r")


def identity(source: Path) -> str:
    """Return a text that another file, or the same one after a change, does not have: place, bytes and time."""
    stat = source.stat()
    return f"{source.resolve()}|{stat.st_size}|{stat.st_mtime_ns}"


def recipe_of(*parts: object) -> str:
    """Return a short text that tells plain values from others."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:12]


def user_cache() -> Path:
    """Return the folder for what can be made again."""
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "foveal"

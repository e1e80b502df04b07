"""Readers that misbehave on purpose, for the tests of the pool."""

from __future__ import annotations

import os
import time
from pathlib import Path

from foveal.core.errors import UserError


def misbehave(path: Path) -> None:
    """Do what the name of the file says."""
    match path.stem:
        case "refused":
            raise UserError(f"{path}: is damaged; get it again.")
        case "nameless":
            raise UserError("is damaged; get it again.")
        case "lines":
            raise UserError(f"{path}: is damaged\nget it again.")
        case "busy":
            while True:
                sum(range(1000))
        case "asleep":
            time.sleep(600)
        case "dead":
            os.abort()
        case "gone":
            os._exit(3)
        case "large":
            bytearray(80 << 20)[:] = b"x" * (80 << 20)
        case "huge":
            bytearray(1 << 50)
        case "masked":
            raise UserError(f"{path}: cannot allocate 80 GB")
        case "odd":
            raise KeyError("rows")

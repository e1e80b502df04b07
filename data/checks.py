"""Looking at data before a long run: which files cannot be used, and what the others have in common."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..core.errors import UserError
from .io.image import read_image


@dataclass
class ImageReport:
    """What a folder of images holds.

    Attributes:
        problems: why each unusable file is so, one line each.
        kinds: images by (channels, bits).
        widths: width of every usable image, pixels.
        heights: height of every usable image, pixels.
        digest: SHA-256 over the names and pixels of the usable images.
    """

    problems: list[str] = field(default_factory=list)
    kinds: Counter[tuple[int, int]] = field(default_factory=Counter)
    widths: list[int] = field(default_factory=list)
    heights: list[int] = field(default_factory=list)
    digest: str = ""

    def lines(self) -> list[str]:
        """Return the report as lines of text."""
        usable = len(self.widths)
        lines = [f"{usable} usable images, {len(self.problems)} problems"]
        if usable:
            smallest = f"{min(self.widths)}x{min(self.heights)}"
            lines.append(f"sides: at least {smallest}, at most {max(self.widths)}x{max(self.heights)} pixels")
            lines += [f"{count} with {_kind(*kind)}" for kind, count in sorted(self.kinds.items())]
            lines.append(f"fingerprint: {self.digest[:16]}")
        return lines + [f"problem: {problem}" for problem in self.problems]


def check_images(files: Sequence[Path]) -> ImageReport:
    """Decode every file and report.

    Args:
        files: image files.
    """
    report, digest = ImageReport(), hashlib.sha256()
    for path in files:
        try:
            image = read_image(path)
        except UserError as error:
            report.problems.append(str(error))
            continue
        channels, height, width = image.shape
        report.kinds[channels, 8 * image.dtype.itemsize] += 1
        report.heights.append(height)
        report.widths.append(width)
        digest.update(path.name.encode() + image.tobytes())
    report.digest = digest.hexdigest()
    return report


def _kind(channels: int, bits: int) -> str:
    return f"{'grey' if channels == 1 else 'RGB'}, {bits} bits"

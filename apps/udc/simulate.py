"""`foveal udc simulate`: make pictures that look as if taken through a display."""

from __future__ import annotations

from pathlib import Path
from typing import Literal


def simulate(
    output: Path,
    input: list[Path],
    model: str = "physical",
    display: Literal["poled", "toled"] | None = None,
    linear: bool = False,
    seed: int = 0,
    bits: Literal[8, 16] | None = None,
    page: int | None = None,
    tile: int | Literal["auto", "whole"] = "auto",
    device: str = "auto",
    overwrite: bool = False,
    quiet: bool = False,
) -> None:
    """Take clean pictures through a display: darker, blurred and noisy, for training without pairs.

    PNG, JPEG, TIFF and BMP of any size, 8 or 16 bits; what is made of a JPEG file is a PNG file, and what is made of
    grey is in colour. A picture's noise follows from the seed and its name. An interrupted run goes on where it was
    when the same command is given again.

    Args:
        output: The file for a single input, else a folder; there each output has its input's name.
        input: Image files, or folders whose image files are taken; those in folders below are not.
        model: "physical" for diffraction and noise by their laws, or weights of MPGNet.
        display: Of the physical model, poled (dark, yellow, noisy) or toled (smeared); toled if not given.
        linear: Of the physical model, pixels are proportional to light, as in raw files, and not those of sRGB.
        seed: Of the noise.
        bits: Of each sample of the outputs; those of the input if not given.
        page: The page of a TIFF file with several, counted from 1.
        tile: Of MPGNet, side of a tile in pixels; "whole" computes the picture in one pass.
        device: Where MPGNet computes: auto, cpu, cuda, cuda:1 and so on.
        overwrite: Replace outputs that exist already.
        quiet: Report nothing but errors.

    Raises:
        UserError: an option, the weights or an input does not fit.

    Example:
        foveal udc simulate --input photographs --output degraded --display poled
    """
    from .simulation import Settings, simulate_files

    settings = Settings(model, display, linear, seed, bits, page, tile, device)
    simulate_files(settings, input, output, overwrite, quiet)

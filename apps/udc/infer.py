"""`foveal udc infer`: restore pictures taken through a display."""

from __future__ import annotations

from pathlib import Path
from typing import Literal


def infer(
    output: Path,
    input: list[Path],
    weights: str,
    page: int | None = None,
    tile: int | Literal["auto", "whole"] = "auto",
    overlap: int | None = None,
    device: str = "auto",
    precision: Literal["float32", "bfloat16", "float16"] = "float32",
    tta: bool = False,
    overwrite: bool = False,
    quiet: bool = False,
) -> None:
    """Restore pictures by a network.

    PNG, JPEG, TIFF and BMP of any size, 8 or 16 bits, grey or RGB, linear TIFF of a raw converter too; depth, alpha and
    colour profile are kept, and photographs are turned upright. Weights trained on values with a gamma want such. An
    interrupted run goes on where it was when the same command is given again.

    Args:
        output: The file for a single input, else a folder; there each output has its input's name.
        input: Image files, or folders whose image files are taken; those in folders below are not.
        weights: A checkpoint, safetensors file or exported program.
        page: The page of a TIFF file with several, counted from 1.
        tile: Side of a tile in pixels; "whole" computes the picture in one pass.
        overlap: Pixels that neighbouring tiles share; the weights say how many if not given.
        device: Where to compute: auto, cpu, cuda, cuda:1 and so on.
        precision: What the network computes in; lower ones are faster on GPUs.
        tta: Average over flips and transposes; eight times slower, slightly better.
        overwrite: Replace outputs that exist already.
        quiet: Report nothing but errors.

    Raises:
        UserError: an option, the weights or an input does not fit.

    Example:
        foveal udc infer --weights best.ckpt --input pictures --output restored
    """
    from ...core.errors import UserError
    from ...core.inference.command import open_engine
    from ...data.infer import run_files
    from .models.mpgnet import MPGNet

    engine, facts = open_engine("udc", weights, None, tile, overlap, device, precision, tta)
    if isinstance(engine.program, MPGNet):
        raise UserError(f"{weights}: degrades pictures and restores none; run `foveal udc simulate --model {weights}`.")
    run_files(engine, facts, input, output, {"page": page}, ("image",), overwrite=overwrite, quiet=quiet)

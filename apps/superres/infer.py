"""`foveal superres infer`: enlarge image files."""

from __future__ import annotations

from pathlib import Path
from typing import Literal


def infer(
    output: Path,
    input: list[Path] | None = None,
    weights: str = "dlgsanet-tiny-x4",
    scale: int | None = None,
    page: int | None = None,
    tile: int | Literal["auto", "whole"] = "auto",
    overlap: int | None = None,
    device: str = "auto",
    precision: Literal["float32", "bfloat16", "float16"] = "float32",
    tta: bool = False,
    overwrite: bool = False,
    quiet: bool = False,
) -> None:
    """Enlarge images by a network.

    PNG, JPEG, TIFF and BMP of any size, 8 or 16 bits, grey or RGB; depth, alpha and colour profile are kept, and
    photographs are turned upright. An interrupted run goes on where it was when the same command is given again.

    Args:
        output: The file for a single input, else a folder; there each output has its input's name.
        input: Image files, or folders whose image files are taken; those in folders below are not. Left out, a
            photograph that comes with scikit-image.
        weights: Name of shipped weights, or a checkpoint, safetensors file or exported program.
        scale: The enlargement that is expected; an error if the weights have another one.
        page: The page of a TIFF file with several, counted from 1.
        tile: Side of a tile in input pixels; "whole" computes the image in one pass.
        overlap: Input pixels that neighbouring tiles share; the weights say how many if not given.
        device: Where to compute: auto, cpu, cuda, cuda:1 and so on.
        precision: What the network computes in; lower ones are faster on GPUs.
        tta: Average over flips and transposes; eight times slower, slightly better.
        overwrite: Replace outputs that exist already.
        quiet: Report nothing but errors.

    Raises:
        UserError: an option, the weights or an input does not fit.

    Example:
        foveal superres infer --input photo.jpg --output larger.png
    """
    from ...core.inference.command import open_engine
    from ...data.infer import run_files
    from ...data.samples import sample_photograph

    engine, facts = open_engine("superres", weights, scale, tile, overlap, device, precision, tta)
    inputs = input or [sample_photograph()]
    run_files(engine, facts, inputs, output, {"page": page}, ("image",), overwrite=overwrite, quiet=quiet)

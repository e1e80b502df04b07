"""`foveal polyp infer`: find polyps in endoscopy images and videos."""

from __future__ import annotations

from pathlib import Path
from typing import Literal


def infer(
    output: Path,
    input: list[Path],
    weights: str,
    probabilities: bool = False,
    uncertainty: bool = False,
    overlay: Path | None = None,
    explain: Path | None = None,
    page: int | None = None,
    tile: int | Literal["auto", "whole"] = "auto",
    overlap: int | None = None,
    device: str = "auto",
    precision: Literal["float32", "bfloat16", "float16"] = "float32",
    tta: bool = False,
    overwrite: bool = False,
    quiet: bool = False,
) -> None:
    """Segment polyps in PNG, JPEG and TIFF images and in videos, at the size that these have.

    An image becomes a PNG of class numbers: 0 background, 1 polyp. A video becomes a folder of such masks,
    frame_000000.png and on, or, where the output is named as a video, a video with the outlines, of the same frames
    and frames a second, without sound. An interrupted run goes on where it was when the same command is given again;
    an outlined video begins anew.

    Args:
        output: The file for a single input, else a folder; for a video also a .mp4, .avi, .mov or .mkv file. The folder
            also gets a manifest of the run.
        input: Images and videos, or folders whose images and videos are taken; those in folders below are not.
        weights: Name of shipped weights, or a checkpoint, safetensors file or exported program.
        probabilities: Write the probability of polyp in place of class numbers, white being 1.
        uncertainty: Write too how far mirrored views of the input disagree: the variance of the probability, 0.25 being
            white, as a second output named ..._uncertainty. Eight times slower.
        overlay: Folder for pictures and videos with the outlines over the input.
        explain: Folder for pictures of where the network looks at an image; named ..._explain.png, none of videos.
        page: TIFF images, the page to read, counted from 1.
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
        foveal polyp infer --weights last.ckpt --input colonoscopy.mp4 --output masks --overlay pictures
    """
    from ...core.inference.command import open_engine
    from ...data.infer import Wanted, run_files

    engine, facts = open_engine("polyp", weights, None, tile, overlap, device, precision, tta)
    wanted = Wanted(None, probabilities, uncertainty, overlay, explain)
    run_files(
        engine, facts, input, output, {"page": page}, ("image", "video"), wanted, overwrite=overwrite, quiet=quiet
    )

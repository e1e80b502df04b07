"""Describe the tiles of slides by an encoder."""

from __future__ import annotations

from pathlib import Path
from typing import Literal


def features(
    output: Path,
    input: list[Path],
    encoder: str,
    encoder_weights: Path | None = None,
    tiles: Path | None = None,
    mpp: float = 0.5,
    size: int = 256,
    step: int | None = None,
    min_tissue: float = 0.25,
    tissue: Path | None = None,
    method: Literal["stain", "clam"] = "stain",
    slide_mpp: float | None = None,
    batch: int = 32,
    workers: int = 1,
    device: str = "auto",
    precision: Literal["float32", "bfloat16", "float16"] = "float32",
    overwrite: bool = False,
    quiet: bool = False,
) -> None:
    """Write the features of slides' tiles, as HDF5 that users of CLAM and TRIDENT know.

    For each slide NAME.h5 with `features`, float16 (tiles, D), and `coords`, (tiles, 2), x and y of the upper left
    corners in pixels of the finest level. Tissue is found and tiles are laid as `tissue` and `tile` do, unless they are
    given. Slides that are done are skipped when the same command is given again.

    Args:
        output: Folder, for a single slide also a .h5 file.
        input: Slides, DICOM slides (folders), or folders of slides.
        encoder: Network of timm, such as resnet50, vit_small_patch16_224.dino or hf-hub:MahmoodLab/UNI; or
            colour-texture, which is made by hand and needs no weights.
        encoder_weights: File of the encoder's weights; the published ones, downloaded once, if not given.
        tiles: Folder of tiles by the slides' names (.h5), from `tile`, CLAM or TRIDENT; laid if not given.
        mpp: Micrometres per pixel at which tiles are seen, 0.5 at 20x.
        size: Pixels along a side of a tile at that resolution; the encoder sees it resized to what it takes.
        step: Pixels from one tile to the next at that resolution; those of a side if not given.
        min_tissue: Share of a tile that must be tissue, 0 to 1.
        tissue: Folder of outlines by the slides' names (.geojson), from `tissue` or QuPath; found if not given.
        method: How tissue is found where no outlines are given; see `tissue`.
        slide_mpp: Micrometres per pixel of the finest level where the file does not tell.
        batch: Tiles computed at once.
        workers: Slides worked on at once, each by a process of its own; with --device auto these share out all GPUs.
        device: Where to compute: auto, cpu, cuda, cuda:1 and so on.
        precision: What the encoder computes in; lower ones are faster on GPUs.
        overwrite: Replace outputs that exist already.
        quiet: Report nothing but errors.

    Raises:
        UserError: an input, an option or the encoder's weights do not fit, or a slide cannot be used.

    Example:
        foveal wsi features --input slides --output features --encoder resnet50
    """
    from .feature_run import Settings, run_features

    settings = Settings(
        encoder=encoder,
        encoder_weights=encoder_weights,
        tiles=tiles,
        mpp=mpp,
        size=size,
        step=step,
        min_tissue=min_tissue,
        tissue=tissue,
        method=method,
        slide_mpp=slide_mpp,
        batch=batch,
        device=device,
        precision=precision,
    )
    run_features(settings, input, output, workers, overwrite, quiet)

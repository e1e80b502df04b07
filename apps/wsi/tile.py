"""Lay tiles over the tissue of slides."""

from __future__ import annotations

from pathlib import Path
from typing import Literal


def tile(
    output: Path,
    input: list[Path],
    mpp: float = 0.5,
    size: int = 256,
    step: int | None = None,
    min_tissue: float = 0.25,
    tissue: Path | None = None,
    method: Literal["stain", "clam"] = "stain",
    preview: bool = False,
    slide_mpp: float | None = None,
    overwrite: bool = False,
    quiet: bool = False,
) -> None:
    """Write where the tiles of slides lie, as HDF5 that users of CLAM and TRIDENT know.

    For each slide NAME.h5 with `coords`, (tiles, 2), x and y of the upper left corners in pixels of the finest level.

    Args:
        output: Folder, for a single slide also a .h5 file.
        input: Slides, DICOM slides (folders), or folders of slides.
        mpp: Micrometres per pixel at which tiles are seen, 0.5 at 20x.
        size: Pixels along a side of a tile at that resolution.
        step: Pixels from one tile to the next at that resolution; those of a side if not given.
        min_tissue: Share of a tile that must be tissue, 0 to 1.
        tissue: Folder of outlines by the slides' names (.geojson), from `tissue` or QuPath; found if not given.
        method: How tissue is found where no outlines are given; see `tissue`.
        preview: Also draw the tiles over the slide, as NAME_tiles.png.
        slide_mpp: Micrometres per pixel of the finest level where the file does not tell.
        overwrite: Replace outputs that exist already.
        quiet: Report nothing but errors.

    Raises:
        UserError: an input or an option does not fit, or a slide holds no tissue.

    Example:
        foveal wsi tile --input slides --output tiles --mpp 0.5 --size 256
    """
    from ...core.inference.batch import Item, manifest_of, run_batch
    from ...core.inference.engine import Progress
    from ...data.io.slide import SlideSource
    from .pictures import draw_tiles
    from .slides import appearing_together, free_of_option, outlines_file, pair_slides, tissue_of
    from .tile_files import write_tiles
    from .tiling import check_tiling, plan_tiles

    def work(item: Item, mark: str, progress: Progress) -> str:
        with SlideSource(item.input, mpp, slide_mpp) as source:
            tiles = plan_tiles(source, size, step, min_tissue, tissue_of(source, tissue, method))
            with appearing_together(item) as parts:
                write_tiles(parts.output, tiles)
                if preview:
                    draw_tiles(parts.beside["preview"], source, tiles)
            return f"{len(tiles.coords)} tiles"

    check_tiling(mpp, size, step, min_tissue)
    uses = outlines_file(tissue) if tissue else None
    items = pair_slides(input, output, ".h5", "_tiles.png" if preview else None, uses)
    facts = {"command": "tile", "mpp": mpp, "size": size, "step": step, "min_tissue": min_tissue}
    facts |= {"tissue": tissue or method, "slide_mpp": slide_mpp}
    run_batch(free_of_option(items, slide_mpp), work, facts, overwrite, quiet, manifest_of(output, {".h5"}))

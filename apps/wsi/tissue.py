"""Find the tissue on slides."""

from __future__ import annotations

from pathlib import Path
from typing import Literal


def tissue(
    output: Path,
    input: list[Path],
    method: Literal["stain", "clam"] = "stain",
    slide_mpp: float | None = None,
    overwrite: bool = False,
    quiet: bool = False,
) -> None:
    """Write the outlines of the tissue on slides, and pictures of them.

    For each slide NAME.geojson, which QuPath opens, in pixels of the finest level, and NAME_tissue.png. Outlines that
    were corrected in QuPath are taken by `tile` and `features` with --tissue.

    Args:
        output: Folder, for a single slide also a .geojson file.
        input: Slides, DICOM slides (folders), or folders of slides.
        method: How tissue is told from glass; "stain" where it is coloured, "clam" as CLAM does, which drops all pieces
            smaller than 100 patches of 512 pixels.
        slide_mpp: Micrometres per pixel of the finest level where the file does not tell.
        overwrite: Replace outputs that exist already.
        quiet: Report nothing but errors.

    Raises:
        UserError: an input or an option does not fit, or a slide holds no tissue.

    Example:
        foveal wsi tissue --input slides --output tissue
    """
    from ...core.inference.batch import Item, manifest_of, run_batch
    from ...core.inference.engine import Progress
    from ...data.io.slide import SlideSource
    from .pictures import draw_tissue
    from .slides import appearing_together, found_tissue, free_of_option, pair_slides, write_tissue

    def work(item: Item, mark: str, progress: Progress) -> str:
        with SlideSource(item.input, slide_mpp=slide_mpp) as source:
            mask = found_tissue(source, method)
            with appearing_together(item) as parts:
                write_tissue(parts.output, source, mask)
                draw_tissue(parts.beside["preview"], source, mask)
            return f"{mask.mean():.0%} of the slide"

    items = pair_slides(input, output, ".geojson", "_tissue.png")
    facts = {"command": "tissue", "method": method, "slide_mpp": slide_mpp}
    run_batch(free_of_option(items, slide_mpp), work, facts, overwrite, quiet, manifest_of(output, {".geojson"}))

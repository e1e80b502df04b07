"""Slides and their tissue: what the commands `tissue`, `tile` and `features` share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Literal

import numpy as np

from ...core.atomic import written_beside
from ...core.errors import UserError
from ...core.inference.batch import Item, pair_paths
from ...data.io.formats import input_suffixes, is_dicom_folder, split_name
from ...data.io.slide import SlideSource
from ...data.io.slide.outlines import annotation, areas_of, outlines, read_mask, regions_of, write_annotations
from ...data.io.slide.tissue import clam_mask

SUFFIXES = input_suffixes(("slide",))
COLOUR = (0, 158, 115)  # of outlines

Method = Literal["stain", "clam"]


def free_of_option(items: Sequence[Item], slide_mpp: float | None) -> list[Item]:
    """Return items so that a slide that tells its resolution is not done again when the option for others is given.

    Args:
        items: of slides.
        slide_mpp: micrometres per pixel of the finest level, for files that do not tell.
    """
    if slide_mpp is None:
        return list(items)
    return [each._replace(facts={"slide_mpp": None}) if _tells_resolution(each.input) else each for each in items]


def _tells_resolution(path: Path) -> bool:
    try:
        SlideSource(path).close()
    except (UserError, OSError):  # a damaged slide is told of when its turn comes
        return False
    return True


def slide_name(path: Path) -> str:
    """Return the name of a slide, without the suffix of a file."""
    stem, suffix = split_name(path)
    return stem if suffix.lower() in SUFFIXES and not path.is_dir() else path.name


def pair_slides(
    inputs: Sequence[Path],
    output: Path,
    suffix: str,
    picture: str | None = None,
    uses: Callable[[Path], Path] | None = None,
) -> list[Item]:
    """Say what is made of which slide.

    Args:
        inputs: slides and folders of slides.
        output: a folder; for a single slide also a file.
        suffix: of the outputs.
        picture: the end of the name of a picture beside each output; None for none.
        uses: gives the other file from which a slide's output is made.

    Raises:
        UserError: as from `pair_paths`.
    """

    def name(path: Path) -> str:
        return slide_name(path) + suffix

    def beside(path: Path, output: Path) -> dict[str, Path]:
        return {"preview": output.with_name(output.name[: -len(suffix)] + picture)} if picture else {}

    items = pair_paths(inputs, output, SUFFIXES, {suffix}, is_dicom_folder, name, beside)
    return [each._replace(uses=_there(uses(each.input))) for each in items] if uses else items


@contextmanager
def appearing_together(item: Item) -> Iterator[Item]:
    """Give temporary names to all outputs of an item; all get their own when the block ends without an error.

    An interruption between them would else leave outputs of which the journal does not know.
    """
    with ExitStack() as stack:
        output = stack.enter_context(written_beside(item.output))
        beside = {what: stack.enter_context(written_beside(path)) for what, path in item.beside.items()}
        yield item._replace(output=output, beside=beside)


def outlines_file(folder: Path) -> Callable[[Path], Path]:
    """Return what gives a slide's file in a folder of outlines.

    Raises:
        UserError: there is no such folder.
    """
    if not folder.is_dir():
        raise UserError(f"--tissue {folder}: there is no such folder; give one of .geojson files, or leave it out.")
    return lambda slide: folder / f"{slide_name(slide)}.geojson"


def tissue_of(source: SlideSource, folder: Path | None, method: Method = "stain") -> np.ndarray:
    """Return where tissue is on the overview of a slide, bool (h, w).

    Args:
        source: the slide.
        folder: of outlines; None to find the tissue.
        method: how it is found.

    Raises:
        UserError: there are no outlines of this slide, or no tissue within them, or none was found.
    """
    if folder is None:
        return found_tissue(source, method)
    path = outlines_file(folder)(source.path)
    mask = read_mask(path, source.overview_shape, source.overview_step)
    if not mask.any():
        raise UserError(
            f"{source.path}: {path} holds no polygon on this slide; draw the tissue, or leave out --tissue."
        )
    return mask


def found_tissue(source: SlideSource, method: Method = "stain") -> np.ndarray:
    """Return where tissue is on the overview of a slide, bool (h, w).

    Raises:
        UserError: none was found.
    """
    mask = source.tissue_overview if method == "stain" else clam_mask(source.overview, source.overview_step)
    if not mask.any():
        small = "; CLAM's way drops pieces below 100 patches of 512 pixels, --method stain does not" * (
            method == "clam"
        )
        raise UserError(
            f"{source.path}: no tissue was found{small}. If there is some, draw it in QuPath and give it to tile or "
            "features by --tissue."
        )
    return mask


def write_tissue(path: Path, source: SlideSource, mask: np.ndarray) -> None:
    """Write the outlines of tissue, (h, w) on the overview of a slide, as annotations."""
    regions, count = regions_of(mask)
    areas = areas_of(regions, count, source.overview_mpp**2)
    found = (
        annotation(rings, "Tissue", COLOUR, {"Area µm²": round(float(areas[region]), 2)})
        for region, rings in outlines(regions, source.overview_step, source.geometry.level0_shape)
    )
    write_annotations(path, found)


def _there(path: Path) -> tuple[Path, ...]:
    return (path,) if path.exists() else ()

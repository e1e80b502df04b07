"""A folder of high-resolution images."""

from pathlib import Path

from ...core.errors import UserError
from ..io.formats import IMAGE_SUFFIXES
from .group_split import Part
from .pairs import Pair
from .split_file import names_of


class ImageFolder:
    """High-resolution images in a folder; the low-resolution side is made by MATLAB-compatible bicubic reduction.

    Shows: any images. Channels: grey or RGB (alpha is dropped), 8 or 16 bits. Layout: the files of one folder, in
    order of name. Split: give separate folders, or
    a file. Licence and citation: those of the images.

    Args:
        folder: the folder.
        licence: terms of the images, written to the card of what is trained on them.
        part: which part of the images to take, by `split`; None for all.
        split: CSV file of names and their parts, as `foveal init` writes it.
    """

    def __init__(self, folder: Path, licence: str = "", part: Part | None = None, split: Path | None = None) -> None:
        self.folder = Path(folder)
        self.licence = licence
        self.part = part
        self.split = split

    def pairs(self, scale: int) -> list[Pair]:
        """Return one pair per image.

        Raises:
            UserError: the folder is missing or holds no image, or the split file does not fit.
        """
        return pairs_of([Pair(path.stem, path) for path in image_files(self.folder)], self.part, self.split)


def pairs_of(pairs: list[Pair], part: Part | None, split: Path | None) -> list[Pair]:
    """Return the pairs of a part, by a split file; all of them without one.

    Raises:
        UserError: there is a part but no file, or the file does not fit.
    """
    if split is None:
        if part is not None:
            raise UserError(f"the part {part} of images is told by a file; give split, or leave part out.")
        return pairs
    chosen = names_of(split, part, (each.name for each in pairs))
    return [each for each in pairs if each.name in chosen]


def pictures_in(folder: Path) -> list[Path]:
    """Return the image files of a folder by name, hidden ones left out; there may be none."""
    files = (path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    return sorted(path for path in files if path.suffix.lower() in IMAGE_SUFFIXES)


def image_files(folder: Path) -> list[Path]:
    """Return the image files of a folder by name.

    Raises:
        UserError: the folder is missing or holds no image.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder. Give the folder that holds the images.")
    files = pictures_in(folder)
    if not files:
        raise UserError(f"{folder} holds no images. Expected files such as *.png, *.jpg or *.tif.")
    return files

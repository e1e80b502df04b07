"""A folder of high-resolution images."""

from pathlib import Path

from ...core.errors import UserError
from .pairs import Pair

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp")


class ImageFolder:
    """High-resolution images in a folder; the low-resolution side is made by MATLAB-compatible bicubic reduction.

    Shows: any images. Channels: grey or RGB (alpha is dropped), 8 or 16 bits. Layout: the files of one folder, in
    order of name. Split: give separate folders. Licence and citation: those of the images.

    Args:
        folder: the folder.
        licence: terms of the images, written to the card of what is trained on them.
    """

    def __init__(self, folder: Path, licence: str = "") -> None:
        self.folder = Path(folder)
        self.licence = licence

    def pairs(self, scale: int) -> list[Pair]:
        """Return one pair per image.

        Raises:
            UserError: the folder is missing or holds no image.
        """
        return [Pair(path.stem, path) for path in image_files(self.folder)]


def image_files(folder: Path) -> list[Path]:
    """Return the image files of a folder by name.

    Raises:
        UserError: the folder is missing or holds no image.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder. Give the folder that holds the images.")
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file())
    if not files:
        raise UserError(f"{folder} holds no images. Expected files such as *.png, *.jpg or *.tif.")
    return files

"""Two folders with the same images at two resolutions."""

from pathlib import Path

from ...core.errors import UserError
from .group_split import Part
from .image_folder import image_files, pairs_of
from .pairs import Pair


class PairedFolders:
    """High- and low-resolution images in two folders, as in DIV2K and the usual benchmarks.

    Shows: any images; DIV2K has 800 + 100 photographs of about 2000 pixels. Channels: grey or RGB, 8 or 16 bits.
    Layout: `high/<name>.png` with `low/<name>.png` or `low/<name>x{scale}.png`; `{scale}` in either folder's path is
    replaced by the network's scale. Split: given by the folders, or by a file. Licence of DIV2K: academic research
    only. Citation: Agustsson and Timofte, "NTIRE 2017 Challenge on Single Image Super-Resolution", CVPRW 2017.

    Args:
        high: folder of high-resolution images, e.g. DIV2K/DIV2K_valid_HR.
        low: folder of low-resolution images, e.g. DIV2K/DIV2K_valid_LR_bicubic/X{scale}.
        licence: terms of the images, written to the card of what is trained on them.
        part: which part of the images to take, by `split`; None for all.
        split: CSV file of names and their parts, as `foveal init` writes it.
    """

    def __init__(
        self, high: str, low: str, licence: str = "", part: Part | None = None, split: Path | None = None
    ) -> None:
        self.high = high
        self.low = low
        self.licence = licence
        self.part = part
        self.split = split

    def pairs(self, scale: int) -> list[Pair]:
        """Return one pair per high-resolution image.

        Raises:
            UserError: a folder is missing or empty, an image has no partner, or the split file does not fit.
        """
        high_files = image_files(Path(self.high.format(scale=scale)))
        low_folder = Path(self.low.format(scale=scale))
        low_files = {path.stem: path for path in image_files(low_folder)}
        pairs = [Pair(path.stem, path, self._partner(path, low_files, low_folder, scale)) for path in high_files]
        return pairs_of(pairs, self.part, self.split)

    @staticmethod
    def _partner(high: Path, low_files: dict[str, Path], low_folder: Path, scale: int) -> Path:
        partner = low_files.get(f"{high.stem}x{scale}") or low_files.get(high.stem)
        if partner is None:
            raise UserError(f"{high} has no partner: expected {high.stem}x{scale} or {high.stem} in {low_folder}.")
        return partner

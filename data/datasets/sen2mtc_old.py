"""Sen2_MTC_Old: three cloudy dates and a clear one as pictures of 8 bits."""

from __future__ import annotations

from pathlib import Path

import torch

from ...core.errors import UserError
from .group_split import Part, check_part
from .scene_series import ListedScenes, Reading, SceneImage, SceneSeries

DATES = 3
SEED = 2022
SHARES = (0.8, 0.1)  # of training and validation: 2504 and 313 of all 3130


class Sen2MTCOld(ListedScenes):
    """Sen2_MTC_Old of STGAN, split at random as for PMAA.

    Shows: Sentinel-2, 256x256 pixels of 10 m, 3130 samples. Channels: red, green, blue and near infrared; the clear
    image has the first three. Units: 0..1 of 8 bits, no reflectance. Layout: `clear/<name>.jpg` with
    `cloudy/<name>_0.jpg`, `_1`, `_2` and beside each `<name>_0_ir.jpg`, whose first channel is the near infrared.
    Split: 2504, 313 and 313 by PyTorch's generator seeded 2022 over the sorted names; others split otherwise, so
    numbers are comparable with PMAA's alone. Licence: CC0. Citation: Sarukkai et al., "Cloud Removal in Satellite
    Images Using Spatiotemporal Generative Networks", WACV 2020.

    104 samples overlap test tiles of Sen2_MTC_New: leave them out by `exclude` before a network that was trained here
    is scored there.

    Args:
        folder: `multipleImage`, which holds `clear` and `cloudy`.
        part: which part of the split.
        exclude: text file with one name a line that is left out of the part; None leaves out none.
        side: pictures are resized to squares of this many pixels. PMAA crops 256 of 286 pixels at random, in tests too;
            0 scores them as they are.
    """

    licence = "CC0-1.0"
    protocol = "old"
    unit = ""

    def __init__(self, folder: str, part: Part, exclude: str | None = None, side: int = 0) -> None:
        check_part(part)
        self.folder = Path(folder)
        self.part = part
        self.exclude = Path(exclude) if exclude else None
        self.reading = Reading(side=side)

    def listed(self) -> list[SceneSeries]:
        """Return the samples of the part.

        Raises:
            UserError: the folder is missing or empty, a clear image has no three cloudy ones, or the file of names to
                leave out is missing or has a name that is no sample's.
        """
        clear = sorted((self.folder / "clear").glob("*.jpg"))
        if not clear:
            raise UserError(
                f"{self.folder / 'clear'}: is missing or empty; get the multi-image set of STGAN and give its folder "
                "multipleImage, which holds clear and cloudy."
            )
        left_out = self._left_out({each.stem for each in clear})
        return [self._series(each) for each in _part(clear, self.part) if each.stem not in left_out]

    def _series(self, clear: Path) -> SceneSeries:
        name = clear.stem
        images = []
        for number in range(DATES):
            files = tuple(self.folder / "cloudy" / f"{name}_{number}{kind}.jpg" for kind in ("", "_ir"))
            if missing := next((file for file in files if not file.is_file()), None):
                raise UserError(f"{clear}: has no date {number}; expected {missing}.")
            images.append(SceneImage(files, name, name, self.reading))
        return SceneSeries(name, tuple(images), SceneImage((clear,), name, name, self.reading, is_clear=True))

    def _left_out(self, names: set[str]) -> set[str]:
        if self.exclude is None:
            return set()
        if not self.exclude.is_file():
            raise UserError(f"{self.exclude}: there is no such file; give a text file with one name a line.")
        listed = {line.strip() for line in self.exclude.read_text().splitlines()} - {""}
        if strange := sorted(listed - names):
            raise UserError(f"{self.exclude}: {strange[0]!r} is no name of an image in {self.folder / 'clear'}.")
        return listed


def _part(files: list[Path], part: Part) -> list[Path]:
    """Return the files of a part, in the order that `torch.utils.data.random_split` deals them."""
    order = torch.randperm(len(files), generator=torch.Generator().manual_seed(SEED)).tolist()
    first, second = (round(share * len(files)) for share in (SHARES[0], sum(SHARES)))
    limits = {"train": (0, first), "validation": (first, second), "test": (second, len(files))}
    return [files[index] for index in order[slice(*limits[part])]]

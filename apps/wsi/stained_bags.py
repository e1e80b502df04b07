"""Bags made from one photograph of stained tissue, to try the training without any download."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch

from ...core.errors import UserError
from ...data.datasets.bag import Bag
from ...data.io.features import Features
from ...data.samples import sample_photograph
from .encoders import COLOUR_TEXTURE, open_encoder

PHOTOGRAPH = "ihc.png"
SIDE, STEP = 32, 16  # pixels of a tile, and from one to the next
BORDER = 320  # pixels; tiles left of it train, tiles right of it validate
BROWN = 0.05  # density of DAB, from where a pixel counts as stained
MARKED, CLEAR = 0.5, 0.05  # share of stained pixels from which a tile is of a gland, and to which it is not


class StainedBags:
    """Bags of tiles of glands and of the tissue between them.

    Shows: glands of a colon, stained brown (FHL2 by DAB), in tissue stained blue; the photograph of 512 x 512 pixels is
    inside scikit-image's wheel. Features: those of the hand-made encoder "colour-texture". Labels: made by rule and no
    diagnosis: a bag is "gland" if one to three of its tiles are brown by at least half of their pixels; its other tiles
    are at most 5% brown. Layout: none, bags are drawn at random; a tile may be in several bags of its part. Split: the
    left of the photograph trains, the right validates; it is one picture, so results tell nothing of other tissue.
    Licence: no known copyright restrictions. Citation: Center for Microscopy and Molecular Imaging; van der Walt et
    al., "scikit-image", PeerJ 2014.

    Args:
        part: which side of the photograph.
        bags: how many, half of them with a gland.
        tiles: how many tiles a bag has.
        seed: of the draws.

    Raises:
        UserError: too few bags or tiles.
    """

    licence = "no known copyright restrictions"
    classes = ("stroma", "gland")

    def __init__(
        self, part: Literal["train", "validation"] = "train", bags: int = 60, tiles: int = 20, seed: int = 0
    ) -> None:
        if bags < 2 or not 4 <= tiles <= 50:
            raise UserError(f"StainedBags: give at least 2 bags of 4 to 50 tiles, not {bags} of {tiles}.")
        self.part = part
        self.count = bags
        self.tiles = tiles
        self.seed = seed

    def bags(self) -> list[Bag]:
        """Return the bags, without and with a gland in turns."""
        coords, glands, features, facts = self._described()
        rng = np.random.default_rng([self.seed, self.part == "train"])
        found = []
        for number in range(self.count):
            marked = int(rng.integers(1, 4)) if number % 2 else 0
            chosen = np.concatenate(
                [
                    rng.choice(np.flatnonzero(glands == kind), count, replace=False)
                    for kind, count in ((True, marked), (False, self.tiles - marked))
                ]
            )
            rng.shuffle(chosen)
            content = Features(features[chosen], coords[chosen], facts)
            label = self.classes[number % 2]
            photograph = sample_photograph(PHOTOGRAPH)
            found.append(Bag(f"{self.part} {number}", label, photograph, features=content, picture=photograph))
        return found

    def _described(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, dict[str, object]]:
        """Return corners, whether it is of a gland, and features of every tile of the part, and facts of all."""
        from PIL import Image

        picture = np.asarray(Image.open(sample_photograph(PHOTOGRAPH)).convert("RGB"))
        coords, stained = _tiles(picture, self.part == "train")
        coords, stained = (each[(stained >= MARKED) | (stained <= CLEAR)] for each in (coords, stained))
        encoder = open_encoder(COLOUR_TEXTURE)
        cut = np.stack([picture[y : y + SIDE, x : x + SIDE] for x, y in coords])
        with torch.inference_mode():
            features = encoder(torch.from_numpy(cut)).half().numpy()
        facts = {"encoder": encoder.name, "encoder_digest": encoder.digest, "patch_size": SIDE}
        return coords, stained >= MARKED, features, facts


def _tiles(picture: np.ndarray, is_left: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return the corners of the tiles of one side, x and y (N, 2), and how much of each is stained, (N,)."""
    from skimage.color import rgb2hed

    brown = rgb2hed(picture)[..., 2] > BROWN
    height, width = brown.shape
    begin, end = (0, BORDER) if is_left else (BORDER, width)
    grid = np.meshgrid(range(begin, end - SIDE + 1, STEP), range(0, height - SIDE + 1, STEP))
    coords = np.stack([each.ravel() for each in grid], axis=1)
    return coords, np.array([brown[y : y + SIDE, x : x + SIDE].mean() for x, y in coords])

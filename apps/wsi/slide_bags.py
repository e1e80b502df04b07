"""Where the features of a slide come from when a network is run on it: they are made now, or lie in a file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...core.errors import UserError
from ...core.inference.device import find_device
from ...core.inference.engine import Progress
from ...core.weights.card import Card
from ...data.io.features import SUFFIXES, Features, read_features
from ...data.io.slide import SlideSource
from .encoders import open_encoder
from .extraction import extract
from .feature_facts import check_facts
from .feature_run import Settings, check_settings, facts_of, lay_tiles
from .slides import outlines_file, slide_name
from .tile_files import read_tiles, stated_mpp
from .tiling import Tiles


class MadeFeatures:
    """Features that are made of the slide, as `features` makes them.

    Args:
        settings: how.
        card: of the network, which says how many features it takes.
        expected: what is known of them, from `expected_facts`.

    Attributes:
        facts: what outputs depend on.

    Raises:
        UserError: an option does not fit, or the encoder is not that of the training.
    """

    def __init__(self, settings: Settings, card: Card, expected: Mapping[str, Any]) -> None:
        check_settings(settings)
        self.settings = settings
        self.find_outlines = outlines_file(settings.tissue) if settings.tissue else None
        self.encoder = open_encoder(settings.encoder, settings.encoder_weights)
        self.device = find_device(settings.device)
        if self.encoder.dim != len(card.channels):
            raise UserError(
                f"--encoder {settings.encoder}: gives {self.encoder.dim} features of a tile, but {card.name} takes "
                f"{len(card.channels)}; give the encoder it was trained on."
            )
        digests = {"encoder": self.encoder.name, "encoder_digest": self.encoder.digest}
        check_facts(f"--weights {card.name}", digests, expected)
        self.facts = facts_of(settings, self.encoder)

    def uses(self, slide: Path) -> tuple[Path, ...]:
        """Return the other files that the features of a slide are made of."""
        path = self.find_outlines(slide) if self.find_outlines else None
        return (path,) if path and path.exists() else ()

    def open(self, slide: Path) -> SlideSource:
        """Open a slide; raises UserError where it cannot be used."""
        return SlideSource(slide, self.settings.mpp, self.settings.slide_mpp)

    def bag(self, source: SlideSource, progress: Progress) -> tuple[Tiles, np.ndarray]:
        """Return the tiles of a slide and their features, (N, D); raises UserError where there are none."""
        tiles = lay_tiles(self.settings, source)
        settings = self.settings
        return tiles, extract(source, tiles, self.encoder, settings.batch, self.device, settings.precision, progress)


class StoredFeatures:
    """Features in a folder of HDF5 files by the slides' names, from `features`, CLAM or TRIDENT.

    Args:
        folder: of the files.
        slide_mpp: micrometres per pixel of the finest level of slides, where neither they nor the files tell.
        expected: what is known of them, from `expected_facts`.

    Attributes:
        facts: what outputs depend on.

    Raises:
        UserError: there is no such folder.
    """

    def __init__(self, folder: Path, slide_mpp: float | None, expected: Mapping[str, Any]) -> None:
        if not folder.is_dir():
            raise UserError(f"--features {folder}: there is no such folder; give one of .h5 files, or leave it out.")
        self.folder = folder
        self.slide_mpp = slide_mpp
        self.expected = expected
        self.facts = {"features": folder, "slide_mpp": slide_mpp, **expected}

    def uses(self, slide: Path) -> tuple[Path, ...]:
        """Return the file of a slide's features."""
        path = self._file(slide)
        return (path,) if path.exists() else ()

    def open(self, slide: Path) -> SlideSource:
        """Open a slide; raises UserError where it or its features cannot be used."""
        path = self._file(slide)
        if not path.is_file():
            raise UserError(f"{path}: there is no such file; make it by `features`, or leave out --features.")
        return SlideSource(slide, slide_mpp=self.slide_mpp or stated_mpp(path))

    def bag(self, source: SlideSource, progress: Progress) -> tuple[Tiles, np.ndarray]:
        """Return the tiles of a slide and their features, (N, D); raises UserError where they do not fit."""
        path = self._file(source.path)
        tiles = read_tiles(path, source, self.expected)
        return tiles, read_bag(path, self.expected).values

    def _file(self, slide: Path) -> Path:
        return self.folder / f"{slide_name(slide)}.h5"


def is_bag(path: Path) -> bool:
    """Tell whether an input is a file of features, not a slide."""
    return path.suffix.lower() in SUFFIXES and not path.is_dir()


def read_bag(path: Path, expected: Mapping[str, Any]) -> Features:
    """Read a file of features.

    Raises:
        UserError: it cannot be read, or its features are not what the network expects.
    """
    found = read_features(path)
    check_facts(path, found.facts, expected)
    return found

"""Training patches and evaluation images of networks that make one image of another."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.utils.data import Dataset

from .datasets.pairs import Pair, PairImages, PairSource, PatchDataset, WholeDataset
from .loaders import SourceData, digest_of
from .transforms import PairAugmentation


class PairData(SourceData):
    """Pairs of images. The scale and the channels are the network's.

    Args:
        train: training pairs.
        validation: pairs scored after every epoch.
        test: {name of the set: pairs} scored by `test`; empty means the validation pairs.
        patch: side of a training patch, pixels of the side that the network sees.
        batch_size: patches of one step over all processes.
        augment: albumentations transforms beyond flips and transposes, applied alike to both sides.
        **kwargs: see `SourceData`.
    """

    collate = None

    def __init__(
        self,
        train: list[PairSource],
        validation: list[PairSource],
        test: dict[str, PairSource] | None = None,
        patch: int = 48,
        batch_size: int = 16,
        augment: list[Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(train, validation, test, batch_size, **kwargs)
        self.patch = patch
        self.augmentation = PairAugmentation(augment or ())
        self.used: dict[str, list[PairSource]] = {}  # what the stage that was set up reads

    def setup(self, stage: str) -> None:
        """List the files that the stage needs, so that a missing one is told before any work."""
        self.check_batch_size()
        self.used = self.sources(stage)
        parts = {name: self._pairs(sources) for name, sources in self.used.items()}
        if stage == "fit":
            self.train_pairs = parts.pop("train")
            self.check_epoch(self.images * self.repeats, "patches")
            self.training = self.patches(self.train_pairs)
        self.evaluation = self.wholes(parts)

    def patches(self, pairs: list[Pair]) -> Dataset[tuple[Tensor, Tensor]]:
        """Return random patches of the pairs."""
        return PatchDataset(self._images(pairs), self.patch, self.seed, self.augmentation)

    def wholes(self, sets: dict[str, list[Pair]]) -> Dataset[dict[str, Any]]:
        """Return the whole pairs of every set."""
        return WholeDataset({name: self._images(pairs) for name, pairs in sets.items()})

    @property
    def images(self) -> int:
        """Number of the training images."""
        return len(self.train_pairs)

    def fingerprint(self) -> dict[str, Any]:
        """Return what identifies the data in use: {part: [licence, numbers, names and a digest, by source]}."""
        return {name: [self._facts(source) for source in sources] for name, sources in self.used.items()}

    def _facts(self, source: PairSource) -> dict[str, Any]:
        pairs = source.pairs(self._scale())
        return {
            "layout": type(source).__name__,
            "licence": source.licence,
            "images": len(pairs),
            "bytes": sum(pair.high.stat().st_size for pair in pairs),
            "names": [pair.name for pair in pairs],
            "sha256": digest_of(pair.name for pair in pairs),
        }

    def _pairs(self, sources: list[PairSource]) -> list[Pair]:
        return [pair for source in sources for pair in source.pairs(self._scale())]

    def _images(self, pairs: list[Pair]) -> PairImages:
        return PairImages(pairs, self._scale(), self.net.in_channels, self.cache)

    def _scale(self) -> int:
        return self.net.scale

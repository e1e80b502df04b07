"""Training patches and evaluation images of networks that make one image of another."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor
from torch.utils.data import Dataset

from ..core.errors import UserError
from .datasets.cache import PixelCache, user_cache
from .datasets.pairs import Pair, PairImages, PairSource, PatchDataset, WholeDataset
from .datasets.sampling import TrainingSampler
from .loaders import LoadedData
from .transforms import PairAugmentation


class PairData(LoadedData):
    """Pairs of images. The scale and the channels are the network's.

    A subclass says in `cache_name` where decoded images are kept in the user's cache folder.

    Args:
        train: training pairs.
        validation: pairs scored after every epoch.
        test: {name of the set: pairs} scored by `test`; empty means the validation pairs.
        patch: side of a training patch, pixels of the side that the network sees.
        batch_size: patches of one step over all processes.
        repeats: how often every image gives a patch in one epoch.
        augment: albumentations transforms beyond flips and transposes, applied alike to both sides.
        workers: loading processes.
        seed: seed of the order, the crops and the augmentation.
        cache: folder for decoded and reduced images; None means the user's cache folder.
    """

    collate = None
    cache_name: ClassVar[str]

    def __init__(
        self,
        train: list[PairSource],
        validation: list[PairSource],
        test: dict[str, PairSource] | None = None,
        patch: int = 48,
        batch_size: int = 16,
        repeats: int = 1,
        augment: list[Any] | None = None,
        workers: int = 2,
        seed: int = 0,
        cache: Path | None = None,
    ) -> None:
        super().__init__()
        self.train_sources = train
        self.validation_sources = {"validation": validation}
        self.test_sources = {name: [source] for name, source in (test or {}).items()} or self.validation_sources
        self.patch = patch
        self.batch_size = batch_size
        self.repeats = repeats
        self.augmentation = PairAugmentation(augment or ())
        self.workers = workers
        self.seed = seed
        self.used: dict[str, list[PairSource]] = {}  # what the stage that was set up reads
        self.cache = PixelCache(cache or user_cache() / self.cache_name)

    def setup(self, stage: str) -> None:
        """List the files that the stage needs, so that a missing one is told before any work."""
        self.check_batch_size()
        if stage == "fit":
            self.train_pairs = self._pairs(self.train_sources)
            if len(self.train_pairs) * self.repeats < self.batch_size:
                raise UserError(
                    f"one epoch has {len(self.train_pairs) * self.repeats} patches, fewer than data.batch_size "
                    f"{self.batch_size}; raise data.repeats, so that every image gives more patches."
                )
            self.training = self.patches(self.train_pairs)
        sets = self.validation_sources if stage in ("fit", "validate") else self.test_sources
        self.used = ({"train": self.train_sources} if stage == "fit" else {}) | sets
        self.evaluation = self.wholes({name: self._pairs(sources) for name, sources in sets.items()})

    def patches(self, pairs: list[Pair]) -> Dataset[tuple[Tensor, Tensor]]:
        """Return random patches of the pairs."""
        return PatchDataset(self._images(pairs), self.patch, self.seed, self.augmentation)

    def wholes(self, sets: dict[str, list[Pair]]) -> Dataset[dict[str, Any]]:
        """Return the whole pairs of every set."""
        return WholeDataset({name: self._images(pairs) for name, pairs in sets.items()})

    def sampler(self, rank: int, world: int) -> TrainingSampler:
        """Return the order of the patches."""
        return TrainingSampler(len(self.train_pairs) * self.repeats, self.seed, rank, world)

    def fingerprint(self) -> dict[str, Any]:
        """Return what identifies the data in use: {part: [licence, number, bytes, names of the images, by source]}."""
        return {name: [self._facts(source) for source in sources] for name, sources in self.used.items()}

    def _facts(self, source: PairSource) -> dict[str, Any]:
        pairs = source.pairs(self._scale())
        return {
            "layout": type(source).__name__,
            "licence": source.licence,
            "images": len(pairs),
            "bytes": sum(pair.high.stat().st_size for pair in pairs),
            "names": [pair.name for pair in pairs],
        }

    def _pairs(self, sources: list[PairSource]) -> list[Pair]:
        return [pair for source in sources for pair in source.pairs(self._scale())]

    def _images(self, pairs: list[Pair]) -> PairImages:
        return PairImages(pairs, self._scale(), self.net.in_channels, self.cache)

    def _scale(self) -> int:
        return self.net.scale

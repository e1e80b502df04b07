"""Training patches and evaluation scenes of several dates for cloud removal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ...core.errors import UserError
from ...data.datasets.scene_files import SceneFiles
from ...data.datasets.scene_series import CHANNELS, SceneSource
from ...data.loaders import SourceData, digest_of, shared_with_training
from .clouds import cloud_mask
from .composing import ComposedClouds, turned
from .scene_samples import Sample, Samples, SeriesSamples

Batch = dict[str, Any]
"""{"images": (N, T, B, H, W), "truth": (N, B, H, W), "clouds": (N, T, 1, H, W)}, float32.

Images and truth are reflectance, or 0..1 for pictures, and 0 where nothing counts. Clouds are 1 on cloud and where
nothing counts, and 0 elsewhere; in pictures they are NaN, not known, while in reflectance without a mask they are told
by `cloud_mask`. Cases also have "set", "name" and "place", lists of one text.
"""


class CloudRemovalData(SourceData):
    """Several dates of places with the cloud-free image that they should become.

    Args:
        train: layouts, or clouds composed on clear images, for the training.
        validation: such that are scored after every epoch.
        test: {name of the set: such} scored by `test`; None means the validation scenes.
        patch: side of a training patch in pixels.
        case_side: scenes that are longer than this in pixels are scored in parts.
        batch_size: patches of one step over all processes.
        **kwargs: see `SourceData`; decoded scenes take four bytes for each pixel and band.

    Attributes:
        channels: of each date.
    """

    collate = None
    cache_name = "cloudremoval"
    channels = CHANNELS

    def __init__(
        self,
        train: list[SceneSource | ComposedClouds],
        validation: list[SceneSource | ComposedClouds],
        test: dict[str, SceneSource | ComposedClouds] | None = None,
        patch: int = 256,
        case_side: int = 512,
        batch_size: int = 4,
        **kwargs: Any,
    ) -> None:
        super().__init__(train, validation, test, batch_size, **kwargs)
        self.patch = patch
        self.case_side = case_side
        self.files = SceneFiles(self.cache, cloud_mask)
        self.used: dict[str, list[tuple[SceneSource | ComposedClouds, Samples]]] = {}

    def setup(self, stage: str) -> None:
        """List and decode what the stage needs, so that what is wrong is told before any work."""
        self.check_batch_size()
        self.used = {name: self._opened(sources) for name, sources in self.sources(stage).items()}
        self._check_dates()
        self._check_places()
        parts = {name: [samples for _, samples in opened] for name, opened in self.used.items()}
        if stage == "fit":
            self.training = TrainingScenes(parts.pop("train"), self.patch, self.seed)
            self.check_epoch(self.images * self.repeats, "patches")
        self.evaluation = EvaluationScenes(parts, self.case_side)

    @property
    def dates(self) -> int:
        """Input images of a sample."""
        return next(samples.dates for opened in self.used.values() for _, samples in opened)

    @property
    def unit(self) -> str:
        """Unit of the values, see `Card`."""
        return self._told("unit")

    @property
    def protocol(self) -> str:
        """How results are told beside those in reflectance: as "new" or "old" Sen2_MTC, or only in "reflectance"."""
        return self._told("protocol")

    @property
    def images(self) -> int:
        """Number of the training scenes."""
        return len(self.training)

    def fingerprint(self) -> dict[str, Any]:
        """Return what identifies the data in use: {part: [layout, licence, scenes, places, digest, by source]}."""
        return {
            name: [
                {
                    "layout": type(source).__name__,
                    "licence": source.licence,
                    "scenes": len(samples.names),
                    "places": len(samples.places),
                    "sha256": digest_of([*samples.names, *sorted(samples.places)]),
                }
                for source, samples in opened
            ]
            for name, opened in self.used.items()
        }

    def _opened(self, sources: Sequence[Any]) -> list[tuple[Any, Samples]]:
        return [(source, self._samples(source)) for source in sources]

    def _samples(self, source: SceneSource | ComposedClouds) -> Samples:
        if isinstance(source, ComposedClouds):
            return source.samples(self.files)
        return SeriesSamples(source.series(self.files.cover), self.files)

    def _told(self, what: str) -> str:
        evaluated = next(iter(self.test_sources.values()))
        told = {getattr(source, what) for source in [*self.train_sources, *evaluated]}
        if len(told) > 1:
            raise UserError(f"data: sources of the {what} {' and '.join(map(repr, sorted(told)))} do not go together.")
        return told.pop()

    def _check_dates(self) -> None:
        wanted = getattr(self.net, "dates", self.dates)
        for name, opened in self.used.items():
            for _, samples in opened:
                if samples.dates != wanted:
                    raise UserError(
                        f"the {name} set has {samples.dates} dates a sample, the network takes {wanted}; set `dates` "
                        "of the layout, or model.net.dates."
                    )

    def _check_places(self) -> None:
        """Refuse a place that is trained on and scored."""
        used = {name: [place for _, each in opened for place in each.places] for name, opened in self.used.items()}
        for name, shared in shared_with_training(used):
            raise UserError(
                f"{len(shared)} places are in the training and the {name} set, such as {shared[0]!r}; split by "
                "place, with `part` or `places` of the layouts."
            )


class TrainingScenes(Dataset[Batch]):
    """Random patches, flipped and turned alike on all dates; sample number n is a pure function of (seed, n).

    Args:
        samples: what they are cut out of.
        patch: side in pixels.
        seed: of every draw.
    """

    def __init__(self, samples: Sequence[Samples], patch: int, seed: int) -> None:
        self.scenes = [(each, index) for each in samples for index in range(len(each.names))]
        self.patch = patch
        self.seed = seed

    def __len__(self) -> int:
        """Return the number of scenes."""
        return len(self.scenes)

    def __getitem__(self, number: int) -> Batch:
        """Return a sample, see `Batch`, without N."""
        generator = np.random.default_rng([self.seed, number])
        samples, index = self.scenes[number % len(self.scenes)]
        return _tensors(Sample(*turned(samples.patch(index, self.patch, generator), generator)))


class EvaluationScenes(Dataset[Batch]):
    """Scenes, or parts of large ones, of one or several named sets.

    Args:
        sets: {set name: samples}.
        side: of the largest part in pixels.
    """

    def __init__(self, sets: dict[str, list[Samples]], side: int) -> None:
        self.cases = [(name, each, case) for name, all_ in sets.items() for each in all_ for case in each.cases(side)]

    def __len__(self) -> int:
        """Return the number of cases in all sets."""
        return len(self.cases)

    def __getitem__(self, index: int) -> Batch:
        """Return a case, see `Batch`, without N."""
        name, samples, case = self.cases[index]
        return {"set": name, "name": case.name, "place": case.place} | _tensors(samples.case(case))


def _tensors(sample: Sample) -> dict[str, Tensor]:
    return {name: torch.from_numpy(array) for name, array in sample._asdict().items()}

"""Images with masks, for training and evaluation of segmentation networks."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from itertools import chain
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from ..core.errors import UserError
from .datasets.balanced_sampling import BalancedSampler
from .datasets.mask_decoding import Decoded
from .datasets.mask_values import MaskCode
from .datasets.masked_files import MaskedFile
from .datasets.masked_images import MaskSource
from .datasets.masked_samples import Entry, EvaluationCases, TrainingMasks, in_cases
from .datasets.sampling import TrainingSampler
from .every_case import every_case
from .loaders import SourceData, digest_of, shared_with_training
from .transforms import MaskAugmentation

logger = logging.getLogger(__name__)

Parts = dict[str, list[list[Entry]]]
"""{name of the set: entries of each of its sources}"""


class SegmentationData(SourceData):
    """Images with masks. The channels and the number of classes are the network's.

    All images and masks are read and held against each other once, before training, and kept decoded; what cannot be
    used is told then. A batch is {"image": float32 (N, C, H, W) in 0..1, "mask": class numbers int64 (N, H, W)}, soft
    masks being float32 (N, 1, H, W) in 0..1; the cases of evaluation are those of `EvaluationCases`, at their own size.

    Args:
        train: training images.
        validation: images scored after every epoch.
        test: {name of the set: images} scored by `test`; empty means the validation images.
        size: (rows, columns) of training images, pixels.
        crop: take random parts of that size; False resizes whole images without regard to their proportions.
        batch_size: images of one step over all processes.
        augment: albumentations transforms that keep the size, applied to image and mask together; none without.
        soft: give masks resized as images are, as shares of the object between 0 and 1; for two classes.
        balance: draw a class first, all equally often, then one of the images that hold it.
        evaluate_by: score each "image", or all of a "group" (the slices of a patient or volume) as one case.
        **kwargs: see `SourceData`.
    """

    cache_name = "segmentation"

    def __init__(
        self,
        train: list[MaskSource],
        validation: list[MaskSource],
        test: dict[str, MaskSource] | None = None,
        size: tuple[int, int] = (256, 256),
        crop: bool = False,
        batch_size: int = 8,
        augment: list[Any] | None = None,
        soft: bool = False,
        balance: bool = False,
        evaluate_by: Literal["image", "group"] = "image",
        **kwargs: Any,
    ) -> None:
        super().__init__(train, validation, test, batch_size, **kwargs)
        self.size = (size[0], size[1])
        self.crop = crop
        self.augmentation = MaskAugmentation(augment or ())
        self.soft = soft
        self.balance = balance
        self.evaluate_by = evaluate_by
        self.facts: dict[str, Any] = {}

    def setup(self, stage: str) -> None:
        """List, read and check what the stage needs, so that what is wrong is told before any work."""
        self._check_options()
        wanted = self.sources(stage)
        parts = {name: self._entries(name, sources) for name, sources in wanted.items()}
        self._check_intensity(wanted)
        self._warn_of_shared(parts)
        self._prepare(parts)
        self.facts = {name: [*map(_facts, wanted[name], parts[name])] for name in wanted}
        if stage == "fit":
            self._set_up_training(parts.pop("train"))
        cases = {name: [case for each in entries for case in self._cases(each)] for name, entries in parts.items()}
        self.evaluation = EvaluationCases(cases)

    def class_counts(self) -> Tensor:
        """Return the pixels of each class in the training masks, int64 (classes,), at the masks' own sizes."""
        return torch.from_numpy(self.counts.sum(axis=0))

    def sampler(self, rank: int, world: int) -> TrainingSampler:
        """Return the order of the images."""
        if not self.balance:
            return super().sampler(rank, world)
        members = [np.flatnonzero(column) for column in self.counts.T]
        return BalancedSampler(members, self.images, self.images * self.repeats, self.seed, rank, world)

    @property
    def images(self) -> int:
        """Number of the training images."""
        return len(self.training.entries)

    def fingerprint(self) -> dict[str, Any]:
        """Return what identifies the data in use: {part: [layout, licence, numbers and a digest, by source]}.

        Names stand in the digest alone, as they may tell who the patients are.
        """
        return self.facts

    def _check_options(self) -> None:
        self.check_batch_size()
        multiple = getattr(self.net, "size_multiple", 1)
        if any(side < 1 or side % multiple for side in self.size):
            raise UserError(
                f"data.size {self.size[0]}, {self.size[1]}: the network takes sides that are multiples of {multiple}."
            )

    def _check_intensity(self, sources: dict[str, list[MaskSource]]) -> None:
        """Refuse to train on values that `infer` would scale in another way."""
        model = self.trainer.lightning_module
        if not hasattr(model, "intensity"):
            return
        for each in (source for members in sources.values() for source in members):
            own, wanted = _plain(getattr(each, "intensity", None)), _plain(model.intensity)
            if own != wanted:
                raise UserError(
                    f"model.intensity is {wanted or 'not given'}, that of the data ({type(each).__name__}) is "
                    f"{own or 'not given'}; give both the same, so that infer scales values as the training did."
                )

    def _entries(self, name: str, sources: Sequence[MaskSource]) -> list[list[Entry]]:
        found = [self._opened(source) for source in sources]
        if not any(found):
            raise UserError(f"the {name} set is empty; give data.{name} images.")
        return found

    def _opened(self, source: MaskSource) -> list[Entry]:
        code = MaskCode(self._classes(), source.values, self.soft)
        channels, intensity = self.net.in_channels, getattr(source, "intensity", None)
        files: dict[Any, MaskedFile] = {}
        entries = []
        for case in source.cases():
            place = (case.image, case.mask, case.axis)
            if place not in files:
                files[place] = MaskedFile(*place, channels, code, intensity, self.cache)
            entries.append(Entry(case, files[place]))
        return entries

    def _prepare(self, parts: Parts) -> None:
        """Read every file that is not in the cache yet.

        Raises:
            UserError: files cannot be used; says how many and which is the first.
        """
        works = [(name, file) for name, sources in parts.items() for each in sources for file in _files(each)]
        every_case(works, lambda work: self._read(*work), self.workers, "images or masks")

    def _read(self, name: str, file: MaskedFile) -> None:
        decoded = Decoded(file)
        file.counts(decoded)
        file.facts(decoded)
        if name == "train":
            file.training(None if self.crop else self.size, decoded)
        else:
            file.whole(decoded)

    def _cases(self, entries: list[Entry]) -> list[tuple[str, list[Entry]]]:
        return in_cases(entries, self.evaluate_by == "group")

    def _set_up_training(self, entries: list[list[Entry]]) -> None:
        kept, counts = [], []
        for source, members in zip(self.train_sources, entries, strict=True):
            skips = getattr(source, "skip_empty", False)
            known = {file: file.counts() for file in _files(members)}
            for entry in members:
                pixels = known[entry.file][entry.slice]
                if not skips or pixels[1:].any():
                    kept.append(entry)
                    counts.append(pixels)
        self.counts = np.array(counts, dtype=np.int64).reshape(-1, self._classes())
        self._check_training(kept)
        self.training = TrainingMasks(kept, self.size, self.crop, self.seed, self.augmentation)

    def _check_training(self, entries: list[Entry]) -> None:
        absent = np.flatnonzero(self.counts.sum(axis=0) == 0)
        if absent.size:
            raise UserError(
                f"no training mask holds the class {self._class_name(int(absent[0]))}; correct the masks or their "
                f"`values`, or give a network of fewer than {self._classes()} classes."
            )
        self.check_epoch(len(entries) * self.repeats, "images")
        for file in _files(entries) if self.crop else ():
            height, width = file.facts().shape[2:]
            if height < self.size[0] or width < self.size[1]:
                raise UserError(
                    f"{file.image}: is {width} x {height} pixels, smaller than a crop of {self.size[1]} x "
                    f"{self.size[0]}; use a smaller data.size, or resize by data.crop false."
                )

    def _class_name(self, number: int) -> str:
        """Return a class's number with the name that the model has for it."""
        names = getattr(self.trainer.lightning_module, "classes", None) or []
        name = ["background", *names][number] if number <= len(names) else ""
        return f"{number} ({name})" if name else str(number)

    def _warn_of_shared(self, parts: Parts) -> None:
        files = {name: {each.case.image.resolve() for each in chain(*entries)} for name, entries in parts.items()}
        for name, shared in shared_with_training(files):
            logger.warning(
                "%d files of the %s set are trained on too, such as %s; its scores say nothing of new images.",
                *(len(shared), name, shared[0]),
            )

    def _classes(self) -> int:
        return max(self.net.num_classes, 2)  # one output tells two classes apart


def _files(entries: Sequence[Entry]) -> list[MaskedFile]:
    """Return the files of entries, each once, in order."""
    return list(dict.fromkeys(entry.file for entry in entries))


def _plain(intensity: dict[str, Any] | None) -> dict[str, Any]:
    return {name: [*value] if isinstance(value, (list, tuple)) else value for name, value in (intensity or {}).items()}


def _facts(source: MaskSource, entries: list[Entry]) -> dict[str, Any]:
    files = [path for file in _files(entries) for path in (file.image, file.mask)]
    return {
        "layout": type(source).__name__,
        "licence": source.licence,
        "images": len(entries),
        "groups": len({entry.case.group for entry in entries}),
        "bytes": sum(path.stat().st_size for path in files),
        "sha256": digest_of(f"{entry.case.group}\t{entry.case.name}" for entry in entries),
    }

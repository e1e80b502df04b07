"""Images with one class each, for training and evaluation of classifiers."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import lightning as L
from torch.utils.data import DataLoader

from ...core.errors import UserError
from ...data.datasets.cache import PixelCache, user_cache
from ...data.datasets.class_sampling import ClassSampler, Sampling
from ...data.datasets.labelled import LabelledImage, LabelledPixels, LabelledSource, TrainingImages, WholeImages
from ...data.datasets.patient_split import split_patients
from ...data.datasets.sampling import ShareSampler
from ...data.image_augmentation import ImageAugmentation

Images = dict[str, list[LabelledImage]]


class ClassificationData(L.LightningDataModule):
    """Labelled images of one size. The channels are the network's, and it must have as many classes as the data.

    All images are read once before training, and what cannot be used is told then.

    Args:
        train: training images.
        validation: images scored after every epoch; None takes a share of the training patients.
        test: {name of the set: images} scored by `test`; None takes `test_share`, or the validation images without it.
        validation_share: share of the patients of `train` that validate where `validation` is None.
        test_share: share of the patients of `train` that are kept for `test`.
        classes: names of the classes in their order; None for the order of the layout, else of the names.
        size: side to which images are resized, pixels, without regard to their proportions.
        batch_size: images of one step over all processes.
        sampling: "natural" takes every image once an epoch; "balanced" draws classes equally often; "rebalanced"
            walks through the largest class and replaces an equal share of each batch by images of every other.
        augment: albumentations transforms that keep the size.
        align_inputs: show MEDUSA's body the augmented image; False shows it the unaugmented one, as COVID-Net does.
        workers: loading processes.
        seed: seed of the order and the augmentation.
        split_seed: another seed gives another split of the patients.
        cache: folder for images at their final size; None means the user's cache folder.
    """

    def __init__(
        self,
        train: list[LabelledSource],
        validation: list[LabelledSource] | None = None,
        test: dict[str, LabelledSource] | None = None,
        validation_share: float = 0.1,
        test_share: float = 0.0,
        classes: list[str] | None = None,
        size: int = 480,
        batch_size: int = 16,
        sampling: Sampling = "natural",
        augment: list[Any] | None = None,
        align_inputs: bool = True,
        workers: int = 2,
        seed: int = 0,
        split_seed: int = 0,
        cache: Path | None = None,
    ) -> None:
        super().__init__()
        for name, share in (("validation_share", validation_share), ("test_share", test_share)):
            if not 0 <= share < 1:
                raise UserError(f"data.{name} {share}: give a share from 0 to below 1.")
        self.train_sources = train
        self.validation_sources = validation
        self.test_sources = test
        self.shares = {"validation": 0.0 if validation is not None else validation_share, "test": test_share}
        self.given_classes = classes
        self.size = size
        self.batch_size = batch_size
        self.sampling = sampling
        self.augmentation = ImageAugmentation(augment or ())
        self.align_inputs = align_inputs
        self.workers = workers
        self.seed = seed
        self.split_seed = split_seed
        self.cache = PixelCache(cache or user_cache() / "medseg")
        self.classes: tuple[str, ...] = ()
        self.used: Images = {}  # what the stage that was set up reads

    def setup(self, stage: str) -> None:
        """List, check and read the images that the stage needs, so that what is wrong is told before any work."""
        world = self.trainer.world_size
        if self.batch_size % world:
            raise UserError(f"data.batch_size {self.batch_size} must be a multiple of the {world} processes.")
        parts = self._parts()
        self.classes = self._classes(parts["train"])
        self._check_network()
        sets = self._sets(parts, stage)
        if stage == "fit":
            self._check_training(parts["train"])
        self.used = ({"train": parts["train"]} if stage == "fit" else {}) | sets
        for name, images in self.used.items():
            self._check_set(name, images)
        self._check_patients()
        opened = {name: self._opened(images) for name, images in self.used.items()}
        self.evaluation = WholeImages({name: opened[name] for name in sets})
        if stage == "fit":
            self.training = TrainingImages(opened["train"], self.seed, self.augmentation, not self.align_inputs)

    @property
    def class_counts(self) -> list[int]:
        """Training images of each class."""
        labels = [image.label for image in self.used.get("train", [])]
        return [labels.count(name) for name in self.classes]

    def train_dataloader(self) -> DataLoader:
        """Return batches of augmented images."""
        trainer = self.trainer
        sampler = ClassSampler(
            self.training.pixels.labels,
            self.sampling,
            self.batch_size,
            self.seed,
            trainer.global_rank,
            trainer.world_size,
        )
        sampler.set_epoch(trainer.current_epoch)  # a resumed run loads its first batches before Lightning does
        return DataLoader(
            self.training,
            batch_size=self.batch_size // trainer.world_size,
            sampler=sampler,
            num_workers=self.workers,
            drop_last=True,
            persistent_workers=self.workers > 0,
        )

    def val_dataloader(self) -> DataLoader:
        """Return batches of images as they are."""
        return self._evaluation_loader()

    def test_dataloader(self) -> DataLoader:
        """Return batches of images as they are."""
        return self._evaluation_loader()

    def predict_dataloader(self) -> DataLoader:
        """Return batches of images as they are."""
        return self._evaluation_loader()

    def fingerprint(self) -> dict[str, Any]:
        """Return what identifies the data in use: licences, and counts and a digest of the images of each part.

        Names stand in the digest alone, as they may tell who the patients are.
        """
        sources = [*self.train_sources, *(self.validation_sources or ()), *(self.test_sources or {}).values()]
        licences = sorted({each.licence for each in sources if each.licence})
        return {"licences": licences, "classes": list(self.classes)} | {
            name: {
                "images": len(images),
                "patients": len({image.person for image in images}),
                "labels": {label: sum(image.label == label for image in images) for label in self.classes},
                "sha256": sha256("\n".join(f"{image.name}\t{image.label}" for image in images).encode()).hexdigest(),
            }
            for name, images in self.used.items()
        }

    def _parts(self) -> Images:
        """Return the training images, and what is kept of them for validation and test."""
        return split_patients(_listed(self.train_sources), self.shares, "train", self.split_seed)

    def _sets(self, parts: Images, stage: str) -> Images:
        """Return the images that the stage scores, by set."""
        given = self.validation_sources
        validation = {"validation": parts["validation"] if given is None else _listed(given)}
        if stage in ("fit", "validate"):
            return validation
        if self.test_sources:
            return {name: source.images() for name, source in self.test_sources.items()}
        return {"test": parts["test"]} if parts["test"] else validation

    def _classes(self, train: Sequence[LabelledImage]) -> tuple[str, ...]:
        fixed = self.given_classes or next((each.classes for each in self.train_sources if each.classes), None)
        return tuple(fixed or sorted({image.label for image in train}))

    def _check_network(self) -> None:
        has = getattr(self._net(), "num_classes", len(self.classes))
        if has != len(self.classes):
            raise UserError(
                f"the network has {has} classes and the data {len(self.classes)} ({', '.join(self.classes)}); "
                f"set model.net.num_classes to {len(self.classes)}, or name the classes by data.classes."
            )

    def _check_training(self, train: Sequence[LabelledImage]) -> None:
        labels = {image.label for image in train}
        if absent := [name for name in self.classes if name not in labels]:
            raise UserError(
                f"no training image is of the class {absent[0]!r}; the classes are {', '.join(self.classes)}. "
                "Correct data.classes or the labels, or add such images."
            )
        count = len(train)
        if self.sampling == "rebalanced":
            count = max(sum(image.label == name for image in train) for name in self.classes)
        if count < self.batch_size:
            raise UserError(
                f"one epoch has {count} images, fewer than data.batch_size {self.batch_size}; make that smaller."
            )

    def _check_set(self, name: str, images: Sequence[LabelledImage]) -> None:
        if not images:
            raise UserError(
                f"the {name} set is empty. Raise data.{name}_share where its patients are taken from the training, "
                f"else give images for it."
            )
        strange = next((image for image in images if image.label not in self.classes), None)
        if strange:
            raise UserError(
                f"the {name} set: {strange.name} is of the class {strange.label!r}, but the classes are "
                f"{', '.join(self.classes)}. Correct the label or data.classes."
            )

    def _check_patients(self) -> None:
        """Refuse a patient that is trained on and scored."""
        known = {image.patient for image in self.used.get("train", []) if image.patient}
        for name, images in self.used.items():
            shared = sorted({image.patient for image in images} & known) if name != "train" else []
            if shared:
                raise UserError(
                    f"{len(shared)} patients are in the training and the {name} set, such as {shared[0]!r}; "
                    "split by patient, or leave out data.validation to have it done."
                )

    def _opened(self, images: list[LabelledImage]) -> LabelledPixels:
        pixels = LabelledPixels(images, self.classes, self.size, getattr(self._net(), "in_channels", 3), self.cache)
        pixels.read_all(self.trainer.global_rank, self.trainer.world_size, self.workers)
        return pixels

    def _net(self) -> Any:
        return self.trainer.lightning_module.net

    def _evaluation_loader(self) -> DataLoader:
        sampler = ShareSampler(len(self.evaluation), self.trainer.global_rank, self.trainer.world_size)
        return DataLoader(
            self.evaluation,
            batch_size=max(self.batch_size // self.trainer.world_size, 1),
            sampler=sampler,
            num_workers=self.workers,
        )


def _listed(sources: Sequence[LabelledSource]) -> list[LabelledImage]:
    return [image for source in sources for image in source.images()]

"""Images with one class each, for training and evaluation of classifiers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch.utils.data import DataLoader

from ...data.datasets.cache import PixelCache, user_cache
from ...data.datasets.class_sampling import ClassSampler, Sampling
from ...data.datasets.labelled import LabelledImage, LabelledPixels, LabelledSource, TrainingImages, WholeImages
from ...data.labelled_data import LabelledData
from ...data.transforms import ImageAugmentation


class ClassificationData(LabelledData):
    """Labelled images of one size. The channels are the network's, and it must have as many classes as the data.

    All images are read once before training, and what cannot be used is told then.

    Args:
        train: training images.
        validation: images scored after every epoch; None takes a share of the training patients.
        test: {name of the set: images} scored by `test`; None takes `test_share`, or the validation images without it.
        size: side to which images are resized, pixels, without regard to their proportions.
        batch_size: images of one step over all processes.
        sampling: "natural" takes every image once an epoch; "balanced" draws classes equally often; "rebalanced"
            walks through the largest class and replaces an equal share of each batch by images of every other.
        augment: albumentations transforms that keep the size.
        align_inputs: show MEDUSA's body the augmented image; False shows it the unaugmented one, as COVID-Net does.
        cache: folder for images at their final size; None means the user's cache folder.
        **kwargs: see `LabelledData`.
    """

    noun = "image"
    collate = None

    def __init__(
        self,
        train: list[LabelledSource],
        validation: list[LabelledSource] | None = None,
        test: dict[str, LabelledSource] | None = None,
        size: int = 480,
        batch_size: int = 16,
        sampling: Sampling = "natural",
        augment: list[Any] | None = None,
        align_inputs: bool = True,
        cache: Path | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(train, validation, test, **kwargs)
        self.size = size
        self.batch_size = batch_size
        self.sampling = sampling
        self.augmentation = ImageAugmentation(augment or ())
        self.align_inputs = align_inputs
        self.cache = PixelCache(cache or user_cache() / "medseg")

    def setup(self, stage: str) -> None:
        """List, check and read the images that the stage needs, so that what is wrong is told before any work."""
        self.check_batch_size()
        super().setup(stage)

    def listed(self, source: LabelledSource) -> list[LabelledImage]:
        """Return the images of a source."""
        return source.images()

    def open_parts(self, sets: Sequence[str]) -> None:
        """Read all images into the cache."""
        opened = {name: self._opened(images) for name, images in self.used.items()}
        self.evaluation = WholeImages({name: opened[name] for name in sets})
        if "train" in opened:
            self.training = TrainingImages(opened["train"], self.seed, self.augmentation, not self.align_inputs)

    def sampler(self, rank: int, world: int) -> ClassSampler:
        """Return the order of the images."""
        return ClassSampler(self.training.pixels.labels, self.sampling, self.batch_size, self.seed, rank, world)

    def check_training(self, train: Sequence[LabelledImage]) -> None:
        """Refuse training images that lack a class or do not fill a batch."""
        super().check_training(train)
        labels = [image.label for image in train]
        count = max(map(labels.count, self.classes)) if self.sampling == "rebalanced" else len(train)
        self.check_epoch(count, "images")

    def _opened(self, images: list[LabelledImage]) -> LabelledPixels:
        pixels = LabelledPixels(images, self.classes, self.size, getattr(self.net, "in_channels", 3), self.cache)
        pixels.read_all(self.trainer.global_rank, self.trainer.world_size, self.workers)
        return pixels

    def evaluation_loader(self) -> DataLoader:
        """Return batches of images as they are."""
        return super().evaluation_loader(max(self.batch_size // self.trainer.world_size, 1), self.workers)

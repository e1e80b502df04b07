"""The 2D sets of MedMNIST with one class for each image."""

import zipfile
from pathlib import Path

import numpy as np

from ...core.errors import UserError
from .labelled import LabelledImage

CLASSES = {"pneumoniamnist": ("normal", "pneumonia"), "breastmnist": ("malignant", "normal, benign")}


class MedMNIST:
    """A file of MedMNIST v2, such as pneumoniamnist.npz.

    Shows: small images of many kinds; PneumoniaMNIST has 5,856 chest X-rays of children, grey, normal or pneumonia.
    Resolution: 28 to 224 pixels. Layout: arrays `<part>_images` (n, H, W) or (n, H, W, 3) and `<part>_labels` (n, 1),
    uint8. Split: given, `train`, `val` and `test`; patients are not named. Licence: CC BY 4.0 (most of the sets).
    Citation: Yang et al., "MedMNIST v2", Scientific Data 2023.

    Args:
        file: the npz file.
        part: "train", "val" or "test".
        classes: names of the classes by their numbers; None for those of the known sets, else the numbers.
        licence: terms of the images, written to the card of what is trained on them.
    """

    def __init__(
        self, file: Path, part: str = "train", classes: list[str] | None = None, licence: str = "CC BY 4.0"
    ) -> None:
        self.file = Path(file)
        self.part = part
        known = next((names for name, names in CLASSES.items() if self.file.name.startswith(name)), ())
        self.classes = tuple(classes or known)
        self.licence = licence

    def images(self) -> list[LabelledImage]:
        """Return the images of the part.

        Raises:
            UserError: the file is missing or damaged, has no such part, or several labels for each image.
        """
        pixels, labels = self._arrays()
        if labels.shape not in ((len(pixels),), (len(pixels), 1)) or pixels.ndim not in (3, 4):
            raise UserError(
                f"{self.file}: {self.part} has images {pixels.shape} and labels {labels.shape}; "
                "2D images with one label each are needed."
            )
        numbers = labels.reshape(-1).astype(int)
        classes = self.classes or tuple(map(str, range(int(numbers.max()) + 1)))
        if numbers.max() >= len(classes):
            raise UserError(f"{self.file}: has the label {numbers.max()}, but only {len(classes)} classes are named.")
        channels_first = pixels[:, None] if pixels.ndim == 3 else pixels.transpose(0, 3, 1, 2)
        return [
            LabelledImage(f"{self.part}_{number:05}", classes[label], self.file, pixels=image)
            for number, (image, label) in enumerate(zip(channels_first, numbers, strict=True))
        ]

    def _arrays(self) -> tuple[np.ndarray, np.ndarray]:
        if not self.file.is_file():
            raise UserError(f"{self.file}: there is no such file. Get it from https://medmnist.com.")
        try:
            with np.load(self.file, allow_pickle=False) as arrays:
                names = [f"{self.part}_{each}" for each in ("images", "labels")]
                if absent := [name for name in names if name not in arrays]:
                    raise UserError(f"{self.file}: has no {absent[0]}, but {', '.join(arrays.files)}.")
                return arrays[names[0]], arrays[names[1]]
        except (ValueError, OSError, zipfile.BadZipFile, AttributeError, TypeError) as error:
            if isinstance(error, UserError):
                raise
            raise UserError(f"{self.file}: is no npz file of MedMNIST, or is damaged ({error}).") from None

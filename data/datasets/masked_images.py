"""Images with masks: where they are and how they are stored."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ...core.errors import UserError
from ...core.weights.card import Card


@dataclass(frozen=True)
class MaskedImage:
    """One image and its mask.

    Attributes:
        name: what reports call it.
        image: the file of the image, or of the volume whose slice it is.
        mask: the file of the mask.
        group: the patient or volume it belongs to.
        axis: axis of the volume's file, (i, j, k) = (0, 1, 2), along which its slices are counted; None for an image.
        slice: its number along that axis, from 0.
    """

    name: str
    image: Path
    mask: Path
    group: str
    axis: int | None = None
    slice: int | None = None


class MaskSource(Protocol):
    """A dataset layout: it lists its images and says how they are stored.

    Attributes:
        licence: terms of the images.
        values: grey value of each class in the masks; None for class numbers, of which two classes may also be written
            as 0 and anything from 128 up.
        intensity: how values become 0..1, as `intensity` of a weights card; None for images, which have a range.
        skip_empty: whether training leaves out images whose mask is all background.
    """

    licence: str
    values: tuple[int, ...] | None
    intensity: dict[str, Any] | None
    skip_empty: bool

    def cases(self) -> list[MaskedImage]:
        """Return the images, those of a group in their order; raises UserError where there are none."""
        ...


def check_intensity(intensity: dict[str, Any] | None) -> None:
    """Refuse what does not make values of 0..1.

    Raises:
        UserError: it is neither a window nor percentiles.
    """
    if intensity is None:
        return
    if set(intensity) - {"window", "percentiles"}:
        raise UserError(
            f"intensity {intensity}: give {{window: [low, high]}} or {{percentiles: [1, 99]}}, which make values of "
            "0..1."
        )
    intensity_card(intensity)


def intensity_card(intensity: dict[str, Any]) -> Card:
    """Return a card that says nothing but this, so that training scales values by the code that `infer` does."""
    return Card(name="training data", app="", network={"class_path": ""}, tile=1, overlap=0, intensity=intensity)

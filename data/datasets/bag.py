"""Bags of feature vectors with one class each: slides as multiple-instance learning sees them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ..io.features import Features, read_features


@dataclass(frozen=True)
class Bag:
    """One bag and its class.

    Attributes:
        name: what reports call it: the slide.
        label: name of its class.
        path: the file that holds its features.
        patient: whose it is; "" where that is not known, and every bag is taken for a patient's only one.
        group: its place in an HDF5 file of many bags; "" where the file is its own.
        features: the features themselves, where the file holds many; None to read the file.
        picture: the slide, or a photograph, on which its tiles lie; None where it is not at hand.
    """

    name: str
    label: str
    path: Path
    patient: str = ""
    group: str = ""
    features: Features | None = None
    picture: Path | None = None

    @property
    def person(self) -> str:
        """The patient, or the bag where the patient is not known."""
        return self.patient or f"bag {self.name}"

    def read(self) -> Features:
        """Return the features; raises UserError where they cannot be read."""
        return self.features if self.features is not None else read_features(self.path, self.group)


class BagSource(Protocol):
    """A dataset layout: it lists its bags and their classes.

    Attributes:
        licence: terms of the data.
        classes: names of the classes in their order; () where the layout does not fix it.
    """

    licence: str
    classes: tuple[str, ...]

    def bags(self) -> list[Bag]:
        """Return the bags in a fixed order; raises UserError where there are none."""
        ...

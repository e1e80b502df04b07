"""What the values of a label map mean: names, colours, and codes by which other programs know them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..errors import UserError

Code = tuple[str, str, str]
"""Coding scheme, value and meaning, such as ("SCT", "40397003", "Hippocampus")."""

TISSUE: Code = ("SCT", "85756007", "Tissue")


@dataclass(frozen=True, kw_only=True)
class Label:
    """One class of a label map.

    Attributes:
        value: the number of its samples in the map, 1..65535; 0 is the background and has no label.
        name: what people call it.
        colour: red, green and blue, each 0..255.
        category: the code of what kind of thing it is (DICOM Segmented Property Category).
        type: the code of what it is (DICOM Segmented Property Type).

    Raises:
        UserError: a field has the wrong type or an impossible value.
    """

    value: int
    name: str
    colour: tuple[int, int, int] = (255, 0, 0)
    category: Code = TISSUE
    type: Code = TISSUE

    def __post_init__(self) -> None:
        if not _is_whole(self.value, 1, 65535):
            raise UserError(f"label value must be a whole number from 1 to 65535, found {self.value!r}")
        if not isinstance(self.name, str) or not self.name:
            raise UserError(f"label {self.value} needs a name")
        if len(self.colour) != 3 or not all(_is_whole(each, 0, 255) for each in self.colour):
            raise UserError(f"label {self.name}: colour must be three numbers from 0 to 255, found {self.colour!r}")
        for code in (self.category, self.type):
            if len(code) != 3 or not all(isinstance(each, str) and each for each in code):
                raise UserError(f"label {self.name}: a code is scheme, value and meaning, found {code!r}")

    @classmethod
    def from_plain(cls, values: dict[str, Any]) -> Label:
        """Make a label of plain values, as JSON and YAML hold them.

        Raises:
            UserError: a field is missing, unknown or wrong.
        """
        try:
            return cls(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})
        except TypeError as error:
            raise UserError(f"label {values!r}: {str(error).partition(' ')[2]}") from None


def _is_whole(value: object, lowest: int, highest: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and lowest <= value <= highest

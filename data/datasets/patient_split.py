"""Splits that never part the images of one patient, and that follow from names and a seed alone."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence

from .labelled import LabelledImage


def split_patients(
    images: Sequence[LabelledImage], shares: Mapping[str, float], rest: str, seed: int = 0
) -> dict[str, list[LabelledImage]]:
    """Deal patients to parts, each class in the same shares.

    A patient counts for the class of most of their images. Of every class with enough patients, each part gets at
    least one.

    Args:
        images: what to split.
        shares: {part: share of the patients, 0..1}.
        rest: the part that gets all others.
        seed: another seed gives another split.
    """
    labels: dict[str, Counter[str]] = {}
    for image in images:
        labels.setdefault(image.person, Counter())[image.label] += 1
    part_of: dict[str, str] = {}
    for label in sorted({image.label for image in images}):
        members = [person for person, found in labels.items() if min(found, key=lambda n: (-found[n], n)) == label]
        members.sort(key=lambda person: place_of(f"{seed}/{person}"))
        start = 0
        for part, share in shares.items():
            count = min(max(round(share * len(members)), 1 if share else 0), max(len(members) - start - 1, 0))
            part_of |= dict.fromkeys(members[start : start + count], part)
            start += count
    parts: dict[str, list[LabelledImage]] = {part: [] for part in (rest, *shares)}
    for image in images:
        parts[part_of.get(image.person, rest)].append(image)
    return parts


def place_of(text: str) -> float:
    """Return a number in 0..1 that follows from a text alone, evenly spread over texts (SHA-256)."""
    return int(hashlib.sha256(text.encode()).hexdigest()[:13], 16) / 16**13

"""Splits that never part the images of one patient, and that follow from names and a seed alone."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol, TypeVar


class Labelled(Protocol):
    """What has a class and belongs to somebody.

    Attributes:
        name: what reports call it.
        label: name of its class.
        patient: whose it is; "" where that is not known.
    """

    name: str
    label: str
    patient: str

    @property
    def person(self) -> str:
        """The patient, or the thing itself where the patient is not known."""
        ...


Item = TypeVar("Item", bound=Labelled)


def split_patients(
    items: Sequence[Item], shares: Mapping[str, float], rest: str, seed: int = 0
) -> dict[str, list[Item]]:
    """Deal patients to parts, each class in the same shares.

    A patient counts for the class of most of their items. Of every class with enough patients, each part gets at
    least one.

    Args:
        items: what to split.
        shares: {part: share of the patients, 0..1}.
        rest: the part that gets all others.
        seed: another seed gives another split.
    """
    part_of: dict[str, str] = {}
    for members in _patients_by_class(items, seed):
        start = 0
        for part, share in shares.items():
            count = min(max(round(share * len(members)), 1 if share else 0), max(len(members) - start - 1, 0))
            part_of |= dict.fromkeys(members[start : start + count], part)
            start += count
    parts: dict[str, list[Item]] = {part: [] for part in (rest, *shares)}
    for item in items:
        parts[part_of.get(item.person, rest)].append(item)
    return parts


def fold_of_patients(items: Sequence[Item], fold: int, folds: int, seed: int = 0) -> tuple[list[Item], list[Item]]:
    """Return what is outside and what is inside one of several folds, which share the patients of each class evenly.

    Args:
        items: what to split.
        fold: number of the fold, from 0.
        folds: how many there are.
        seed: another seed gives other folds.
    """
    people = [person for members in _patients_by_class(items, seed) for person in members]
    inside = set(people[fold::folds])
    return [item for item in items if item.person not in inside], [item for item in items if item.person in inside]


def _patients_by_class(items: Sequence[Item], seed: int) -> Iterator[list[str]]:
    """Yield the patients of each class, in an order that the seed fixes."""
    labels: dict[str, Counter[str]] = {}
    for item in items:
        labels.setdefault(item.person, Counter())[item.label] += 1
    for label in sorted({item.label for item in items}):
        members = [person for person, found in labels.items() if min(found, key=lambda n: (-found[n], n)) == label]
        yield sorted(members, key=lambda person: place_of(f"{seed}/{person}"))


def place_of(text: str) -> float:
    """Return a number in 0..1 that follows from a text alone, evenly spread over texts (SHA-256)."""
    return int(hashlib.sha256(text.encode()).hexdigest()[:13], 16) / 16**13

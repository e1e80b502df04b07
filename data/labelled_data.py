"""Things with one class each, for training and evaluation of classifiers: parts, checks and fingerprint."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from ..core.errors import UserError
from .datasets.patient_split import Labelled, fold_of_patients, split_patients
from .loaders import LoadedData, digest_of, licences_of, shared_with_training

Parts = dict[str, list[Any]]
"""{name of the part: what is in it, see `Labelled`}"""


class LabelledData(LoadedData):
    """The parts of a labelled data set, never parting a patient. A subclass opens what they hold.

    Args:
        train: sources of the training.
        validation: sources scored after every epoch; None takes a share, or a fold, of the training patients.
        test: {name of the set: source} scored by `test`; None takes `test_share`, or the validation part without it.
        validation_share: share of the patients of `train` that validate where `validation` is None.
        test_share: share of the patients of `train` that are kept for `test`.
        classes: names of the classes in their order; None for the order of the source, else of the names.
        split_seed: another seed gives another split of the patients.
        fold: number of the fold of the patients that validates, from 0; None takes `validation_share`.
        folds: how many folds there are.
        workers: loading processes.
        seed: seed of the order and of other draws.
    """

    noun: ClassVar[str]  # what is labelled

    def __init__(
        self,
        train: Sequence[Any],
        validation: Sequence[Any] | None = None,
        test: dict[str, Any] | None = None,
        validation_share: float = 0.1,
        test_share: float = 0.0,
        classes: list[str] | None = None,
        split_seed: int = 0,
        fold: int | None = None,
        folds: int = 5,
        workers: int = 2,
        seed: int = 0,
    ) -> None:
        super().__init__(workers, seed)
        for name, share in (("validation_share", validation_share), ("test_share", test_share)):
            if not 0 <= share < 1:
                raise UserError(f"data.{name} {share}: give a share from 0 to below 1.")
        if fold is not None and not 0 <= fold < folds:
            raise UserError(f"data.fold {fold}: give a number from 0 to {folds - 1}, or other data.folds.")
        if fold is not None and validation is not None:
            raise UserError("data.fold chooses who validates; leave out data.validation, or the fold.")
        self.train_sources = train
        self.validation_sources = validation
        self.test_sources = test
        split = validation is None and fold is None
        self.shares = {"validation": validation_share if split else 0.0, "test": test_share}
        self.given_classes = classes
        self.split_seed = split_seed
        self.fold = fold
        self.folds = folds
        self.classes: tuple[str, ...] = ()
        self.used: Parts = {}  # what the stage that was set up reads

    @abstractmethod
    def listed(self, source: Any) -> list[Any]:
        """Return what a source holds; raises UserError where there is nothing."""

    @abstractmethod
    def open_parts(self, sets: Sequence[str]) -> None:
        """Read and open what is used; `sets` names what the stage scores, and "train" is there for a training.

        Raises:
            UserError: something cannot be read.
        """

    def owner(self, member: Labelled) -> str:
        """Return who must not be in two parts: the patient; "" where not known, as names may come twice."""
        return member.patient

    def setup(self, stage: str) -> None:
        """List, check and read what the stage needs, so that what is wrong is told before any work."""
        parts = self._parts()
        self.classes = self._classes(parts["train"])
        self._check_network()
        sets = self._sets(parts, stage)
        if stage == "fit":
            self.check_training(parts["train"])
        self.used = ({"train": parts["train"]} if stage == "fit" else {}) | sets
        for name, members in self.used.items():
            self._check_set(name, members)
        self._check_patients()
        self.open_parts(list(sets))

    @property
    def class_counts(self) -> list[int]:
        """How many of the training part are of each class."""
        labels = [each.label for each in self.used.get("train", [])]
        return [labels.count(name) for name in self.classes]

    def fingerprint(self) -> dict[str, Any]:
        """Return what identifies the data in use: licences, and counts and a digest of each part.

        Names stand in the digest alone, as they may tell who the patients are.
        """
        licences = licences_of(self.train_sources, self.validation_sources or (), (self.test_sources or {}).values())
        return {"licences": licences, "classes": list(self.classes)} | {
            name: {
                f"{self.noun}s": len(members),
                "patients": len({each.person for each in members}),
                "labels": {label: sum(each.label == label for each in members) for label in self.classes},
                "sha256": digest_of(f"{each.name}\t{each.label}" for each in members),
            }
            for name, members in self.used.items()
        }

    def check_training(self, train: Sequence[Labelled]) -> None:
        """Refuse training data that lack a class.

        Raises:
            UserError: a class is missing.
        """
        labels = {each.label for each in train}
        if absent := [name for name in self.classes if name not in labels]:
            raise UserError(
                f"no training {self.noun} is of the class {absent[0]!r}; the classes are {', '.join(self.classes)}. "
                f"Correct data.classes or the labels, or add such {self.noun}s."
            )

    def _parts(self) -> Parts:
        """Return the training part, and what is kept of it for validation and test."""
        parts = split_patients(self._all(self.train_sources), self.shares, "train", self.split_seed)
        if self.fold is not None:
            outside, inside = fold_of_patients(parts["train"], self.fold, self.folds, self.split_seed)
            parts |= {"train": outside, "validation": inside}
        return parts

    def _sets(self, parts: Parts, stage: str) -> Parts:
        """Return what the stage scores, by set."""
        given = self.validation_sources
        validation = {"validation": parts["validation"] if given is None else self._all(given)}
        if stage in ("fit", "validate"):
            return validation
        if self.test_sources:
            return {name: self.listed(source) for name, source in self.test_sources.items()}
        return {"test": parts["test"]} if parts["test"] else validation

    def _all(self, sources: Sequence[Any]) -> list[Any]:
        return [each for source in sources for each in self.listed(source)]

    def _classes(self, train: Sequence[Labelled]) -> tuple[str, ...]:
        fixed = self.given_classes or next((each.classes for each in self.train_sources if each.classes), None)
        return tuple(fixed or sorted({each.label for each in train}))

    def _check_network(self) -> None:
        has = getattr(self.net, "num_classes", len(self.classes))
        if has != len(self.classes):
            raise UserError(
                f"the network has {has} classes and the data {len(self.classes)} ({', '.join(self.classes)}); "
                f"set model.net.num_classes to {len(self.classes)}, or name the classes by data.classes."
            )

    def _check_set(self, name: str, members: Sequence[Labelled]) -> None:
        if not members:
            raise UserError(
                f"the {name} set is empty. Raise data.{name}_share where its patients are taken from the training, "
                f"else give {self.noun}s for it."
            )
        strange = next((each for each in members if each.label not in self.classes), None)
        if strange:
            raise UserError(
                f"the {name} set: {strange.name} is of the class {strange.label!r}, but the classes are "
                f"{', '.join(self.classes)}. Correct the label or data.classes."
            )

    def _check_patients(self) -> None:
        """Refuse a patient that is trained on and scored."""
        owners = {name: {self.owner(each) for each in members} - {""} for name, members in self.used.items()}
        for name, shared in shared_with_training(owners):
            raise UserError(
                f"{len(shared)} patients are in the training and the {name} set, such as {shared[0]!r}; "
                "split by patient, or leave out data.validation to have it done."
            )

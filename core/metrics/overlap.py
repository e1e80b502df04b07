"""How far two masks overlap. Ratios without a value (0/0) are not-a-number; a protocol says what stands for them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import UserError


@dataclass(frozen=True)
class Counts:
    """Samples of a predicted and a true mask of one class, whole numbers of any size; counts of cases may be added.

    Attributes:
        tp: in both.
        fp: in the prediction alone.
        fn: in the truth alone.
        tn: in neither.
    """

    tp: int
    fp: int
    fn: int
    tn: int

    def __add__(self, other: Counts) -> Counts:
        """Return the counts of both."""
        return Counts(self.tp + other.tp, self.fp + other.fp, self.fn + other.fn, self.tn + other.tn)

    @property
    def predicted(self) -> int:
        """Samples of the prediction."""
        return self.tp + self.fp

    @property
    def true(self) -> int:
        """Samples of the truth."""
        return self.tp + self.fn


def count(prediction: Tensor, truth: Tensor) -> Counts:
    """Count the samples of two masks of one class.

    Args:
        prediction: of any shape, boolean, or 0 and not 0.
        truth: the same shape.

    Raises:
        UserError: the shapes differ.
    """
    if prediction.shape != truth.shape:
        raise UserError(
            f"prediction and truth differ in size: {tuple(prediction.shape)} and {tuple(truth.shape)}; "
            "resample the prediction to the truth's grid."
        )
    p, t = prediction.bool(), truth.bool()
    tp, predicted, true = int((p & t).sum()), int(p.sum()), int(t.sum())
    return Counts(tp, predicted - tp, true - tp, t.numel() - predicted - true + tp)


def pooled(counts: Iterable[Counts]) -> Counts:
    """Return the counts of all cases together, for a global score."""
    return sum(counts, Counts(0, 0, 0, 0))


def dice(counts: Counts) -> float:
    """Return 2 TP / (2 TP + FP + FN); no value where both masks are empty."""
    return _ratio(2 * counts.tp, counts.predicted + counts.true)


def iou(counts: Counts) -> float:
    """Return TP / (TP + FP + FN); no value where both masks are empty."""
    return _ratio(counts.tp, counts.tp + counts.fp + counts.fn)


def sensitivity(counts: Counts) -> float:
    """Return TP / (TP + FN), the recall; no value where the truth is empty."""
    return _ratio(counts.tp, counts.true)


def precision(counts: Counts) -> float:
    """Return TP / (TP + FP), the positive predictive value; no value where the prediction is empty."""
    return _ratio(counts.tp, counts.predicted)


def specificity(counts: Counts) -> float:
    """Return TN / (TN + FP); no value where the truth is everything."""
    return _ratio(counts.tn, counts.tn + counts.fp)


def negative_predictive_value(counts: Counts) -> float:
    """Return TN / (TN + FN); no value where the prediction is everything."""
    return _ratio(counts.tn, counts.tn + counts.fn)


def accuracy(counts: Counts) -> float:
    """Return (TP + TN) / all; no value without samples."""
    return _ratio(counts.tp + counts.tn, counts.tp + counts.fp + counts.fn + counts.tn)


def matthews_correlation(counts: Counts) -> float:
    """Return Matthews' correlation coefficient, -1..1; no value where a mask is empty or everything."""
    tp, fp, fn, tn = counts.tp, counts.fp, counts.fn, counts.tn
    return _ratio(tp * tn - fp * fn, math.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)))


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else math.nan


def as_mask(labels: Tensor, label: int) -> Tensor:
    """Return where a label map has this label."""
    return torch.eq(labels, label)

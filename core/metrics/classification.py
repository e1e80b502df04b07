"""Accuracy of label maps and of classified images.

For label maps, labels are whole numbers 1..N; 0 in the truth means not labelled and is not scored. For images, classes
are whole numbers 0..N-1, and scores are probabilities (cases, N). Confusion matrices have true rows, predicted columns.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import torch
from torch import Tensor

from .interval import Interval, bootstrap


def confusion_matrix(truth: Tensor, prediction: Tensor, num_classes: int) -> Tensor:
    """Count how often each true label was given each predicted label.

    Args:
        truth: true labels of any shape, 0..num_classes, 0 where there is none.
        prediction: predicted labels of the same shape, 1..num_classes wherever the truth is not 0.
        num_classes: N.

    Returns:
        (N, N) int64, rows true, columns predicted. Matrices of several images may be added.

    Raises:
        ValueError: the shapes differ, or a label lies outside its range.
    """
    if truth.shape != prediction.shape:
        raise ValueError(f"labels differ in shape: {tuple(truth.shape)} true, {tuple(prediction.shape)} predicted")
    labelled = truth != 0
    rows, columns = truth[labelled].long() - 1, prediction[labelled].long() - 1
    for name, labels in (("true", rows), ("predicted", columns)):
        if labels.numel() and not 0 <= labels.min() <= labels.max() < num_classes:
            found = f"{labels.min() + 1}..{labels.max() + 1}"
            raise ValueError(f"{name} labels must lie in 1..{num_classes}, not {found}")
    return torch.bincount(rows * num_classes + columns, minlength=num_classes**2).view(num_classes, num_classes)


def class_accuracy(confusion: Tensor) -> Tensor:
    """Return the share of each class found, (N,) float64; almost 0/0, hence 0, for a class that does not occur."""
    counts = confusion.double()
    return counts.diagonal() / (counts.sum(dim=1) + 1e-6)


def overall_accuracy(confusion: Tensor) -> Tensor:
    """Return the share of pixels labelled right, float64."""
    counts = confusion.double()
    return counts.trace() / counts.sum()


def cohen_kappa(confusion: Tensor) -> Tensor:
    """Return Cohen's kappa: 1 for perfect, 0 for chance agreement; not-a-number where chance cannot err.

    1 - sum(observed) / sum(expected) off the diagonal, expected being the outer product of the row and column sums
    over the total. Source: Cohen 1960.
    """
    counts = confusion.double()
    expected = torch.outer(counts.sum(dim=1), counts.sum(dim=0)) / counts.sum()
    return 1 - (counts.sum() - counts.trace()) / (expected.sum() - expected.trace())


def case_confusion(truth: Tensor, prediction: Tensor, num_classes: int) -> Tensor:
    """Count how often each true class was given each predicted class, both 0..N-1, (cases,); (N, N) int64.

    Raises:
        ValueError: the shapes differ, or a class lies outside its range.
    """
    return confusion_matrix(truth.long() + 1, prediction.long() + 1, num_classes)


def sensitivity(confusion: Tensor) -> Tensor:
    """Return the share of each true class that was found (recall), (N,) float64; 0 for a class that does not occur."""
    counts = confusion.double()
    return _share(counts.diagonal(), counts.sum(dim=1))


def positive_predictive_value(confusion: Tensor) -> Tensor:
    """Return the share of each predicted class that was right (precision), (N,) float64; 0 for one never predicted."""
    counts = confusion.double()
    return _share(counts.diagonal(), counts.sum(dim=0))


def specificity(confusion: Tensor) -> Tensor:
    """Return, for each class, the share of cases of other classes not taken for it, (N,) float64; 0 without such."""
    counts = confusion.double()
    others = counts.sum() - counts.sum(dim=1)
    return _share(others - (counts.sum(dim=0) - counts.diagonal()), others)


def balanced_accuracy(confusion: Tensor) -> Tensor:
    """Return the mean sensitivity over the classes that occur, float64; not-a-number without cases."""
    occurs = confusion.sum(dim=1) > 0
    return sensitivity(confusion)[occurs].mean()


def f1_macro(confusion: Tensor) -> Tensor:
    """Return the mean F1 over the classes that occur, in truth or prediction, float64; not-a-number without cases.

    F1 of a class is the harmonic mean of its sensitivity and predictive value. Over all classes together, which is F1
    micro, it is the accuracy where every case has one class.
    """
    counts = confusion.double()
    cases = counts.sum(dim=0) + counts.sum(dim=1)
    return (2 * counts.diagonal() / cases)[cases > 0].mean()


def _share(part: Tensor, whole: Tensor) -> Tensor:
    return torch.where(whole > 0, part / whole.clamp(min=1), 0.0)


def auc(positive: Tensor, scores: Tensor, confidence: float = 0.95) -> Interval:
    """Return the area under the ROC curve with its interval by DeLong's method.

    The area is the chance that a positive case scores above a negative one, ties counting one half. The interval is
    the normal one about it, cut off at 0 and 1; it has no width where the classes are separated perfectly.

    Args:
        positive: whether each case is positive, (cases,) bool.
        scores: higher means more likely positive, (cases,).
        confidence: share of such intervals that cover the true area.

    Returns:
        The area; not-a-number, with no cases counted, where positives or negatives are missing. The ends are
        not-a-number where either has but one case.

    Source: DeLong et al. 1988; ranks as Sun and Xu 2014.
    """
    above, below = scores[positive].double(), scores[~positive].double()
    if not len(above) or not len(below):
        return Interval(float("nan"), float("nan"), float("nan"), 0)
    of_positive, of_negative = _wins(above, below), 1 - _wins(below, above)
    area = of_positive.mean().item()
    if min(len(above), len(below)) < 2:
        return Interval(area, float("nan"), float("nan"), len(scores))
    error = (of_positive.var() / len(above) + of_negative.var() / len(below)).sqrt().item()
    reach = NormalDist().inv_cdf((1 + confidence) / 2) * error
    return Interval(area, max(area - reach, 0.0), min(area + reach, 1.0), len(scores))


def _wins(scores: Tensor, rivals: Tensor) -> Tensor:
    """Return the share of rivals that each score beats, ties counting one half."""
    ordered = rivals.sort().values
    lower, upper = (torch.searchsorted(ordered, scores.contiguous(), right=right) for right in (False, True))
    return (lower + upper).double() / (2 * len(rivals))


def auc_one_vs_rest(truth: Tensor, probabilities: Tensor, confidence: float = 0.95) -> list[Interval]:
    """Return the area under the ROC curve of each class against all others, see `auc`."""
    return [auc(truth == i, probabilities[:, i], confidence) for i in range(probabilities.shape[1])]


def roc_curve(positive: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
    """Return (false positive rate, true positive rate) at every threshold, from (0, 0) to (1, 1), float64.

    Args:
        positive: whether each case is positive, (cases,) bool.
        scores: higher means more likely positive, (cases,).
    """
    order = scores.argsort(descending=True, stable=True)
    ranked = scores[order]
    last_of_ties = torch.cat([ranked[1:] != ranked[:-1], torch.ones(min(len(ranked), 1), dtype=torch.bool)])
    hits = positive[order].double().cumsum(0)[last_of_ties]
    misses = (~positive[order]).double().cumsum(0)[last_of_ties]
    start = torch.zeros(1, dtype=torch.float64)
    return (
        torch.cat([start, misses / (~positive).sum()]),
        torch.cat([start, hits / positive.sum()]),
    )


@dataclass(frozen=True)
class Reliability:
    """How often predictions of a certain confidence are right.

    Attributes:
        edges: of the bins of confidence, (bins + 1,).
        count: cases in each bin, (bins,) int64.
        confidence: their mean confidence, (bins,) float64; not-a-number in an empty bin.
        accuracy: share of them that is right, (bins,) float64; not-a-number in an empty bin.
    """

    edges: Tensor
    count: Tensor
    confidence: Tensor
    accuracy: Tensor

    @property
    def error(self) -> float:
        """Expected calibration error: the mean distance of accuracy and confidence, over the cases."""
        gaps = (self.accuracy - self.confidence).abs().nan_to_num()
        return (gaps * self.count).sum().item() / self.count.sum().item() if self.count.sum() else float("nan")


def reliability(truth: Tensor, probabilities: Tensor, bins: int = 15) -> Reliability:
    """Sort cases into bins of equal width, (low, high], by the probability of their predicted class (Guo et al. 2017).

    Args:
        truth: true classes, (cases,).
        probabilities: (cases, N), rows sum to one.
        bins: how many.
    """
    top, predicted = probabilities.double().max(dim=1)
    edges = torch.linspace(0, 1, bins + 1, dtype=torch.float64)
    place = (torch.searchsorted(edges, top.contiguous()) - 1).clamp(0, bins - 1)
    count = torch.bincount(place, minlength=bins)
    right = (predicted == truth).double()
    sums = [torch.bincount(place, weights=each, minlength=bins) for each in (top, right)]
    confidence, accuracy = (torch.where(count > 0, each / count.clamp(min=1), float("nan")) for each in sums)
    return Reliability(edges, count, confidence, accuracy)


def expected_calibration_error(truth: Tensor, probabilities: Tensor, bins: int = 15) -> float:
    """Return the expected calibration error, 0..1 (Guo et al. 2017, eq. 3); see `reliability`."""
    return reliability(truth, probabilities, bins).error


def classification_scores(
    truth: Tensor, probabilities: Tensor, classes: Sequence[str], groups: Sequence[str] | None = None
) -> dict[str, Interval]:
    """Return every score of a set of classified images, with 95% intervals.

    Areas under the ROC curve have DeLong's interval where each case is a group of its own, the others the bootstrap's
    over groups. Decisions are by the highest probability. The scores of a class bear its name, such as
    "sensitivity_pneumonia"; "auc_macro" is the mean of the areas of the classes.

    Args:
        truth: true classes, (cases,).
        probabilities: (cases, N), rows sum to one.
        classes: names of the N classes.
        groups: of each case, what was sampled independently (its patient); None where every case was.
    """
    truth, probabilities = truth.cpu(), probabilities.double().cpu()
    names = point_scores(truth, probabilities, classes)

    def scores(cases: Tensor) -> Tensor:
        found = point_scores(truth[cases], probabilities[cases], classes)
        return torch.tensor(list(found.values()), dtype=torch.float64)

    found = dict(zip(names, bootstrap(scores, len(truth), groups), strict=True))
    if groups is None or len(set(groups)) == len(truth):
        areas = auc_one_vs_rest(truth, probabilities)
        found |= {f"auc_{name}": area for name, area in zip(classes, areas, strict=True)}
    return found


def point_scores(truth: Tensor, probabilities: Tensor, classes: Sequence[str]) -> dict[str, float]:
    """Return the scores of `classification_scores` without intervals.

    Args:
        truth: true classes, (cases,).
        probabilities: (cases, N), rows sum to one.
        classes: names of the N classes.
    """
    confusion = case_confusion(truth, probabilities.argmax(dim=1), len(classes))
    areas = [area.mean for area in auc_one_vs_rest(truth, probabilities)]
    found = {
        "auc_macro": sum(areas) / len(areas),
        "accuracy": overall_accuracy(confusion).item(),
        "balanced_accuracy": balanced_accuracy(confusion).item(),
        "f1_micro": overall_accuracy(confusion).item(),
        "f1_macro": f1_macro(confusion).item(),
        "ece": expected_calibration_error(truth, probabilities),
    }
    for name, score in (
        ("sensitivity", sensitivity),
        ("specificity", specificity),
        ("ppv", positive_predictive_value),
    ):
        found |= {f"{name}_{each}": value for each, value in zip(classes, score(confusion).tolist(), strict=True)}
    return found | {f"auc_{each}": area for each, area in zip(classes, areas, strict=True)}

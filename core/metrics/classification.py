"""Accuracy of label maps. Labels are whole numbers 1..N; 0 in the truth means not labelled and is not scored."""

import torch
from torch import Tensor


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

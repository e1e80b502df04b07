"""Label accuracies on a table that can be checked by hand."""

import math

import pytest
import torch

from foveal.core.metrics.classification import class_accuracy, cohen_kappa, confusion_matrix, overall_accuracy

TRUTH = torch.tensor([1, 1, 1, 1, 2, 2, 0, 0])
PREDICTION = torch.tensor([1, 1, 1, 2, 2, 1, 2, 9])


def test_counts_leave_unlabelled_pixels_out() -> None:
    assert confusion_matrix(TRUTH, PREDICTION, 2).tolist() == [[3, 1], [1, 1]]


def test_scores_by_hand() -> None:
    confusion = confusion_matrix(TRUTH, PREDICTION, 2)
    assert overall_accuracy(confusion).item() == pytest.approx(4 / 6)
    assert class_accuracy(confusion).tolist() == pytest.approx([0.75, 0.5], abs=1e-6)
    # By chance 4*4/6 + 2*2/6 = 20/6 of 6 would agree.
    assert cohen_kappa(confusion).item() == pytest.approx(1 - 2 / (6 - 20 / 6))


def test_perfect_and_absent_classes() -> None:
    confusion = confusion_matrix(torch.tensor([1, 2, 2]), torch.tensor([1, 2, 2]), 3)
    assert overall_accuracy(confusion).item() == 1
    assert cohen_kappa(confusion).item() == 1
    assert class_accuracy(confusion).tolist() == pytest.approx([1, 1, 0], abs=1e-5)


def test_one_class_alone_has_no_kappa() -> None:
    assert math.isnan(cohen_kappa(confusion_matrix(torch.ones(4), torch.ones(4), 2)).item())


def test_labels_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match=r"predicted labels must lie in 1\.\.2, not 1\.\.3"):
        confusion_matrix(torch.tensor([1, 2]), torch.tensor([1, 3]), 2)
    with pytest.raises(ValueError, match=r"predicted labels must lie in 1\.\.2, not 0\.\.1"):
        confusion_matrix(torch.tensor([1, 2]), torch.tensor([1, 0]), 2)
    with pytest.raises(ValueError, match="shape"):
        confusion_matrix(torch.tensor([1, 2]), torch.tensor([1]), 2)

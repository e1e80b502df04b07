"""Label accuracies on a table that can be checked by hand."""

import math

import pytest
import torch
from torchmetrics.functional.classification import multiclass_auroc, multiclass_f1_score

from foveal.core.metrics.classification import (
    auc,
    balanced_accuracy,
    case_confusion,
    class_accuracy,
    classification_scores,
    cohen_kappa,
    confusion_matrix,
    expected_calibration_error,
    overall_accuracy,
    point_scores,
    positive_predictive_value,
    reliability,
    roc_curve,
    sensitivity,
    specificity,
)
from foveal.core.metrics.interval import bootstrap

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


# Images in classes 0..2: rows true, columns predicted.
TABLE = torch.tensor([[4, 1, 0], [2, 3, 0], [0, 0, 0]])


def test_rates_of_classes_by_hand() -> None:
    assert sensitivity(TABLE).tolist() == pytest.approx([4 / 5, 3 / 5, 0])
    assert positive_predictive_value(TABLE).tolist() == pytest.approx([4 / 6, 3 / 4, 0])
    assert specificity(TABLE).tolist() == pytest.approx([3 / 5, 4 / 5, 1])
    assert balanced_accuracy(TABLE).item() == pytest.approx(0.7)  # of the classes that occur


def test_the_published_medusa_row_follows_from_its_table() -> None:
    table = torch.tensor([[198, 2], [5, 195]])  # COVIDx 8B
    assert overall_accuracy(table).item() == pytest.approx(0.983, abs=0.0006)
    assert sensitivity(table).tolist() == pytest.approx([0.99, 0.975])
    assert positive_predictive_value(table).tolist() == pytest.approx([0.975, 0.99], abs=0.001)


def test_case_confusion_counts_from_zero() -> None:
    assert case_confusion(torch.tensor([0, 0, 1]), torch.tensor([0, 1, 1]), 2).tolist() == [[1, 1], [0, 1]]
    with pytest.raises(ValueError, match="predicted"):
        case_confusion(torch.tensor([0]), torch.tensor([2]), 2)


def test_area_by_hand_with_ties() -> None:
    positive = torch.tensor([True, True, False, False])
    assert auc(positive, torch.tensor([0.9, 0.5, 0.5, 0.1])).mean == pytest.approx((1 + 1 + 0.5 + 1) / 4)
    assert auc(positive, torch.tensor([0.1, 0.2, 0.8, 0.9])).mean == 0
    assert math.isnan(auc(torch.tensor([True, True]), torch.tensor([0.1, 0.2])).mean)
    one = auc(torch.tensor([True, False, False]), torch.tensor([0.9, 0.2, 0.3]))
    assert (one.mean, math.isnan(one.low)) == (1, True)


def scored(cases: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    positive = torch.rand(cases, generator=generator) < 0.4
    return positive, torch.randn(cases, generator=generator) + positive


def test_delongs_interval_is_that_of_the_written_out_formula() -> None:
    positive, scores = scored(40)
    wins = (scores[positive][:, None] > scores[~positive][None]).double()
    m, n = wins.shape
    error = math.sqrt(wins.mean(1).var().item() / m + wins.mean(0).var().item() / n)
    found = auc(positive, scores)
    assert found.mean == pytest.approx(wins.mean().item())
    assert found.high - found.mean == pytest.approx(1.959964 * error, rel=1e-5)
    assert found.mean - found.low == pytest.approx(1.959964 * error, rel=1e-5)


def test_delongs_interval_is_near_the_bootstraps() -> None:
    positive, scores = scored(300)
    found = auc(positive, scores)
    (other,) = bootstrap(lambda cases: torch.tensor([auc(positive[cases], scores[cases]).mean]), 300)
    assert other.mean == pytest.approx(found.mean, rel=1e-6)
    assert other.low == pytest.approx(found.low, abs=0.01)
    assert other.high == pytest.approx(found.high, abs=0.01)


def test_the_curve_encloses_the_area() -> None:
    positive, scores = scored(60)
    scores = (scores * 4).round()  # with ties
    false, true = roc_curve(positive, scores)
    assert (false[0], true[0], false[-1], true[-1]) == (0, 0, 1, 1)
    assert torch.trapezoid(true, false).item() == pytest.approx(auc(positive, scores).mean)


def test_calibration_by_hand() -> None:
    probabilities = torch.tensor([[0.85, 0.15], [0.85, 0.15], [0.45, 0.55], [0.0, 1.0]])
    truth = torch.tensor([0, 1, 1, 1])
    found = reliability(truth, probabilities, bins=10)
    assert found.count.tolist() == [0, 0, 0, 0, 0, 1, 0, 0, 2, 1]
    assert found.accuracy[8].item() == 0.5
    assert found.error == pytest.approx((0.45 + 2 * 0.35 + 0) / 4, abs=1e-6)
    assert expected_calibration_error(truth, probabilities, 10) == found.error


def test_all_scores_of_a_set() -> None:
    truth = torch.tensor([0, 0, 0, 1, 1, 1] * 5)
    right = torch.nn.functional.one_hot(truth, 2) * 0.8 + 0.1
    found = classification_scores(truth, right, ["no", "yes"])
    assert all(found[name].mean == 1 for name in found if name != "ece")
    assert found["ece"].mean == pytest.approx(0.1)
    assert {"auc_yes", "sensitivity_no", "ppv_yes", "specificity_no", "balanced_accuracy"} <= set(found)
    assert found["accuracy"].count == 30
    assert next(iter(found)) == "auc_macro"  # with which a report begins


def test_f1_and_the_mean_area_are_those_of_torchmetrics() -> None:
    generator = torch.Generator().manual_seed(3)
    truth = torch.randint(0, 3, (50,), generator=generator)
    probabilities = torch.rand(50, 4, generator=generator).softmax(1)
    probabilities[:, 3] = 0  # a class that never occurs and is never predicted
    probabilities /= probabilities.sum(1, keepdim=True)
    found = point_scores(truth, probabilities, list("abcd"))
    for average in ("micro", "macro"):
        expected = multiclass_f1_score(probabilities, truth, 4, average=average)
        assert found[f"f1_{average}"] == pytest.approx(expected.item(), abs=1e-6)
    found = point_scores(truth, probabilities[:, :3], list("abc"))
    expected = multiclass_auroc(probabilities[:, :3], truth, 3, average="macro")
    assert found["auc_macro"] == pytest.approx(expected.item(), abs=1e-6)


def test_intervals_are_wider_where_cases_come_in_groups() -> None:
    positive, scores = scored(60)
    truth, probabilities = positive.long(), torch.stack([-scores, scores], 1).softmax(1)
    copies = classification_scores(truth.repeat(4), probabilities.repeat(4, 1), ["no", "yes"])
    groups = [str(i) for i in range(60)] * 4
    grouped = classification_scores(truth.repeat(4), probabilities.repeat(4, 1), ["no", "yes"], groups)
    for name in ("accuracy", "auc_yes"):
        assert grouped[name].mean == pytest.approx(copies[name].mean)
        widths = [each[name].high - each[name].low for each in (grouped, copies)]
        assert widths[0] == pytest.approx(2 * widths[1], rel=0.25)

import math

import pytest
import torch

from foveal.core.errors import UserError
from foveal.core.metrics.segmentation import PROTOCOLS, case_scores, class_scores, segmentation_scores

NAN, INF = math.nan, math.inf
DIAGONAL = math.hypot(4, 6 * 2)
LITS = dict.fromkeys(("dice", "iou", "accuracy", "precision", "recall", "specificity", "npv", "mcc"), 0)
EMPTY = 21 / 24  # of the samples of `pair`


def pair():
    one, other = torch.zeros(4, 6, dtype=torch.bool), torch.zeros(4, 6, dtype=torch.bool)
    one[1, 1:4] = True
    other[1, 2:4] = True
    return one, other


@pytest.mark.parametrize(
    ("protocol", "both_empty", "invented", "missed"),
    [
        (
            "strict",
            {"dice": NAN, "iou": NAN, "hd95": NAN, "assd": NAN, "nsd": NAN},
            *[{"dice": 0, "iou": 0, "hd95": DIAGONAL, "assd": DIAGONAL, "nsd": 0}] * 2,
        ),
        ("synapse2d", {"dice": 0, "hd95": 0}, {"dice": 1, "hd95": 0}, {"dice": 0, "hd95": 0}),
        ("synapse3d", {"dice": 1, "hd95": 0}, {"dice": 0, "hd95": 0}, {"dice": 0, "hd95": 0}),
        ("acdc", {"dice": 1, "hd95": 0}, {"dice": 0, "hd95": 0}, {"dice": 0, "hd95": 0}),
        (
            "lits_mpunet",
            LITS | {"accuracy": 1, "specificity": 1, "npv": 1},
            LITS | {"accuracy": EMPTY, "specificity": EMPTY, "npv": 1},
            LITS | {"accuracy": EMPTY, "specificity": 1, "npv": EMPTY},
        ),
        (
            "lits_challenge",
            {"dice": 1, "assd": NAN, "hd": NAN, "rmsd": NAN},
            *[{"dice": 0, "assd": NAN, "hd": NAN, "rmsd": NAN}] * 2,
        ),
        (
            "monai",
            {"dice": NAN, "iou": NAN, "hd": NAN, "hd95": NAN, "assd": NAN, "nsd": NAN},
            {"dice": NAN, "iou": NAN, "hd": INF, "hd95": NAN, "assd": INF, "nsd": 0},
            {"dice": 0, "iou": 0, "hd": INF, "hd95": NAN, "assd": INF, "nsd": 0},
        ),
    ],
)
def test_empty_masks(protocol, both_empty, invented, missed):
    some, _ = pair()
    none = torch.zeros_like(some)
    for masks, expected in (((none, none), both_empty), ((some, none), invented), ((none, some), missed)):
        found = segmentation_scores(*masks, protocol, spacing=(1, 2))
        assert found == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_protocol_has_the_same_dice_where_both_masks_have_samples(protocol):
    assert segmentation_scores(*pair(), protocol)["dice"] == pytest.approx(0.8)


def test_lits_names_what_its_authors_exchange():
    found = segmentation_scores(*pair(), "lits_mpunet")  # 2 samples in both, 1 invented, 21 in neither
    expected = {"precision": 2 / 3, "recall": 1, "specificity": 21 / 22, "npv": 1, "iou": 2 / 3, "accuracy": 23 / 24}
    assert found == pytest.approx(expected | {"dice": 0.8, "mcc": 42 / math.sqrt(3 * 2 * 22 * 21)})


@pytest.mark.parametrize(("protocol", "expected"), [("strict", 1.6), ("synapse2d", 0.8), ("acdc", 0.8)])
def test_published_distances_count_samples(protocol, expected):
    found = segmentation_scores(*pair(), protocol, spacing=(1, 2))
    assert found["hd95"] == pytest.approx(expected)  # 0, 0, 0, 0 and one sample


def test_other_measures_of_the_challenge():
    found = segmentation_scores(*pair(), "lits_challenge", spacing=(1, 2))
    assert found == pytest.approx({"dice": 0.8, "assd": 2 / 5, "hd": 2, "rmsd": math.sqrt(4 / 5)})


def test_tolerance_is_that_of_the_surface():
    strict = [segmentation_scores(*pair(), "strict", (1, 2), tolerance)["nsd"] for tolerance in (1, 2)]
    assert strict == pytest.approx([4 / 5, 1])


def test_classes_are_scored_one_by_one():
    prediction = torch.tensor([[0, 1, 1, 2], [0, 1, 2, 2]])
    truth = torch.tensor([[0, 1, 1, 1], [0, 1, 2, 2]])
    found = class_scores(prediction, truth, {1: "liver", 2: "tumour", 3: "vessel"})
    assert list(found) == ["liver", "tumour", "vessel"]
    assert found["liver"]["dice"] == pytest.approx(6 / 7)
    assert found["tumour"]["dice"] == pytest.approx(4 / 5)
    assert math.isnan(found["vessel"]["dice"])


def test_mistakes_are_told():
    one, other = pair()
    with pytest.raises(UserError, match="did you mean 'synapse2d'"):
        segmentation_scores(one, other, "synapse2")
    with pytest.raises(UserError, match="differ in size"):
        segmentation_scores(one, other[1:], "lits_mpunet")


def test_a_case_has_the_mean_over_the_classes_that_have_a_value_and_each_class():
    scores = {"a": {"dice": 0.5, "hd95": 3.0}, "b": {"dice": 1.0, "hd95": math.nan}}
    found = case_scores(scores)
    assert list(found) == ["dice", "hd95", "dice_a", "hd95_a", "dice_b", "hd95_b"]
    assert (found["dice"], found["hd95"], found["dice_b"]) == (0.75, 3.0, 1.0)
    assert case_scores({"a": {"dice": 0.5}}) == {"dice": 0.5}
    assert math.isnan(case_scores({"a": {"dice": math.nan}})["dice"])

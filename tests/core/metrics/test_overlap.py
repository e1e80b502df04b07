import math

import pytest
import torch

from foveal.core.errors import UserError
from foveal.core.metrics import overlap
from foveal.core.metrics.overlap import Counts, count, pooled

RATIOS = (
    overlap.dice, overlap.iou, overlap.sensitivity, overlap.precision, overlap.specificity,
    overlap.negative_predictive_value, overlap.accuracy, overlap.matthews_correlation,
)  # fmt: skip
UNDEFINED = None


def masks(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.rand(5, 6, 7, generator=generator) > limit for limit in (0.6, 0.7))


def test_counts_by_hand():
    found = count(torch.tensor([[1, 1, 0, 0, 1]]), torch.tensor([[1, 0, 1, 0, 255]]))
    assert found == Counts(tp=2, fp=1, fn=1, tn=1)
    assert [ratio(found) for ratio in RATIOS] == pytest.approx([2 / 3, 1 / 2, 2 / 3, 2 / 3, 1 / 2, 1 / 2, 3 / 5, 1 / 6])


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        (Counts(0, 0, 0, 9), (UNDEFINED, UNDEFINED, UNDEFINED, UNDEFINED, 1, 1, 1, UNDEFINED)),
        (Counts(0, 3, 0, 6), (0, 0, UNDEFINED, 0, 2 / 3, 1, 2 / 3, UNDEFINED)),
        (Counts(0, 0, 3, 6), (0, 0, 0, UNDEFINED, 1, 2 / 3, 2 / 3, UNDEFINED)),
        (Counts(9, 0, 0, 0), (1, 1, 1, 1, UNDEFINED, UNDEFINED, 1, UNDEFINED)),
    ],
)
def test_empty_and_full_masks(counts, expected):
    for ratio, value in zip(RATIOS, expected, strict=True):
        found = ratio(counts)
        assert math.isnan(found) if value is UNDEFINED else found == pytest.approx(value), ratio.__name__


def test_single_sample():
    one, other = torch.zeros(3, 4), torch.zeros(3, 4)
    one[0, 0] = other[0, 0] = 1
    assert overlap.dice(count(one, other)) == overlap.matthews_correlation(count(one, other)) == 1
    assert overlap.dice(count(one, other.flip(0))) == 0


def test_dice_follows_from_iou():
    found = count(*masks())
    assert overlap.dice(found) == pytest.approx(2 * overlap.iou(found) / (1 + overlap.iou(found)))


def test_matthews_correlation_is_that_of_the_complements_and_of_swapped_masks():
    prediction, truth = masks()
    found = overlap.matthews_correlation(count(prediction, truth))
    assert found == pytest.approx(overlap.matthews_correlation(count(~prediction, ~truth)))
    assert found == pytest.approx(overlap.matthews_correlation(count(truth, prediction)))
    assert overlap.matthews_correlation(count(prediction, ~prediction)) == pytest.approx(-1)


def test_counts_beyond_32_bits_stay_exact():
    many = 10**15
    assert overlap.matthews_correlation(Counts(many, 0, 0, many)) == 1
    assert overlap.dice(Counts(many, 1, 1, 0)) < 1


def test_counts_of_cases_are_pooled():
    cases = [count(*masks(seed)) for seed in range(3)]
    whole = count(*(torch.cat(each) for each in zip(*(masks(seed) for seed in range(3)), strict=True)))
    assert pooled(cases) == whole
    assert pooled([]) == Counts(0, 0, 0, 0)


def test_masks_of_different_sizes_are_refused():
    with pytest.raises(UserError, match="differ in size"):
        count(torch.zeros(3, 4), torch.zeros(4, 3))

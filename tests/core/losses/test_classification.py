import pytest

from foveal.core.losses.classification import balanced_weights


def test_every_class_weighs_the_same_and_the_mean_case_1():
    counts = [30, 10, 5]
    weights = balanced_weights(counts)
    assert (weights[0] * 30, weights[1] * 10) == pytest.approx((15, 15))
    assert sum(weight * count for weight, count in zip(weights.tolist(), counts, strict=True)) == pytest.approx(45)


@pytest.mark.parametrize("counts", [[3, 0], []])
def test_classes_without_cases_are_refused(counts):
    with pytest.raises(ValueError, match="every class needs cases"):
        balanced_weights(counts)

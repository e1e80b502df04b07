"""Properties of the bootstrap interval."""

import math

import numpy as np
import pytest

from foveal.core.metrics.interval import bootstrap_mean


def test_same_seed_same_interval() -> None:
    values = np.random.default_rng(0).normal(30, 2, 25).tolist()
    assert bootstrap_mean(values) == bootstrap_mean(values)
    assert bootstrap_mean(values, seed=1) != bootstrap_mean(values)


def test_interval_is_about_two_standard_errors_to_each_side() -> None:
    values = np.random.default_rng(0).normal(30, 2, 400)
    found = bootstrap_mean(values)
    error = values.std() / 20
    assert found.mean == pytest.approx(values.mean())
    assert found.low == pytest.approx(values.mean() - 1.96 * error, abs=0.2 * error)
    assert found.high == pytest.approx(values.mean() + 1.96 * error, abs=0.2 * error)
    assert bootstrap_mean(values, confidence=0.5).high < found.high


def test_one_case_and_none() -> None:
    one = bootstrap_mean([3.0])
    assert (one.mean, one.low, one.high, one.count) == (3, 3, 3, 1)
    none = bootstrap_mean([])
    assert none.count == 0
    assert math.isnan(none.mean)


def test_not_a_number_is_left_out_and_infinity_is_not() -> None:
    assert bootstrap_mean([1.0, math.nan, 1.0]).count == 2
    infinite = bootstrap_mean([30.0, math.inf])
    assert infinite.mean == infinite.high == math.inf
    assert infinite.low == 30


def test_confidence_must_be_a_share() -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        bootstrap_mean([1.0], confidence=95)


def test_text() -> None:
    assert str(bootstrap_mean([2.0, 2.0])) == "2 [2, 2], n = 2"

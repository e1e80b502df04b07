"""Properties of the bootstrap interval."""

import math

import numpy as np
import pytest
import torch

from foveal.core.metrics.interval import bootstrap, bootstrap_mean


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


def test_the_bootstrap_of_a_mean_is_that_of_any_statistic():
    values = torch.randn(50, generator=torch.Generator().manual_seed(0)).double()
    mean, spread = bootstrap(lambda cases: torch.stack([values[cases].mean(), values[cases].std()]), 50)
    known = bootstrap_mean(values.tolist())
    assert mean.mean == pytest.approx(known.mean)
    assert mean.low == pytest.approx(known.low, abs=0.05)
    assert mean.high == pytest.approx(known.high, abs=0.05)
    assert spread.low < values.std() < spread.high


def test_groups_are_drawn_whole():
    seen = []

    def statistic(cases):
        seen.append(sorted(cases.tolist()))
        return torch.zeros(1)

    bootstrap(statistic, 4, ["a", "b", "a", "b"], resamples=20)
    assert seen[0] == [0, 1, 2, 3]
    assert sorted(seen[1:]) == [[0, 0, 2, 2], [0, 1, 2, 3], [1, 1, 3, 3]], "each once"


def test_no_cases_have_no_statistics():
    (none,) = bootstrap(lambda cases: torch.tensor([math.nan]), 0)
    assert none.count == 0
    assert math.isnan(none.mean)

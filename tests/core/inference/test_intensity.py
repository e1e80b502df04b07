import numpy as np
import pytest

from foveal.core.errors import UserError
from foveal.core.inference import intensity
from foveal.core.inference.engine import Engine
from foveal.core.inference.intensity import with_intensity
from foveal.tests.fixtures.programs import identity

VALUES = np.random.default_rng(0).normal([[[[100.0]]], [[[-3.0]]]], [[[[40.0]]], [[[0.5]]]], (2, 9, 12, 7))
VALUES = VALUES.astype(np.float32)


class Field:
    geometry, spatial, shape = None, 3, VALUES.shape

    def read(self, window):
        return VALUES[:, *window]

    def is_empty(self, window):
        return False


def scaled(**facts):
    card = identity(channels=("t1", "t2"), dimensions=3, **facts).card
    return with_intensity(Field(), card).read((slice(0, 9), slice(0, 12), slice(0, 7)))


@pytest.fixture(autouse=True)
def small_strips(monkeypatch):
    monkeypatch.setattr(intensity, "STRIP", 300)


def test_nothing_is_done_where_nothing_is_asked_for():
    assert np.array_equal(scaled(), VALUES)


def test_a_window_is_mapped_to_the_value_range_and_cut_off():
    expected = ((VALUES.astype(float) - 20) / 160).clip(0, 1) * 2 - 1
    assert np.allclose(scaled(intensity={"window": [20, 180]}, value_range=(-1.0, 1.0)), expected, atol=1e-6)


def test_each_channel_is_standardised_over_the_whole_volume():
    result = scaled(intensity={"zscore": True}).astype(float)
    assert np.allclose(result.mean(axis=(1, 2, 3)), 0, atol=1e-5)
    assert np.allclose(result.std(axis=(1, 2, 3)), 1, atol=1e-5)


def test_zeros_may_be_left_out_and_stay_zero(monkeypatch):
    holed = np.where(np.random.default_rng(1).random(VALUES.shape) < 0.4, 0, VALUES)
    monkeypatch.setattr(Field, "read", lambda self, window: holed[:, *window])
    result = scaled(intensity={"zscore": "nonzero"}).astype(float)
    assert (result[holed == 0] == 0).all()
    for values, found in zip(holed.astype(float), result, strict=True):
        brain = values[values != 0]
        assert np.allclose(found[values != 0], (brain - brain.mean()) / brain.std(), atol=1e-5)


def test_percentiles_are_those_of_each_channel_of_the_whole_volume():
    low, high = np.percentile(VALUES.astype(float), [2, 98], axis=(1, 2, 3), keepdims=True)
    expected = ((VALUES - low) / (high - low)).clip(0, 1)
    assert np.abs(scaled(intensity={"percentiles": [2, 98]}) - expected).max() < 5e-3


def test_a_constant_channel_stays_finite(monkeypatch):
    monkeypatch.setattr(Field, "read", lambda self, window: np.ones_like(VALUES[:, *window]))
    for each in ({"zscore": True}, {"zscore": "nonzero"}, {"percentiles": [1, 99]}):
        assert np.isfinite(scaled(intensity=each)).all()


@pytest.mark.parametrize(
    "wrong",
    [{"window": [5, 1]}, {"zscore": False}, {"zscore": "some"}, {"zscore": True, "window": [0, 1]}, {"other": 1}],
)
def test_a_card_with_another_intensity_is_refused(wrong):
    with pytest.raises(UserError, match="intensity must be"):
        identity(intensity=wrong)


def test_a_volume_of_zeros_stays_one(monkeypatch):
    monkeypatch.setattr(Field, "read", lambda self, window: np.zeros_like(VALUES[:, *window]))
    assert not scaled(intensity={"zscore": "nonzero"}).any()


def test_the_engine_computes_on_scaled_values():
    program = identity(channels=("t1", "t2"), dimensions=3, intensity={"zscore": True})
    assert np.allclose(Engine(program, program.card).array(VALUES), scaled(intensity={"zscore": True}), atol=1e-5)

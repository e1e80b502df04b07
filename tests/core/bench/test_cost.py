import math
import os

import pytest
import torch
from torch import nn

from foveal.core.attention.dense import SelfAttention
from foveal.core.bench.cost import Cost, count, measure, measured_apart, sides
from foveal.core.bench.mixers import short_name

TINY = {"dimension": 2, "size": 8, "dim": 8, "heads": 2, "device": "cpu"}


class Picky(nn.Module):
    """Refuses large maps.

    Args:
        dim: channels.
    """

    def __init__(self, dim):
        super().__init__()
        self.linear = nn.Linear(dim, dim)

    def forward(self, x):
        if x.shape[1] > 8:
            raise RuntimeError("too large\nfor me")
        return self.linear(x)


class Deadly(nn.Module):
    """Ends its process."""

    def __init__(self, dim):
        super().__init__()
        os.kill(os.getpid(), 9)


def test_the_sides_keep_what_divides_the_size():
    assert sides(56) == [28, 42, 56, 70]


@pytest.mark.parametrize("power", [1, 2])
def test_growth_is_the_power_of_the_tokens(power):
    tokens = [4, 9, 16, 25]
    assert Cost("", tokens, forward=[1e-3 * n**power for n in tokens]).growth == pytest.approx(power)
    assert Cost("", tokens, forward=[1e-3, None, 1e-3, 1e-3]).growth is None


def test_multiply_adds_of_self_attention_are_those_of_its_formula():
    weights, adds, uncounted = count(SelfAttention(8, 2), torch.randn(1, 5, 5, 8))
    assert weights == 8 * 24 + 24 + 8 * 8 + 8
    assert adds == 25 * 8 * 24 + 2 * 25 * 25 * 8 + 25 * 8 * 8
    assert uncounted == []


def test_transforms_and_products_of_vectors_are_noted():
    class Transform(nn.Module):
        def forward(self, x):
            return torch.fft.irfft2(torch.fft.rfft2(x)) * torch.mv(x[0, 0], x[0, 0, 0])[0]

    assert count(Transform(), torch.randn(1, 1, 4, 4))[2] == ["fft_c2r", "fft_r2c", "mv"]


@pytest.mark.parametrize(("dimension", "name"), [(2, "window"), (3, "large_kernel")])
def test_everything_of_a_mixer_is_measured(dimension, name):
    found = measure(name, dimension, 4, 8, 2, "cpu")
    assert found.tokens == [2**dimension, 3**dimension, 4**dimension, 5**dimension]
    assert found.parameters > 0
    assert found.multiply_adds > 0
    assert all(seconds > 0 for seconds in (*found.forward, found.step))
    assert math.isfinite(found.growth)
    assert found.notes == []


def test_one_size_that_cannot_run_does_not_stop_the_others():
    found = measure(f"{__name__}.Picky", **TINY)
    assert [seconds is not None for seconds in found.forward] == [True, True, True, False]
    assert found.growth is None
    assert found.step is not None
    assert found.notes == ["forward at 10: too large"]


def test_what_cannot_be_built_says_so_once():
    found = measure("gate", **TINY)
    assert (found.step, found.forward) == (None, [None] * 4)
    assert found.notes == ["cannot run: needs gate_dim, which a comparison of mixers of one map does not know"]


@pytest.mark.slow
def test_a_process_that_is_killed_is_a_note(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", __file__.rpartition("/")[0])
    found = measured_apart(f"{__name__}.Deadly", **TINY)
    assert found.notes == ["was killed, as where the memory is full"]
    assert short_name(Deadly) == found.name == "Deadly"


def test_times_are_by_the_clock_of_the_benchmarks(monkeypatch):
    ticks = iter(range(1000))
    monkeypatch.setattr("foveal.core.bench.measure.CLOCK", lambda: next(ticks))
    assert set(measure("dense", **TINY).forward) == {1}

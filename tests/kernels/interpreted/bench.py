from dataclasses import replace

import pytest

from foveal.kernels.bench.__main__ import Told, check_operation
from foveal.kernels.bench.cases import TABLE, channel, dynamic, position
from foveal.kernels.bench.check import check, check_compiled
from foveal.kernels.bench.floors import Work


@pytest.mark.parametrize("precision", ["float32", "float16"])
@pytest.mark.parametrize("case", [channel(1, 20, 2, 3), dynamic(1, 4, 5, 1, 2, 3), position(1, 9, 3, 5)])
def test_kernels_pass_where_they_are_right(case, precision):
    assert check(case, precision, "cpu", 0, True) == ""


def test_what_is_wrong_is_told():
    case = channel(1, 20, 2, 3)
    numbers = iter(range(100))
    wrong = replace(case, call=lambda *operands: case.call(*operands) * (1 + 1e-3 * (next(numbers) > 0)))
    assert "output is off by 1.0e-03, over 1.0e-05; gradient 1 is off" in _twice_the_same(wrong)
    assert check(replace(case, operation="group_attention"), "float32", "cpu", 0) == "has no kernel"


def _twice_the_same(case):
    return check(case, "float32", "cpu", 0)


def test_runs_that_differ_are_told():
    case, numbers = channel(1, 20, 2, 3), iter(range(100))
    drifting = replace(case, call=lambda *operands: case.call(*operands) + next(numbers))
    assert "two runs differ" in check(drifting, "float32", "cpu", 0)


def test_an_operation_is_checked_at_random_sizes_and_a_failure_does_not_stop_the_rest(monkeypatch, capsys):
    def broken(*operands):
        raise ValueError("this one\nis broken")

    told, right = Told(), channel(1, 20, 1, 3)
    drawn = iter([replace(right, call=broken, forward=Work(1), size="of some size"), right])
    monkeypatch.setitem(TABLE, "channel_attention", TABLE["channel_attention"]._replace(odd=lambda _: next(drawn)))
    assert not check_operation("channel_attention", "cpu", told, 2, ["float32"])
    assert told.failures == ["channel_attention of some size, float32: ValueError: this one"]
    assert "failed: channel_attention of some size" in capsys.readouterr().out


def test_compiled_kernels_are_checked():
    assert check_compiled(channel(1, 20, 2, 3), "float32", "cpu", "aot_eager") == ""

import pytest

from foveal.core.errors import UserError
from foveal.data.datasets.volume_case import VolumeCase
from foveal.data.every_case import every_case

CASES = [VolumeCase(name, (), None, name) for name in "abcd"]


def test_results_come_in_the_order_of_the_cases_and_each_is_made_once():
    calls = []

    def name(case):
        calls.append(case.name)
        return case.name.upper()

    assert every_case([*CASES, CASES[1]], name, workers=1, first=2) == ["A", "B", "C", "D", "B"]
    assert calls == ["c", "d", "b", "a"]


def test_all_problems_are_counted_and_the_first_of_the_list_is_told():
    def fail(case):
        if case.name in "bd":
            raise UserError(f"{case.name} is bad")

    with pytest.raises(UserError, match=r"^2 of 4 cases cannot be used; the first: b is bad$"):
        every_case(CASES, fail, workers=3, first=3)
    with pytest.raises(UserError, match=r"^b is bad$"):
        every_case(CASES[:2], fail, workers=2)


def test_what_takes_long_is_told(capsys, monkeypatch):
    monkeypatch.setattr("foveal.core.inference.progress.INTERVAL", -1)
    every_case(CASES, str, workers=1, told="reading")
    assert "reading: 4 of 4 cases" in capsys.readouterr().err
    every_case(CASES, str, workers=1)
    assert capsys.readouterr().err == ""

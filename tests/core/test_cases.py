import csv
import math

import pytest

from foveal.core.cases import gathered, means, write_cases
from foveal.core.metrics_table import read_rows
from foveal.tests.fixtures.encoding import open_as_ascii

CASES = [{"set": "b", "name": "y", "psnr": 30.0}, {"set": "a", "name": "z", "psnr": 20.0}]


def test_cases_of_one_process_are_put_in_order():
    assert [case["set"] for case in gathered(CASES)] == ["a", "b"]


def test_means_are_over_numbers_only():
    assert means(CASES) == {"psnr": 25.0}
    assert means([]) == {}


def test_a_case_without_a_value_is_left_out_of_the_mean():
    assert means([*CASES, {"set": "c", "name": "x", "psnr": math.nan}]) == {"psnr": 25.0}
    assert math.isnan(means([{"name": "x", "psnr": math.nan}])["psnr"])


def test_the_table_has_a_line_per_case(tmp_path):
    write_cases(tmp_path / "cases.csv", CASES)
    with open(tmp_path / "cases.csv") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == ["y", "z"]
    assert math.isclose(float(rows[1]["psnr"]), 20)


def test_names_are_kept_where_text_is_not_utf_8(tmp_path, monkeypatch):
    open_as_ascii(monkeypatch)
    write_cases(tmp_path / "cases.csv", [{"name": "Größe", "psnr": 30.0}])
    assert read_rows(tmp_path / "cases.csv") == (["name", "psnr"], [{"name": "Größe", "psnr": "30.0"}])


def test_a_failed_table_leaves_nothing(tmp_path):
    with pytest.raises(ValueError, match="extra"):
        write_cases(tmp_path / "cases.csv", [CASES[0], {"extra": 1}])
    assert list(tmp_path.iterdir()) == []

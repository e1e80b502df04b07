"""The metrics table: rows, new columns, and going on where a checkpoint left it."""

from pathlib import Path

import pytest

from foveal.core.metrics_table import MetricsTable, read_rows
from foveal.tests.fixtures.encoding import open_as_ascii


def log(table: MetricsTable, *steps: int, name: str = "loss") -> None:
    for step in steps:
        table.log_metrics({name: step / 10}, step)
        table.save()


def test_every_saved_row_is_in_the_file(tmp_path: Path) -> None:
    table = MetricsTable(tmp_path)
    log(table, 0, 1)
    log(table, 1, name="psnr")
    assert (tmp_path / "metrics.csv").read_text().split() == ["loss,psnr,step", "0.0,,0", "0.1,,1", ",0.1,1"]
    assert table.rows == 3


def test_names_are_kept_where_text_is_not_utf_8(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    open_as_ascii(monkeypatch)
    log(MetricsTable(tmp_path), 0, 1, name="dice_Größe")
    assert (tmp_path / "metrics.csv").read_text("utf-8").split() == ["dice_Größe,step", "0.0,0", "0.1,1"]
    assert read_rows(tmp_path / "metrics.csv")[0] == ["dice_Größe", "step"]


def test_another_session_continues_the_file(tmp_path: Path) -> None:
    log(MetricsTable(tmp_path), 0, 1)
    log(MetricsTable(tmp_path), 2, name="psnr")
    assert [row["step"] for row in read_rows(tmp_path / "metrics.csv")[1]] == ["0", "1", "2"]


def test_rows_after_a_checkpoint_are_dropped_and_logged_again(tmp_path: Path) -> None:
    whole, resumed = MetricsTable(tmp_path / "whole"), MetricsTable(tmp_path / "resumed")
    log(whole, 0, 1, 2, 3)
    log(resumed, 0, 1, 2)
    with open(resumed.path, "a") as file:
        file.write("0.3")  # the kill came in the middle of a row
    resumed = MetricsTable(tmp_path / "resumed")
    resumed.rewind(2)
    log(resumed, 2, 3)
    assert resumed.path.read_bytes() == whole.path.read_bytes()
    assert resumed.rows == 4


def test_beginning_again_leaves_nothing(tmp_path: Path) -> None:
    table = MetricsTable(tmp_path)
    log(table, 0, 1, name="old")
    table.rewind(0)
    assert not table.path.exists()
    log(table, 0)
    assert table.path.read_text().split() == ["loss,step", "0.0,0"]

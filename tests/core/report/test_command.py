"""`foveal report`, and the report at the end of a training."""

from pathlib import Path

import pytest

from foveal.core.cli import main
from foveal.core.report import command
from foveal.tests.fixtures.run_folder import made_run
from foveal.tests.fixtures.training import run


def test_a_run_folder_is_enough(tmp_path: Path, capsys: pytest.CaptureFixture):
    folder = made_run(tmp_path / "light")
    assert main(["report", str(folder)]) == 0
    assert capsys.readouterr().err == f"report in {folder}/report.html\n"
    first = (folder / "report.html").read_bytes()
    assert main(["report", "--run", str(folder), "--output", str(tmp_path / "seen.html")]) == 0
    assert (tmp_path / "seen.html").read_bytes() == first


def test_a_mistake_is_told_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture):
    assert main(["report", str(tmp_path / "nothing")]) == 2
    assert capsys.readouterr().err.startswith(f"error: {tmp_path}/nothing: is no run folder")
    assert main(["report"]) == 2


def test_the_commands_write_it_at_their_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    run("fit", "--trainer.max_epochs", "1")
    assert "TinyNet" in Path("runs/superres/tiny/report.html").read_text()
    assert 'id="test"' not in Path("runs/superres/tiny/report.html").read_text()
    run("test", "--ckpt_path", "best")
    assert 'id="test"' in Path("runs/superres/tiny/report.html").read_text()
    assert len(list(Path("runs/superres/tiny/showcase_test").iterdir())) == 3


def test_a_report_that_fails_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "page", lambda run: 1 / 0)
    run("fit", "--trainer.max_epochs", "1")
    assert "warning: no report of runs/superres/tiny: division by zero\n" in capsys.readouterr().err
    assert Path("runs/superres/tiny/best.ckpt").is_file()

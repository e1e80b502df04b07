"""The command `foveal bench attention`."""

import pytest

from foveal.core.bench import attention as command
from foveal.core.bench.cost import measure
from foveal.core.cli import main


@pytest.fixture
def here(monkeypatch):
    """Measure in this process, which is quick."""
    monkeypatch.setattr(command, "measured_apart", measure)


def test_the_help_fits_a_screen(capsys):
    assert main(["bench", "attention", "--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) < 50
    assert max(map(len, lines)) <= 100


@pytest.mark.parametrize("words", [[], ["--help"]])
def test_bench_alone_says_what_there_is(words, capsys):
    assert main(["bench", *words]) == 0
    assert "\n  attention  " in capsys.readouterr().out


@pytest.mark.usefixtures("here")
def test_mixers_are_measured_printed_and_written(tmp_path, capsys):
    options = ["--mixers", "window", "large_kernel", "--size", "4", "--dim", "8", "--heads", "2", "--device", "cpu"]
    assert main(["bench", "attention", *options, "--output", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr()
    assert printed.out == (tmp_path / "out/table.md").read_text()
    assert "4x4 tokens, 8 channels, 2 heads; " in printed.out
    assert printed.err.splitlines() == ["1/2 window", "2/2 large_kernel"]
    assert (tmp_path / "out/time.png").is_file()


@pytest.mark.usefixtures("here")
def test_what_cannot_run_is_listed_and_counts_as_failed(capsys):
    assert main(["bench", "attention", "--mixers", "dynamic", "dense", "--size", "4", "--dim", "8", "--dimension", "3"])
    told = capsys.readouterr().out
    assert "- dynamic: cannot run: " in told
    assert "| dense | " in told


def test_a_mixer_is_measured_in_a_process_of_its_own(capsys):
    assert main(["bench", "attention", "--mixers", "dense", "--size", "4", "--dim", "8", "--device", "cpu"]) == 0
    assert "| dense | " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--mixers", "windw"], "did you mean 'window'?"),
        (["--size", "3"], "at least 4"),
        (["--size", "0"], "--size 0: give at least 4"),
        (["--heads", "0"], "at least 1"),
        (["--dimension", "4"], "dimension"),
        (["--device", "abacus"], "no such kind of device"),
    ],
)
def test_mistakes_are_told_before_anything_is_measured(options, words, capsys):
    assert main(["bench", "attention", *options]) == 2
    assert words in capsys.readouterr().err


def test_an_unknown_measurement_is_told(capsys):
    assert main(["bench", "atention"]) == 2
    assert "did you mean 'attention'?" in capsys.readouterr().err

import pytest

from foveal.core.inference import progress
from foveal.core.inference.progress import Reporter


@pytest.fixture
def clock(monkeypatch):
    """A clock that a test sets."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_a_log_gets_a_line_now_and_then_with_the_rate_since_the_work_went_on(clock, capsys):
    with Reporter(3, unit="tiles") as reporter:
        reporter.start("slide.svs")
        for second in range(13):
            clock[0] = 100 + second
            reporter.progress(500 + 20 * second, 1000)
    assert capsys.readouterr().err == "[1/3] slide.svs: 720 of 1000 tiles, 20/s\n"


def test_the_rate_begins_anew_with_each_input(clock, capsys):
    with Reporter(2) as reporter:
        for name in ("a", "b"):
            reporter.start(name)
            reporter.progress(0, 8)
            clock[0] += 11
            reporter.progress(4, 8)
    assert capsys.readouterr().err == "[1/2] a: 4 of 8 tiles, 0.364/s\n[2/2] b: 4 of 8 tiles, 0.364/s\n"


def test_quiet_says_nothing(clock, capsys):
    with Reporter(1, quiet=True) as reporter:
        reporter.start("a")
        clock[0] += 11
        reporter.progress(1, 2)
    assert capsys.readouterr() == ("", "")

"""The three tables of every app: their command line, what they record, and some rows at their smallest."""

import runpy
import sys
from importlib import import_module

import pytest

from foveal.tests.fixtures.datasets_2d import merged

APPS = ("cloudremoval", "medseg", "polyp", "superres", "udc", "volseg", "wsi")
PAGE = "# Results\n\n## Thing: limits, 2020-01-01\n\nold\n\n| a |\n\n## Last, 2020-01-01\n\n| z |\n"


def command(monkeypatch, script, *words):
    monkeypatch.setattr(sys, "argv", [str(script), *words])
    return runpy.run_path(str(script), run_name="__main__")


@pytest.fixture
def page(monkeypatch, tmp_path):
    """A page of results that no test changes for others."""
    import measure

    path = tmp_path / "RESULTS.md"
    path.write_text(PAGE)
    monkeypatch.setattr(measure, "RESULTS", path)
    return path


@pytest.mark.parametrize("app", APPS)
def test_help_names_the_tables_and_their_rows(app, monkeypatch, capsys, folder):
    with pytest.raises(SystemExit) as stopped:
        command(monkeypatch, folder / f"{app}.py", "--help")
    out = capsys.readouterr().out
    assert stopped.value.code == 0
    assert f"python benchmarks/{app}.py quality|speed|limits" in out
    assert [line.split(":")[0].strip() for line in out.splitlines()[-3:]] == ["quality", "speed", "limits"]
    assert "float32, bfloat16, float16, smallest, large" in out


@pytest.mark.parametrize("words", [[], ["quick"], ["limits", "largest"]])
def test_what_there_is_not_is_refused(words, monkeypatch, capsys, folder):
    with pytest.raises(SystemExit) as stopped:
        command(monkeypatch, folder / "udc.py", *words)
    assert stopped.value.code == 2
    assert "limits" in capsys.readouterr().err


@pytest.mark.parametrize("app", ["udc", "wsi"])
def test_a_row_of_limits_is_measured(app, monkeypatch, capsys, folder, page):
    import limits

    made = runpy.run_path(str(folder / f"{app}.py"))
    table = limits.limits_table("none", "Thing", made["LIMITS"], "Not for this.")
    monkeypatch.setattr(limits, "in_fresh_process", lambda script, *words: table.measured(*words))
    what, extent, seconds, _, megabytes, difference = table.compared("smallest").strip("|").split("|")
    assert "`infer`" in what
    assert extent.strip() == {"udc": "2 x 2 pixels", "wsi": "1 tiles of 1,024 features"}[app]
    assert float(seconds) > 0
    assert float(megabytes) > 100
    assert not difference.strip()


def test_a_table_takes_the_place_of_the_older_one(page, capsys):
    import measure

    measure.record("Thing: limits", ["| b |"])
    text = page.read_text()
    assert "old" not in text
    assert text.index("| b |") < text.index("## Last")
    assert text.count("## Thing") == 1


def test_rows_alone_join_a_table_of_the_same_day_and_machine(page, capsys):
    import measure

    head = ["| what | ms |", "| --- | --- |"]
    measure.record("Thing: limits", [*head, "| one | 1 |", "| two | 2 |", "", "Note."])
    measure.record_part("Thing: limits", head, ["| two | 3 |", "| three | 4 |"], ["", "Note."])
    assert "| --- | --- |\n| one | 1 |\n| two | 3 |\n| three | 4 |\n\nNote.\n\n## Last" in page.read_text()


def test_several_columns_may_tell_rows_apart(page, capsys):
    import measure

    head = ["| set | method | score |", "| --- | --- | --- |"]
    measure.record("Thing: limits", [*head, "| one | ours | 1 |", "| one | theirs | 2 |"])
    measure.record_part("Thing: limits", head, ["| one | ours | 3 |", "| one | theirs | 4 |"], [], named=2)
    assert "| --- | --- | --- |\n| one | ours | 3 |\n| one | theirs | 4 |\n\n## Last" in page.read_text()


def test_rows_alone_do_not_join_a_table_of_another_day(page, capsys):
    import measure

    measure.record_part("Thing: limits", ["| a |", "| --- |"], ["| b |"], [])
    assert page.read_text() == PAGE
    assert "measure them all" in capsys.readouterr().err


CASES = "set,name,psnr,bicubic_psnr\nkodak,a,30,20\nkodak,b,32,22\nother,c,1,1\n"


def test_a_training_is_scored_for_every_set_and_method(monkeypatch):
    import quality

    asked = []

    def foveal(folder, *words):
        asked.append(words)
        (folder / "runs/app/x").mkdir(parents=True, exist_ok=True)
        (folder / "runs/app/x/cases_test.csv").write_text(CASES)

    monkeypatch.setattr(quality, "foveal", foveal)
    methods, scores = {"ours": "", "bicubic": "bicubic_"}, [quality.Score("psnr", "dB", 1)] * 2
    run = quality.Run("superres", "quick", {"kodak": "Kodak"}, methods, scores)
    assert list(quality.run_lines(run)) == [
        "| Kodak | 2 | ours | dB 31.0 [30.0, 32.0] | dB 31.0 |",
        "| Kodak | 2 | bicubic | dB 21.0 [20.0, 22.0] | dB 21.0 |",
    ]
    assert [words[1] for words in asked] == ["fit", "test"]
    assert list(quality.run_lines(run._replace(checkpoint="tiny"))) != []
    assert [words[1] for words in asked] == ["fit", "test", "test"]
    with pytest.raises(ValueError, match=r"quick: was tested on \['kodak', 'other'\], not on gone"):
        list(quality.run_lines(run._replace(held_out={"gone": "Gone"})))


@pytest.mark.parametrize("app", ["cloudremoval", "medseg", "polyp", "superres", "volseg"])
def test_what_is_scored_is_what_the_config_tests_on(app):
    for run in import_module(app).QUALITY.values():
        tested = merged(f"configs/{app}/{run.config}.yaml")["data"]["init_args"].get("test")
        assert set(run.held_out) <= set(tested or ["validation"]), run.config

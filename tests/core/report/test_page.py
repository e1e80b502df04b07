"""The page: what it says, what it leaves out, how large it may be."""

import json
import re
from functools import partial
from pathlib import Path

import pytest
import yaml

from foveal.core.cases import write_cases
from foveal.core.report import page as page_module
from foveal.core.report.page import LARGEST, page
from foveal.core.report.read import read_run
from foveal.core.report.showcase import Showcase, write_showcase
from foveal.tests.fixtures.run_folder import MANIFEST, made_cases, made_exhibit, made_run

EVIL = "<script>alert('&\"')</script>"


def written(folder: Path) -> str:
    return page(read_run(folder))


def test_it_tells_what_was_run_and_found(tmp_path: Path):
    text = written(made_run(tmp_path / "light", ("slider", "overlay", "classes", "columns")))
    for each in ("DLGSANet", "light.yaml", "02 January 2026", "0123456789ab", "1,234,567", "case 0", "bicubic"):
        assert each in text
    assert text.count('class="badge"') == 6
    assert "rank 1 of 7" in text


def test_metrics_have_their_units(tmp_path: Path):
    folder = made_run(tmp_path / "light")
    (folder / "manifest.json").write_text(json.dumps(MANIFEST | {"units": {"psnr": "dB"}}))
    text = written(folder)
    for each in (
        '<th scope="row">psnr (dB)</th>',
        "bicubic psnr (dB)</button>",
        '<span class="title">psnr (dB)</span>',
    ):
        assert each in text
    assert "ssim (" not in text


@pytest.mark.parametrize(("area", "begins"), [("0.875", "0.8750"), ("nan", "0.6250")])
def test_it_begins_with_the_first_score_that_has_a_value(tmp_path: Path, area: str, begins: str):
    folder = made_run(tmp_path / "light")
    (folder / "manifest.json").write_text(json.dumps(MANIFEST | {"monitor": "val/auc_plus_f1", "monitor_mode": "max"}))
    scores = f"set,metric,value,low,high,cases\nown,auc_macro,{area},{area},{area},7\nown,accuracy,0.625,0.5,0.75,7\n"
    (folder / "scores_test.csv").write_text(scores)
    assert re.search(r'class="headline">\s*<strong>([\d.]+)<', written(folder))[1] == begins


def test_nothing_is_fetched(tmp_path: Path):
    text = written(made_run(tmp_path / "light"))
    assert not re.search(r"""(src|href)\s*=\s*["']?(?!data:)[a-z/.]""", text)
    assert "url(" not in text
    assert "//" not in re.sub(r"data:image[^\"]*", "", text)


def test_names_cannot_become_markup(tmp_path: Path):
    folder = made_run(tmp_path / "light")
    (folder / "manifest.json").write_text(json.dumps(MANIFEST | {"command": EVIL, "data": {EVIL: [{EVIL: EVIL}]}}))
    (folder / "config.yaml").write_text(yaml.safe_dump({"model": {"class_path": f"x.apps.y{EVIL}.z"}}))
    write_cases(
        folder / "cases_test.csv", [{"set": EVIL, "name": EVIL, EVIL: 1.0}, {"set": "b", "name": "c", EVIL: 2.0}]
    )
    facts = next(folder.glob("showcase_test/*/exhibit.json"))
    content = json.loads(facts.read_text())
    pictures = dict(zip((EVIL, "network"), content["pictures"].values(), strict=False))
    facts.write_text(
        json.dumps(
            content | {"name": EVIL, "metric": EVIL, "pictures": pictures, "facts": {"before": EVIL, "after": EVIL}}
        )
    )
    write_cases(folder / "metrics.csv", [{"step": 1, f"val/{EVIL}": 1.0, f"train/{EVIL}": 2.0}])
    text = written(folder)
    assert text.count("<script") == 1
    assert "alert(" in text
    assert "alert('" not in text


def test_what_is_missing_is_told_with_the_command_that_adds_it(tmp_path: Path):
    folder = made_run(tmp_path / "light")
    for name in ("cases_test.csv", "manifest_test.json"):
        (folder / name).unlink()
    text = written(folder)
    assert f"foveal superres test --config {folder}/config.yaml --ckpt_path best" in text
    (folder / "metrics.csv").unlink()
    (folder / "cases_val.csv").unlink()
    text = written(folder)
    assert "foveal superres test" not in text
    assert 'id="training"' not in text


def test_a_kind_that_is_not_known_is_shown_as_columns(tmp_path: Path):
    folder = made_run(tmp_path / "light")
    for path in folder.glob("showcase_*/*/exhibit.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"kind": "../../report"}))
    assert "case-columns" in written(folder)


def test_large_pictures_are_made_smaller_until_the_page_is_small_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = made_run(tmp_path / "light", side=128)
    whole = len(written(folder))
    monkeypatch.setattr(page_module, "LARGEST", whole // 2)
    text = written(folder)
    assert len(text.encode()) <= whole // 2
    assert text.count("data:image") == 18
    without = page_module._rendered(read_run(folder), [], 1.0)
    monkeypatch.setattr(page_module, "LARGEST", len(without.encode()))
    assert written(folder) == without
    assert "would make this page too large" in without


def test_long_tables_are_cut_and_say_so(tmp_path: Path):
    folder = made_run(tmp_path / "light")
    write_cases(folder / "cases_test.csv", made_cases(20_000))
    text = written(folder)
    assert len(text.encode()) <= LARGEST
    assert "7500 of 20000" in text
    assert "<td>20</td>" in text  # the worst is among them


@pytest.mark.parametrize(("mode", "worst", "best"), [("max", 2, 6), ("min", 6, 2)])
def test_a_table_that_is_cut_keeps_the_worst_and_what_has_no_score_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str, worst: int, best: int
):
    scores = [4.0, float("nan"), 2.0, 6.0]
    folder = made_run(tmp_path / "light")
    write_cases(folder / "cases_test.csv", [{"name": f"case {i}", "nll": score} for i, score in enumerate(scores)])
    showcase = Showcase("nll", mode)
    for case in made_cases(2):
        showcase.offer(case | {"nll": case["psnr"]}, partial(made_exhibit, "slider", 24, 0))
    for stage in ("val", "test"):
        write_showcase(folder / f"showcase_{stage}", showcase.chosen())
    run = read_run(folder)
    monkeypatch.setattr(page_module, "MOST_CELLS", 2 * 3)
    rows = page_module.listed(run.stages["test"], run.ranking, run.ranking_mode)
    assert [row["nll"] for row in rows] == [worst, 4, best]

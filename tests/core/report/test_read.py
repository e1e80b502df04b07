"""Reading a run folder."""

import json
from pathlib import Path

import pytest

from foveal.core.cases import write_cases
from foveal.core.errors import UserError
from foveal.core.report.page import page
from foveal.core.report.read import facts_of, read_run
from foveal.core.results import OURS, results
from foveal.tests.fixtures.run_folder import made_cases, made_run


def test_a_run_is_read_whole(tmp_path: Path):
    run = read_run(made_run(tmp_path / "light"))
    assert (run.app, run.network, run.monitor) == ("superres", "DLGSANet", "psnr")
    assert [each.command for each in run.sessions] == ["fit", "test"]
    assert list(run.stages) == ["test", "val"]
    assert [each.facts["place"] for each in run.stages["test"].shown] == ["best", "median", "worst"]
    assert len(run.curves) == 40
    facts = facts_of(run.sessions[0])
    assert (facts["config"], facts["took"], facts["commit"]) == ("light.yaml", "1 h 05 min", "0123456789ab")
    assert facts["parameters"] == "1,234,567"


def test_the_intervals_are_those_that_the_commands_print(tmp_path: Path):
    run = read_run(made_run(tmp_path / "light"))
    assert run.stages["val"].results == results(made_cases(7))


def test_cases_of_one_place_are_drawn_together(tmp_path: Path):
    folder = made_run(tmp_path / "light")
    cases = [{"set": "s", "name": str(i), "place": "ab"[i // 3], "psnr": float(i // 3)} for i in range(6)]
    write_cases(folder / "cases_val.csv", cases)
    stage = read_run(folder).stages["val"]
    assert stage.results == results(cases, by="place")
    assert stage.cases[2]["name"] == "2"


def test_scores_of_all_cases_together_win_over_means(tmp_path: Path):
    folder = made_run(tmp_path / "light")
    scores = [{"set": "s", "metric": "auc", "value": 0.5, "low": 0.25, "high": 0.75, "cases": 7}]
    write_cases(folder / "scores_test.csv", scores)
    (found,) = read_run(folder).stages["test"].results
    assert (found.metric, found.cases, found.methods[OURS].low) == ("auc", 7, 0.25)


def test_probabilities_are_no_metrics(tmp_path: Path):
    folder = made_run(tmp_path / "light")
    write_cases(folder / "cases_val.csv", [{"set": "s", "name": "a", "probability_ill": "0.25", "nll": 1.0}])
    stage = read_run(folder).stages["val"]
    assert [each.metric for each in stage.results] == ["nll"]
    assert stage.cases[0]["probability_ill"] == 0.25


def test_the_ranking_of_cases_is_told_apart_from_what_chooses_the_checkpoint(tmp_path: Path):
    folder = made_run(tmp_path / "light")
    told = json.loads((folder / "manifest.json").read_text())
    told |= {"monitor": "val/auc_plus_f1", "monitor_mode": "max", "command": "foveal fit --config /home/me/light.yaml"}
    (folder / "manifest.json").write_text(json.dumps(told))
    run = read_run(folder)
    assert (run.monitor, run.ranking) == ("auc_plus_f1", "psnr")
    facts = facts_of(run.sessions[0])
    assert (facts["best.ckpt"], facts["config"]) == ("highest val/auc plus f1", "light.yaml")
    text = page(run)
    assert "Best, median and worst by psnr" in text
    assert "A case by itself has no auc plus f1, which chooses <code>best.ckpt</code>; so cases are ranked by" in text


def test_a_run_that_no_validation_measured_has_no_best_checkpoint(tmp_path: Path):
    folder = made_run(tmp_path / "light")
    told = json.loads((folder / "manifest.json").read_text()) | {"monitor": "val/psnr_b", "monitor_mode": "max"}
    (folder / "manifest.json").write_text(json.dumps(told))
    for name in ("manifest_test.json", "cases_test.csv", "cases_val.csv"):
        (folder / name).unlink()
    (folder / "last.ckpt").touch()
    run = read_run(folder)
    assert facts_of(run.sessions[0])["best.ckpt"] == "none, no validation gave val/psnr b"
    assert f"foveal superres test --config {folder}/config.yaml --ckpt_path last" in page(run)
    (folder / "best.ckpt").touch()
    run = read_run(folder)
    assert facts_of(run.sessions[0])["best.ckpt"] == "highest val/psnr b"
    assert f"foveal superres test --config {folder}/config.yaml --ckpt_path best" in page(run)


def test_what_is_missing_is_absent(tmp_path: Path):
    (tmp_path / "manifest_test.json").write_text(json.dumps({"command": "foveal superres test", "start": None}))
    run = read_run(tmp_path)
    assert (run.stages, run.curves, run.monitor) == ({}, [], None)
    assert facts_of(run.sessions[0]) == {}


def test_another_folder_is_refused(tmp_path: Path):
    with pytest.raises(UserError, match=r"is no run folder, it has no manifest\.json"):
        read_run(tmp_path)
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(UserError, match=r"manifest\.json: is damaged"):
        read_run(tmp_path)
    (tmp_path / "manifest.json").write_text("{}")
    (tmp_path / "config.yaml").write_text("model: {")
    with pytest.raises(UserError, match="its merged config is damaged"):
        read_run(tmp_path)

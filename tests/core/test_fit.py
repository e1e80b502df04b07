"""The training commands: configs in layers, run folders, one-line mistakes, calm output, several processes."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from lightning.pytorch.utilities.exceptions import SIGTERMException

from foveal.core.catalogue import ROOT
from foveal.core.errors import UserError
from foveal.tests.fixtures.tiny_task import TinyData, TinyNet, TinyTask
from foveal.tests.fixtures.training import CONFIG, equal, fit, run, state


@pytest.fixture(autouse=True)
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(name: str, content: dict) -> str:
    Path(name).write_text(yaml.safe_dump(content))
    return name


def command(*words: str, launcher: tuple[str, ...] = ()) -> subprocess.CompletedProcess:
    """Run a command of the app in a process of its own."""
    line = [sys.executable, *launcher, "-m", "foveal.apps.superres", *words]
    return subprocess.run(line, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True)


def test_a_run_leaves_its_folder() -> None:
    run("fit")
    run("fit", "--trainer.max_epochs", "1")
    names = "best.ckpt cases_val.csv config.yaml curves.png last.ckpt manifest.json metrics.csv report.html samples.png"
    names += " showcase_val tensorboard"
    for folder in ("runs/superres/tiny", "runs/superres/tiny-2"):
        assert sorted(each.name for each in Path(folder).iterdir()) == names.split()


def test_later_layers_and_options_win_and_the_merged_config_is_kept() -> None:
    more = write("more.yaml", {"trainer": {"max_epochs": 2}, "data": {"init_args": {"length": 8, "batch_size": 2}}})
    run("fit", "--config", more, "--data.init_args.batch_size", "4")
    kept = yaml.safe_load(Path("runs/superres/tiny/config.yaml").read_text())
    assert kept["trainer"]["max_epochs"] == 2
    assert kept["data"]["init_args"] == {"batch_size": 4, "length": 8, "workers": 0, "cases": 5}
    assert state(Path("runs/superres/tiny/last.ckpt"))["global_step"] == 4


def test_the_same_command_gives_the_same_result_and_another_seed_another() -> None:
    for options in ([], [], ["--seed_everything", "1"]):
        run("fit", "--trainer.max_epochs", "1", *options)
    first, second, third = (state(Path(f"runs/superres/{name}/last.ckpt")) for name in ("tiny", "tiny-2", "tiny-3"))
    assert equal(first, second)
    assert not equal(first["state_dict"], third["state_dict"])


def test_the_config_of_a_run_repeats_it_and_finds_its_checkpoints() -> None:
    run("fit", "--trainer.max_epochs", "1")
    from foveal.core.fit import main

    kept = ["--config", "runs/superres/tiny/config.yaml"]
    assert main("superres", "fit", kept) == 0
    assert equal(state(Path("runs/superres/tiny/last.ckpt")), state(Path("runs/superres/tiny-2/last.ckpt")))
    assert main("superres", "test", [*kept, "--ckpt_path", "best"]) == 0
    assert Path("runs/superres/tiny/cases_test.csv").is_file()


def test_the_card_tells_how_the_network_was_built() -> None:
    run("fit", "--trainer.max_epochs", "1", "--model.init_args.net.init_args.width", "6")
    card = json.loads(torch.load("runs/superres/tiny/last.ckpt", weights_only=True)["card"])
    built = {"class_path": "foveal.tests.fixtures.tiny_task.TinyNet", "init_args": {"width": 6, "dropout": 0.2}}
    assert card["network"] == built


def test_any_logger_stands_beside_the_metrics_table() -> None:
    logger = {"class_path": "lightning.pytorch.loggers.CSVLogger", "init_args": {"save_dir": "elsewhere"}}
    run("fit", "--config", write("logger.yaml", {"trainer": {"logger": logger}}))
    assert Path("runs/superres/tiny/metrics.csv").is_file()
    assert Path("elsewhere/lightning_logs/version_0/metrics.csv").is_file()
    assert not Path("runs/superres/tiny/tensorboard").exists()


def test_no_logger_leaves_the_metrics_table_alone() -> None:
    run("fit", "--trainer.logger", "false", "--trainer.max_epochs", "1")
    assert Path("runs/superres/tiny/metrics.csv").is_file()
    assert not Path("runs/superres/tiny/tensorboard").exists()


def test_cases_of_the_check_before_a_training_are_no_results() -> None:
    run("fit", "--trainer.max_epochs", "1", "--trainer.check_val_every_n_epoch", "2")
    card = json.loads(torch.load("runs/superres/tiny/last.ckpt", weights_only=True)["card"])
    assert card["metrics"] == {}
    run("fit", "--trainer.max_epochs", "1")
    card = json.loads(torch.load("runs/superres/tiny-2/last.ckpt", weights_only=True)["card"])
    assert card["metrics"].keys() == {"error", "zero_error"}


def test_test_prints_a_table_and_writes_cases(capsys: pytest.CaptureFixture) -> None:
    run("fit", "--trainer.max_epochs", "1")
    capsys.readouterr()
    run("test", "--ckpt_path", "best")
    head, line = capsys.readouterr().out.splitlines()
    assert head.split() == ["set", "cases", "metric", "ours", "zero"]
    assert line.split()[:3] == ["tiny", "5", "error"]
    assert len(Path("runs/superres/tiny/cases_test.csv").read_text().splitlines()) == 6


def test_evaluating_leaves_the_training_as_it_was() -> None:
    run("fit", "--trainer.max_epochs", "1")
    names = ("config.yaml", "manifest.json", "metrics.csv", "last.ckpt")
    before = [Path("runs/superres/tiny", name).read_bytes() for name in names]
    run("test", "--ckpt_path", "last")
    run("validate", "--ckpt_path", "last")
    assert [Path("runs/superres/tiny", name).read_bytes() for name in names] == before
    assert {"config_test.yaml", "manifest_validate.json"} < {each.name for each in Path("runs/superres/tiny").iterdir()}
    run("test")  # without a checkpoint: the network as the config builds it, in a folder that is no training
    assert Path("runs/superres/tiny-test/cases_test.csv").is_file()


def test_predictions_are_saved_case_by_case() -> None:
    run("fit", "--trainer.max_epochs", "1")
    run("predict", "--ckpt_path", "last")
    files = sorted(Path("runs/superres/tiny/predictions").iterdir())
    assert [each.name for each in files] == [f"{number:06}-0.npy" for number in range(5)]
    assert np.load(files[0]).shape == (1,)


def test_last_begins_a_training_and_continues_it(capsys: pytest.CaptureFixture) -> None:
    run("fit", "--trainer.max_epochs", "1", "--ckpt_path", "last")
    run("fit", "--trainer.max_epochs", "2", "--ckpt_path", "last")
    said = capsys.readouterr().err
    assert "TinyNet with 17 weights into runs/superres/tiny\n" in said
    assert "TinyNet with 17 weights into runs/superres/tiny, continuing runs/superres/tiny/last.ckpt\n" in said
    assert [each.name for each in Path("runs/superres").iterdir()] == ["tiny"]


def test_fit_from_the_best_begins_a_new_folder() -> None:
    run("fit", "--trainer.max_epochs", "2")
    run("fit", "--trainer.max_epochs", "3", "--ckpt_path", "best")
    assert state(Path("runs/superres/tiny/last.ckpt"))["epoch"] == 2
    assert state(Path("runs/superres/tiny-2/last.ckpt"))["epoch"] == 3


def test_a_moved_run_still_knows_its_best(monkeypatch: pytest.MonkeyPatch) -> None:
    run("fit", "--trainer.max_epochs", "2")
    Path("runs/superres").rename("moved")
    best = Path("moved/tiny/best.ckpt").read_bytes()
    evaluate = TinyTask.evaluate

    def worse(self: TinyTask, batch: object) -> tuple[dict, list]:
        case, pictures = evaluate(self, batch)
        return case | {"error": 100.0}, pictures

    monkeypatch.setattr(TinyTask, "evaluate", worse)
    fit(Path("moved/tiny"), "--trainer.max_epochs", "3", "--ckpt_path", "last")
    assert Path("moved/tiny/best.ckpt").read_bytes() == best
    fit(Path("elsewhere"), "--trainer.max_epochs", "3", "--ckpt_path", "moved/tiny/best.ckpt")
    assert Path("elsewhere/best.ckpt").is_file()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--trainer.max_epoch", "3"], "unknown option --trainer.max_epoch; did you mean '--trainer.max_epochs'?"),
        (
            ["--model.init_args.net.init_args.widht", "3"],
            "unknown key 'widht' in model.net (TinyNet); did you mean 'width'?",
        ),
        (
            ["--ckpt_path", "gone.ckpt"],
            "--ckpt_path gone.ckpt: there is no such file. Give last, best or a checkpoint.",
        ),
        (
            ["--ckpt_path", "best"],
            "--ckpt_path best: there is no best.ckpt in any run folder runs/superres/tiny. Run fit, or give a file.",
        ),
    ],
)
def test_mistakes_are_told_in_one_line_and_leave_no_folder(options: list[str], told: str) -> None:
    with pytest.raises(UserError) as error:
        run("fit", *options)
    assert str(error.value) == told
    assert not Path("runs").exists()


def test_a_wrong_key_is_told_with_its_file() -> None:
    wrong = write("wrong.yaml", {"data": {"init_args": {"lenght": 8}}})
    with pytest.raises(
        UserError, match=r"^wrong\.yaml: unknown key 'lenght' in data \(TinyData\); did you mean 'length'\?"
    ):
        run("fit", "--config", wrong)


class Refusing(TinyNet):
    def __init__(self, width: int = 4) -> None:
        raise ValueError(f"width {width} must be a multiple of 3")


def test_what_a_network_or_the_data_refuses_is_told_and_leaves_no_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    def setup(self: TinyData, stage: str) -> None:
        raise UserError("datasets/sums is not a folder")

    with pytest.raises(UserError, match=r"^width 4 must be a multiple of 3$"):
        run("fit", "--model.init_args.net", f"{__name__}.Refusing")
    monkeypatch.setattr(TinyData, "setup", setup)
    with pytest.raises(UserError, match=r"^datasets/sums is not a folder$"):
        run("fit")
    assert not list(Path("runs").glob("*/*"))


def test_a_run_is_not_overwritten() -> None:
    fit(Path("here"), "--trainer.max_epochs", "1")
    with pytest.raises(UserError, match=r"^--output here: holds a run\. Continue it with --ckpt_path last"):
        fit(Path("here"))


def test_checkpoint_of_another_network_is_refused() -> None:
    run("fit", "--trainer.max_epochs", "1")
    with pytest.raises(UserError, match=r"holds TinyNet\(width=4, .*but the config builds TinyNet\(width=5"):
        run("test", "--ckpt_path", "last", "--model.init_args.net.init_args.width", "5")


@pytest.mark.parametrize(
    ("option", "value", "told"),
    [
        ("--trainer.limit_train_batches", "1.5", "limit_train_batches"),
        ("--trainer.devices", "many", "^trainer: `devices` selected with `CPUAccelerator` should be an int > 0"),
        ("--trainer.strategy", "dpp", "^trainer: You selected an invalid strategy name"),
    ],
)
def test_what_the_trainer_refuses_is_told_in_one_line_and_leaves_no_folder(option: str, value: str, told: str) -> None:
    with pytest.raises(UserError, match=told) as error:
        run("fit", option, value)
    assert "\n" not in str(error.value)
    assert not list(Path("runs").glob("*/*"))


@pytest.mark.parametrize(
    ("raised", "left_by"),
    [(KeyboardInterrupt(), KeyboardInterrupt), (SIGTERMException(), SystemExit)],
    ids=["int", "term"],
)
def test_an_interrupted_training_tells_how_to_go_on(
    raised: BaseException, left_by: type, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def stop(self: TinyTask, batch: object, index: int) -> None:
        if self.trainer.current_epoch == 1:
            raise raised

    monkeypatch.setattr(TinyTask, "on_train_batch_start", stop)
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # Lightning would ignore Ctrl-C from here on
    with pytest.raises(left_by) as leaving:
        run("fit")
    assert getattr(leaving.value, "code", 143) == 143
    assert "stopped; the same command with --ckpt_path last continues runs/superres/tiny" in capsys.readouterr().err
    assert state(Path("runs/superres/tiny/last.ckpt"))["epoch"] == 1
    assert json.loads(Path("runs/superres/tiny/manifest.json").read_text())["end"] is None


def test_the_deterministic_overlay_trains(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    try:
        run("fit", "--config", str(ROOT / "configs/trainer/deterministic.yaml"), "--trainer.max_epochs", "1")
    finally:
        torch.use_deterministic_algorithms(False)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a graphics card")
def test_the_gpu_overlay_trains_and_resumes_to_the_last_bit() -> None:
    overlay = ["--config", str(ROOT / "configs/trainer/gpu.yaml")]
    for precision in ("bf16-mixed", "16-mixed"):
        options = [*overlay, "--trainer.precision", precision]
        fit(Path(precision, "whole"), *options)
        fit(Path(precision, "parts"), *options, "--trainer.max_epochs", "1")
        fit(Path(precision, "parts"), *options, "--ckpt_path", "last")
        assert equal(state(Path(precision, "whole/last.ckpt")), state(Path(precision, "parts/last.ckpt")))


@pytest.mark.slow
def test_output_is_calm_and_mistakes_exit_with_two() -> None:
    done = command("fit", "--config", CONFIG, "--trainer.enable_progress_bar", "true")
    assert (done.returncode, done.stdout) == (0, "")
    lines = done.stderr.splitlines()
    assert lines[0] == "TinyNet with 17 weights into runs/superres/tiny"
    assert [line.split()[0] for line in lines[1:-2]] == ["epoch"] * 6
    assert lines[-2].startswith("3 epochs, 18 steps done: best val/error")
    done = command("fit", "--config", CONFIG, "--trainer.max_epoch", "3")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: unknown option --trainer.max_epoch; did you mean '--trainer.max_epochs'?\n"


PAIR = ("--config", "configs/trainer/ddp.yaml", "--trainer.devices", "2")
STILL = ("--model.init_args.net.init_args.dropout", "0")  # every process has its own dropout


def numbers(path: str) -> np.ndarray:
    """The numbers of a CSV file; empty and text cells are not-a-number."""
    return np.genfromtxt(path, delimiter=",", skip_header=1)


@pytest.mark.slow
@pytest.mark.parametrize(
    "launcher", [(), ("-m", "torch.distributed.run", "--nproc-per-node", "2")], ids=["own", "torchrun"]
)
def test_two_processes_train_and_test_as_one(launcher: tuple[str, ...]) -> None:
    pair = command("fit", "--config", CONFIG, *STILL, *PAIR, launcher=launcher)
    assert pair.returncode == 0, pair.stderr
    tested = command("test", "--config", CONFIG, *STILL, *PAIR, "--ckpt_path", "last", launcher=launcher)
    assert tested.returncode == 0, tested.stderr
    run("fit", *STILL)
    run("test", *STILL, "--ckpt_path", "last")
    assert sorted(each.name for each in Path("runs/superres").iterdir()) == ["tiny", "tiny-2"]
    for name in ("cases_val.csv", "cases_test.csv", "metrics_test.csv"):
        ours, theirs = numbers(f"runs/superres/tiny/{name}"), numbers(f"runs/superres/tiny-2/{name}")
        assert np.allclose(ours, theirs, rtol=1e-4, equal_nan=True)
    assert len(numbers("runs/superres/tiny/cases_test.csv")) == 5
    table = [line for line in tested.stdout.splitlines() if line.startswith("tiny ")]
    assert len(table) == 1
    assert json.loads(Path("runs/superres/tiny/manifest.json").read_text())["processes"] == 2

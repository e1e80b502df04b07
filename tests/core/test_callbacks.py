"""Averaging, seeding, records, progress and pictures beside a training."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from foveal.core import callbacks
from foveal.core.callbacks import EMA, PlainProgress, Predictions
from foveal.core.plots import draw_columns, draw_curves
from foveal.tests.fixtures.tiny_task import TinyNet, TinyTask
from foveal.tests.fixtures.training import fit, run, state


def test_average_follows_the_weights_and_leaves_indices_alone(tmp_path: Path) -> None:
    fit(tmp_path, "--trainer.max_epochs", "1", "--data.init_args.length", "8")
    found = state(tmp_path / "last.ckpt")
    raw, average = found["current_model_state"], found["state_dict"]
    assert found["averaging_state"]["n_averaged"] == 2
    assert not torch.equal(average["net.inside.weight"], raw["net.inside.weight"])
    assert torch.equal(average["net.index"], torch.arange(100))


def test_average_is_the_published_recursion() -> None:
    task = TinyTask(TinyNet(1))
    ema = EMA(decay=0.75)
    ema.setup(None, task, "fit")
    for value in (0.0, 1.0, 3.0):
        torch.nn.init.constant_(task.net.inside.weight, value)
        ema._average_model.update_parameters(task)
    assert torch.equal(ema._average_model.module.net.inside.weight, torch.full((1, 2), 0.75 * 0.25 + 3 * 0.25))


def test_best_checkpoint_holds_the_average_that_was_validated(tmp_path: Path) -> None:
    fit(tmp_path)
    reported = (tmp_path / "cases_val.csv").read_text()
    run("validate", "--ckpt_path", str(tmp_path / "last.ckpt"))
    assert (tmp_path / "cases_val.csv").read_text() == reported


def test_manifest_tells_device_data_and_every_session(tmp_path: Path) -> None:
    fit(tmp_path, "--trainer.max_epochs", "1", "--seed_everything", "7")
    fit(tmp_path, "--trainer.max_epochs", "2", "--ckpt_path", "last")
    told = json.loads((tmp_path / "manifest.json").read_text())
    assert (told["device"], told["processes"], told["parameters"]) == ("cpu", 1, 17)
    assert told["data"] == {"pairs": 24}
    assert told["end"] >= told["start"]
    assert [each["seed"] for each in told["earlier"]] == [7]
    assert told["seed"] == 0


def test_plain_lines_tell_epoch_step_loss_speed_and_time_left(tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    fit(tmp_path, "--trainer.enable_progress_bar", "true", "--trainer.max_epochs", "2")
    lines = capfd.readouterr().err.splitlines()
    assert lines[0] == f"TinyNet with 17 weights into {tmp_path}"
    assert lines[1].startswith("epoch 1/2  step 6  train/loss 0.")
    assert lines[1].endswith("samples/s  0:00:00 left")
    assert lines[2].startswith("epoch 1/2  step 6  val/error 0.")
    assert lines[-2].startswith("2 epochs, 12 steps done: best val/error 0.")
    assert lines[-1] == f"report in {tmp_path}/report.html"
    assert len(lines) == 7


def test_plain_lines_can_be_switched_off(capfd: pytest.CaptureFixture) -> None:
    lines = PlainProgress()
    lines.disable()
    lines.print("nothing")
    lines.enable()
    lines.print("one", "line")
    assert capfd.readouterr().err == "one  line\n"


def test_bar_on_a_terminal_and_lines_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(callbacks.progress_bar(), PlainProgress)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    assert isinstance(callbacks.progress_bar(), callbacks.Bar)


def test_the_bar_shows_the_metric_that_chooses_the_best(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    fit(tmp_path, "--trainer.enable_progress_bar", "true", "--trainer.max_epochs", "2")
    assert "val/error" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("batch", "size"),
    [((torch.zeros(4, 2), torch.zeros(4)), 4), ({"name": ["a"], "low": torch.zeros(3, 1)}, 3), ([], 0)],
)
def test_batch_size_is_the_length_of_the_first_tensor(batch: object, size: int) -> None:
    assert callbacks.batch_size(batch) == size


def test_duration() -> None:
    assert callbacks.duration(3725.4) == "1:02:05"


def test_pictures_of_a_run(tmp_path: Path) -> None:
    fit(tmp_path, "--trainer.max_epochs", "1")
    assert Image.open(tmp_path / "curves.png").size[0] > 500
    sheet = np.asarray(Image.open(tmp_path / "samples.png"))[24:]
    assert (sheet == 90).all(-1).sum() == 3 * 4 * 6
    assert (sheet == 200).all(-1).sum() == 3 * 4 * 6


def test_columns_enlarge_small_images_by_whole_pixels(tmp_path: Path) -> None:
    small = np.arange(2 * 2 * 3, dtype=np.uint8).reshape(2, 2, 3)
    large = np.full((5, 6, 3), 77, np.uint8)
    draw_columns([("", [small]), ("", [large])], tmp_path / "samples.png", margin=1, heading=10)
    sheet = np.asarray(Image.open(tmp_path / "samples.png"))
    assert sheet.shape == (10 + 5 + 1, 1 + 4 + 1 + 6 + 1, 3)
    assert np.array_equal(sheet[10:14, 1:5], small.repeat(2, 0).repeat(2, 1))
    assert np.array_equal(sheet[10:15, 6:12], large)


def test_a_title_wider_than_its_column_has_room(tmp_path: Path) -> None:
    image = np.zeros((4, 4, 3), np.uint8)
    for name, titles in (("short", ("l", "r")), ("long", ("the median of clear dates", "r"))):
        draw_columns([(each, [image]) for each in titles], tmp_path / f"{name}.png")
    widths = [Image.open(tmp_path / f"{name}.png").size[0] for name in ("short", "long")]
    assert widths[1] > widths[0] + 100


def test_many_curves_are_drawn_in_rows(tmp_path: Path) -> None:
    for count in (3, 4, 5, 9):
        names = ",".join(f"val/{letter}" for letter in "abcdefghi"[:count])
        (tmp_path / "metrics.csv").write_text(f"step,{names}\n1{',0.5' * count}\n")
        draw_curves(tmp_path / "metrics.csv", tmp_path / f"{count}.png")
    (three, four, five, nine) = (Image.open(tmp_path / f"{count}.png").size for count in (3, 4, 5, 9))
    assert three[0] < four[0] == five[0] == nine[0]
    assert [each[1] / four[1] for each in (three, four, five, nine)] == [1, 1, 2, 3]


def test_classes_are_drawn_beside_their_mean(tmp_path: Path) -> None:
    for names in ("val/dice", "val/dice,val/dice_liver,val/old_dice"):
        count = names.count("/")
        rows = "".join(f"{step}{',0.5' * count}\n" for step in (1, 2))
        (tmp_path / "metrics.csv").write_text(f"step,{names}\n{rows}")
        draw_curves(tmp_path / "metrics.csv", tmp_path / f"{count}.png")
    assert Image.open(tmp_path / "1.png").size == Image.open(tmp_path / "3.png").size


def test_lines_tell_no_single_classes() -> None:
    metrics = {"val/dice": 0.5, "val/dice_liver": 0.4, "val/old_dice": 0.3, "train/loss": 1.0}
    assert callbacks.shown(metrics, "val/") == ["val/dice 0.5", "val/old_dice 0.3"]


def test_nothing_is_drawn_without_metrics(tmp_path: Path) -> None:
    draw_curves(tmp_path / "metrics.csv", tmp_path / "curves.png")
    (tmp_path / "metrics.csv").write_text("epoch,step\n")
    draw_curves(tmp_path / "metrics.csv", tmp_path / "curves.png")
    assert not (tmp_path / "curves.png").exists()


def test_cases_of_one_name_keep_a_prediction_each(tmp_path: Path) -> None:
    trainer, saved = SimpleNamespace(log_dir=tmp_path, world_size=1, global_rank=0), Predictions()
    saved.on_predict_start(trainer, None)
    for index, name in enumerate(("001", "001", "001_2", "002")):
        case = {"set": "validation", "name": [name]}
        saved.on_predict_batch_end(trainer, None, torch.full((1, 1), float(index)), case, index)
    saved.on_predict_batch_end(trainer, None, torch.full((1, 1), 4.0), torch.zeros(1), 4)
    found = {path.stem: np.load(path).item() for path in (tmp_path / "predictions").iterdir()}
    assert found == {
        "validation_001": 0,
        "validation_001_2": 1,
        "validation_001_2_2": 2,
        "validation_002": 3,
        "000004-0": 4,
    }


def test_a_line_has_no_classes_and_of_baselines_that_of_the_monitored_metric():
    names = ("dice", "dice_liver", "mean_dice", "psnr", "bicubic_psnr", "ssim", "bicubic_ssim")
    metrics = dict.fromkeys([f"val/{name}" for name in names], 0.5)
    told = [each.split()[0] for each in callbacks.shown(metrics, "val/", "val/psnr")]
    assert told == ["val/dice", "val/psnr", "val/bicubic_psnr", "val/ssim"]
    assert "val/mean_dice 0.5" in callbacks.shown(metrics, "val/", "val/mean_dice")

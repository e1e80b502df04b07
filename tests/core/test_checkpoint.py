"""Checkpoints: whole or absent, without code, refused by name, and a resumed training that nobody can tell apart."""

import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from foveal.core.checkpoint import SafeCheckpointIO, check_network
from foveal.core.errors import UserError
from foveal.tests.fixtures.tiny_task import TinyNet, TinyTask
from foveal.tests.fixtures.training import CONFIG, equal, fit, state

KILLED = """
import os, signal, sys
from foveal.core import checkpoint, fit
from lightning.pytorch import Callback

moment, *arguments = sys.argv[1:]
replace = os.replace
written = []

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

def replace_and_die(source, target):
    if str(target).endswith("last.ckpt"):
        written.append(target)
        if moment == "half written" and len(written) == 2:
            os.truncate(source, os.path.getsize(source) // 2)
            die()
    replace(source, target)
    if moment == "just renamed" and len(written) == 2:
        die()

def on_train_batch_end(self, trainer, task, outputs, batch, batch_idx):
    if trainer.global_step == 15:
        die()

os.replace = replace_and_die
if moment == "inside an epoch":
    checkpoint.LastCheckpoint.on_train_batch_end = on_train_batch_end
fit.main("superres", "fit", arguments)
"""


def same_run(one: Path, other: Path) -> bool:
    """Whether two run folders hold the same weights, optimiser, averages, progress and results."""
    checkpoints = all(equal(state(one / name), state(other / name)) for name in ("last.ckpt", "best.ckpt"))
    tables = all((one / name).read_bytes() == (other / name).read_bytes() for name in ("metrics.csv", "cases_val.csv"))
    return checkpoints and tables


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--trainer.max_steps", "24", "--trainer.max_epochs", "-1"],
        ["--trainer.precision", "bf16-mixed", "--trainer.gradient_clip_val", "0.1"],
        ["--trainer.accumulate_grad_batches", "4", "--trainer.log_every_n_steps", "1"],
        ["--trainer.val_check_interval", "0.5"],
        ["--trainer.check_val_every_n_epoch", "2"],
        ["--trainer.callbacks", "null"],
        ["--data.init_args.workers", "1"],
    ],
    ids=" ".join,
)
def test_resumed_training_is_the_same_to_the_last_bit(tmp_path: Path, options: list[str]) -> None:
    fit(tmp_path / "whole", "--trainer.max_epochs", "4", *options)
    shorter = ["12" if each == "24" else each for each in options]
    fit(tmp_path / "parts", "--trainer.max_epochs", "2", *shorter)
    assert not same_run(tmp_path / "whole", tmp_path / "parts")
    fit(tmp_path / "parts", "--trainer.max_epochs", "4", *options, "--ckpt_path", "last")
    assert same_run(tmp_path / "whole", tmp_path / "parts")


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["half written", "just renamed", "inside an epoch"])
def test_killed_training_continues_to_the_last_bit(tmp_path: Path, moment: str) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    command = [sys.executable, "-c", KILLED, moment, "--config", CONFIG, "--output", str(killed)]
    done = subprocess.run(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert state(killed / "last.ckpt")["epoch"] == (1 if moment == "half written" else 2)
    fit(killed, "--ckpt_path", "last")
    fit(whole)
    assert same_run(whole, killed)
    assert not list(killed.glob(".*"))


def test_older_checkpoint_stays_when_saving_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = SafeCheckpointIO(TinyTask(TinyNet()))
    path = tmp_path / "last.ckpt"
    files.save_checkpoint({"number": 1}, path)

    def full_disk(content: object, file: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(OSError, match="No space left"):
        files.save_checkpoint({"number": 2}, path)
    assert torch.load(path, weights_only=True) == {"number": 1}
    assert list(tmp_path.iterdir()) == [path]


class Payload:
    def __reduce__(self) -> tuple:
        return os.mkdir, ("executed",)


def test_checkpoint_that_would_run_code_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": {}, "surprise": Payload()}, "evil.ckpt")
    (tmp_path / "evil.pkl").write_bytes(pickle.dumps(Payload()))
    files = SafeCheckpointIO(TinyTask(TinyNet()))
    for name in ("evil.ckpt", "evil.pkl"):
        with pytest.raises(UserError, match=f"^{name}: "):
            files.load_checkpoint(name)
    assert not (tmp_path / "executed").exists()


def test_damaged_or_missing_checkpoint_is_named(tmp_path: Path) -> None:
    files = SafeCheckpointIO(TinyTask(TinyNet()))
    path = tmp_path / "last.ckpt"
    with pytest.raises(UserError, match=r"last\.ckpt: there is no such checkpoint"):
        files.load_checkpoint(path)
    files.save_checkpoint({"state_dict": {"a": torch.zeros(1000)}}, path)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(UserError, match=r"last\.ckpt: .*damaged"):
        files.load_checkpoint(path)


def described(net: TinyNet) -> TinyTask:
    task = TinyTask(net)
    task.network = {
        "class_path": "foveal.tests.fixtures.tiny_task.TinyNet",
        "init_args": {"width": net.inside.out_features},
    }
    return task


def test_checkpoint_of_another_network_is_told_with_both_networks() -> None:
    saved = described(TinyNet(4))
    checkpoint = {"state_dict": saved.state_dict(), "card": saved.card().to_json()}
    check_network(checkpoint, described(TinyNet(4)), "last.ckpt")
    with pytest.raises(UserError) as told:
        check_network(checkpoint, described(TinyNet(5)), "last.ckpt")
    assert str(told.value) == (
        "last.ckpt: holds TinyNet(width=4), but the config builds TinyNet(width=5): net.inside.weight has shape (4, 2) "
        "there and (5, 2) here. Give the config that trained it, or another checkpoint."
    )


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda state: state.pop("net.inside.bias"), "1 weights are missing from it, first net.inside.bias"),
        (lambda state: state.update({"net.extra": torch.zeros(1)}), "1 of its weights are unknown, first net.extra"),
    ],
    ids=["missing", "unknown"],
)
def test_missing_and_unknown_weights_are_told(change, told: str) -> None:
    state = described(TinyNet()).state_dict()
    change(state)
    with pytest.raises(UserError, match=f"holds another network, but .*{told}"):
        check_network({"state_dict": state}, described(TinyNet()), "last.ckpt")


def test_weights_without_a_training_are_no_checkpoint() -> None:
    with pytest.raises(UserError, match="holds no state_dict"):
        check_network({"params": {}}, described(TinyNet()), "theirs.pth")

"""Checkpoints that survive a kill at any moment, execute no code when read, and continue bit for bit."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO

from .atomic import written_beside
from .errors import UserError
from .weights.card import Card
from .weights.files import file_format, read_checkpoint, read_safetensors

LAST = "last.ckpt"
BEST = "best.ckpt"


class SafeCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint beside its place, flushes it to the disk and renames it; reads tensors and plain values only.

    Args:
        task: what the checkpoints are loaded into; a checkpoint of another network is refused by name.
    """

    def __init__(self, task: LightningModule) -> None:
        self.task = task

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: object = None) -> None:
        """Save whole or not at all: an older file at `path` stays until the new one is safe on the disk."""
        path = Path(path)
        with written_beside(path) as part, open(part, "wb") as file:
            torch.save(checkpoint, file)
            file.flush()
            os.fsync(file.fileno())
        _flush_folder(path.parent)

    def load_checkpoint(self, path: str | Path, *_: object, **__: object) -> dict[str, Any]:
        """Read onto the CPU without executing anything.

        Raises:
            UserError: the file is missing, damaged, wants code to be run, or belongs to another network.
        """
        if not Path(path).is_file():
            raise UserError(f"{path}: there is no such checkpoint. Give --ckpt_path last, best or a file.")
        checkpoint = _weights_alone(path) if file_format(Path(path)) == "safetensors" else read_checkpoint(Path(path))
        check_network(checkpoint, self.task, path)
        return checkpoint


def check_network(checkpoint: dict[str, Any], task: LightningModule, path: str | Path) -> None:
    """Refuse a checkpoint whose weights do not fit the task.

    Args:
        checkpoint: what the file holds.
        task: what it is to be loaded into.
        path: the file, named in the error.

    Raises:
        UserError: a weight is missing, unknown or of another shape; the line names the file and both networks.
    """
    if "state_dict" not in checkpoint:
        raise UserError(
            f"{path}: is no checkpoint of a training (it holds no state_dict). Give a last.ckpt or best.ckpt."
        )
    theirs = {name: tuple(value.shape) for name, value in checkpoint["state_dict"].items()}
    ours = {name: tuple(value.shape) for name, value in task.state_dict().items()}
    if theirs == ours:
        return
    raise UserError(
        f"{path}: holds {_described(checkpoint)}, but the config builds {_network_of(task)}: "
        f"{_difference(theirs, ours)}. Give the config that trained it, or another checkpoint."
    )


def _weights_alone(path: str | Path) -> dict[str, Any]:
    """Read a safetensors file as a checkpoint that can be evaluated, but not continued."""
    state, card = read_safetensors(Path(path))
    described = {"card": card.to_json()} if card else {}
    weights = {f"net.{name}": value for name, value in state.items()}
    return {"state_dict": weights, "pytorch-lightning_version": lightning.__version__, **described}


class LastCheckpoint(Callback):
    """Saves `last.ckpt` between two epochs, from which training continues as if it had never stopped.

    Lightning saves at the end of an epoch, before it has stepped the plateau schedulers and logged the epoch's means.
    So this saves at the start of the next epoch or at the end of training, in a state that belongs to no epoch.
    It must stand before callbacks that change the weights at the end of training, such as weight averaging.

    Args:
        folder: the run folder.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / LAST
        self._saved_step = 0

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the state that the epoch before left."""
        self._save(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the state that the last epoch left."""
        self._save(trainer)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Let the next epoch be one that has not begun; an epoch left in its middle begins again when resumed."""
        for count in checkpoint["loops"]["fit_loop"]["epoch_progress"].values():
            count["ready"] = count["started"] = count["completed"] = count["processed"]

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Remember what need not be saved again."""
        self._saved_step = checkpoint["global_step"]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin a whole epoch: with max_steps set, Lightning would go on inside the epoch that is already done."""
        trainer.fit_loop.epoch_loop.restarting = False
        trainer.fit_loop._restarting = False

    def _save(self, trainer: Trainer) -> None:
        if trainer.global_step > self._saved_step and not trainer.fast_dev_run:
            trainer.save_checkpoint(self.path)
            self._saved_step = trainer.global_step


class BestCheckpoint(ModelCheckpoint):
    """Keeps `best.ckpt` in the run folder.

    Args:
        folder: the run folder.
        monitor: name of the logged metric that decides.
        mode: "max" or "min", which values of it are better.
    """

    def __init__(self, folder: Path, monitor: str, mode: str) -> None:
        super().__init__(folder, Path(BEST).stem, monitor=monitor, mode=mode, enable_version_counter=False)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on comparing with the best so far, wherever the run folder is now; without its file begin anew."""
        path = str(Path(self.dirpath) / BEST)
        score = state_dict["best_model_score"]
        if Path(path).is_file() and score is not None:
            here = {"dirpath": self.dirpath, "best_model_path": path, "kth_best_model_path": path}
            super().load_state_dict(state_dict | here | {"best_k_models": {path: score}})


def _flush_folder(folder: Path) -> None:
    """Make a rename itself survive a power cut; where folders cannot be opened (Windows) this is not needed."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _described(checkpoint: dict[str, Any]) -> str:
    """Name the network of a checkpoint by its card, where it has one."""
    return _network_name(Card.from_json(checkpoint["card"])) if "card" in checkpoint else "another network"


def _network_of(task: LightningModule) -> str:
    return _network_name(task.card()) if hasattr(task, "card") else type(task).__name__


def _network_name(card: Card) -> str:
    arguments = ", ".join(f"{name}={value}" for name, value in card.network.get("init_args", {}).items())
    return f"{card.network['class_path'].rpartition('.')[2]}({arguments})"


def _difference(theirs: dict[str, tuple[int, ...]], ours: dict[str, tuple[int, ...]]) -> str:
    """Say the first thing in which two sets of weights differ."""
    if lacking := sorted(set(ours) - set(theirs)):
        return f"{len(lacking)} weights are missing from it, first {lacking[0]}"
    if unknown := sorted(set(theirs) - set(ours)):
        return f"{len(unknown)} of its weights are unknown, first {unknown[0]}"
    name = next(each for each in ours if ours[each] != theirs[each])
    return f"{name} has shape {theirs[name]} there and {ours[name]} here"

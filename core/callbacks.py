"""What happens beside the training: averaging, seeding, records, progress and pictures."""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Iterator, Mapping
from itertools import chain, count
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar, RichProgressBar, WeightAveraging
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn
from torch.utils._pytree import tree_leaves

from .atomic import written_beside
from .metrics_table import MetricsTable
from .plots import draw_columns, draw_curves
from .run import MANIFEST, now, write_json


class EMA(WeightAveraging):
    """Exponential moving average of the weights: validated, tested and saved in place of the raw ones.

    Lightning's own `EMAWeightAveraging` also averages buffers, whole numbers among them, and an index that is rounded
    down names another element. This one copies buffers from the network.

    Args:
        decay: share of the old average that one optimizer step keeps.
    """

    def __init__(self, decay: float = 0.999) -> None:
        super().__init__(use_buffers=False, multi_avg_fn=get_ema_multi_avg_fn(decay))

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Restore the average to go on with training; evaluation needs only the averaged weights, already loaded."""
        if self._average_model is not None:
            super().on_load_checkpoint(trainer, pl_module, checkpoint)


class EpochSeed(Callback):
    """Seeds the global generators at the start of every epoch, so that a resumed epoch draws what it would have drawn.

    Args:
        seed: the seed of the run; every process and epoch derives its own from it.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Seed before the first batch: creating the loader's workers has drawn numbers by then."""
        if batch_idx == 0:
            mixed = np.random.SeedSequence([self.seed, trainer.current_epoch, trainer.global_rank]).generate_state(1)
            random.seed(int(mixed[0]))
            np.random.seed(mixed[0])
            torch.manual_seed(int(mixed[0]))


class RunRecord(Callback):
    """Writes the config and the manifest of a run, and keeps its metrics table in step with the checkpoints.

    Args:
        folder: the run folder.
        config: the merged config, YAML.
        manifest: what is known before the run; device, processes, parameters and data are added.
        table: the metrics table.
        suffix: "" in training, "_test" and the like where a trained run is evaluated in its own folder.
    """

    def __init__(
        self, folder: Path, config: str, manifest: dict[str, Any], table: MetricsTable, suffix: str = ""
    ) -> None:
        self.config_path = folder / f"config{suffix}.yaml"
        self.manifest_path = (folder / MANIFEST).with_stem(f"manifest{suffix}")
        self.config = config
        self.manifest = manifest
        self.table = table
        self._rows = 0

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Write both files; what an earlier session wrote into the manifest is kept under "earlier"."""
        if trainer.is_global_zero:
            self.manifest |= {
                "device": device_name(trainer.strategy.root_device),
                "processes": trainer.world_size,
                "parameters": sum(each.numel() for each in pl_module.net.parameters()),
                "data": fingerprint(trainer.datamodule),
                "monitor": pl_module.monitor,
                "monitor_mode": pl_module.monitor_mode,
                "units": pl_module.units,
                "earlier": earlier(self.manifest_path),
            }
            write_json(self.manifest_path, self.manifest)
            with written_beside(self.config_path) as part:
                part.write_text(self.config)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin the table where the checkpoint left it; log at least once an epoch."""
        self.table.rewind(self._rows)
        steps = trainer.num_training_batches / trainer.accumulate_grad_batches
        trainer.log_every_n_steps = int(min(trainer.log_every_n_steps, max(steps, 1)))

    def state_dict(self) -> dict[str, Any]:
        """Rows of the table that belong to a checkpoint."""
        return {"rows": self.table.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Remember how many rows belong to the checkpoint."""
        self._rows = state_dict["rows"]

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Add the time of the end."""
        if trainer.is_global_zero:
            write_json(self.manifest_path, self.manifest | {"end": now()})


class Bar(RichProgressBar):
    """Lightning's bar on stderr, with the metric that chooses the best checkpoint."""

    def __init__(self) -> None:
        super().__init__(console_kwargs={"stderr": True})

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        """What stands beside the bar."""
        shown = super().get_metrics(trainer, pl_module)
        chosen = {name: float(value) for name, value in trainer.callback_metrics.items() if name == pl_module.monitor}
        return {name: value for name, value in shown.items() if name != "v_num"} | chosen


class PlainProgress(ProgressBar):
    """Progress as plain lines on stderr, for logs.

    Args:
        every_seconds: shortest time between two lines inside an epoch.
    """

    def __init__(self, every_seconds: float = 10.0) -> None:
        super().__init__()
        self.every_seconds = every_seconds
        self._enabled = True

    def enable(self) -> None:
        """Write lines."""
        self._enabled = True

    def disable(self) -> None:
        """Write none."""
        self._enabled = False

    def print(self, *words: Any, **_: Any) -> None:
        """Write a line."""
        if self._enabled:
            print(*words, sep="  ", file=sys.stderr, flush=True)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clocks."""
        self._start = self._line = time.monotonic()
        self._samples = self._batches = 0

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count, and write a line when the time has come or the epoch has ended."""
        self._samples += batch_size(batch) * trainer.world_size
        self._batches += 1
        last = batch_idx + 1 == trainer.num_training_batches
        if last or time.monotonic() - self._line >= self.every_seconds:
            speed = self._samples / max(time.monotonic() - self._line, 1e-9)
            values = shown(trainer.progress_bar_metrics)
            self.print(*self._place(trainer), *values, f"{speed:.1f} samples/s", *self._left(trainer))
            self._samples, self._line = 0, time.monotonic()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write what was measured, and leave the time it took out of the speed."""
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self.print(*self._place(trainer), *shown(trainer.callback_metrics, "val/", pl_module.monitor))
            self._samples, self._line = 0, time.monotonic()

    def _place(self, trainer: Trainer) -> Iterator[str]:
        epochs = f"/{trainer.max_epochs}" if (trainer.max_epochs or -1) > 0 else ""
        yield f"epoch {trainer.current_epoch + 1}{epochs}"
        yield f"step {trainer.global_step}"

    def _left(self, trainer: Trainer) -> Iterator[str]:
        """Time left at the mean pace of this session, where the end is known."""
        total = trainer.estimated_stepping_batches * trainer.accumulate_grad_batches
        if total < float("inf"):
            left = max(total - trainer.fit_loop.total_batch_idx - 1, 0)
            yield f"{duration(left * (time.monotonic() - self._start) / self._batches)} left"


class Curves(Callback):
    """Draws `curves.png` from the metrics table, after a validation at most once in a while, and at the end.

    Args:
        folder: the run folder.
        table: the metrics table.
        every_seconds: shortest time between two drawings.
    """

    def __init__(self, folder: Path, table: MetricsTable, every_seconds: float = 60.0) -> None:
        self.path = folder / "curves.png"
        self.table = table
        self.every_seconds = every_seconds
        self._drawn = time.monotonic()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw if it is long since."""
        if trainer.state.fn == "fit" and time.monotonic() - self._drawn >= self.every_seconds:
            self._draw(trainer)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw the whole."""
        self._draw(trainer)

    def _draw(self, trainer: Trainer) -> None:
        if trainer.is_global_zero:
            draw_curves(self.table.path, self.path)
            self._drawn = time.monotonic()


class Samples(Callback):
    """Draws `samples.png` from what the task kept of a validation or test, if it has `sample_pictures()`.

    Args:
        folder: the run folder.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "samples.png"

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw."""
        if not trainer.sanity_checking:
            self._draw(trainer, pl_module)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw."""
        self._draw(trainer, pl_module)

    def _draw(self, trainer: Trainer, pl_module: LightningModule) -> None:
        pictures = getattr(pl_module, "sample_pictures", list)()
        if trainer.is_global_zero and pictures:
            draw_columns(pictures, self.path)


class Predictions(Callback):
    """Saves what `predict` computes, one `predictions/<set>_<name>.npy` in the run folder for each case.

    A case that the batch does not name is numbered, and so is one whose name another case had before:
    `<set>_<name>_2.npy`. Arrays are float32, of the shape that `predict_step` of the task tells, without the axis of
    the batch.
    """

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Agree on the folder: only the first process knows it."""
        self.folder = Path(trainer.log_dir) / "predictions"
        self.taken: set[str] = set()

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Save every case of the batch."""
        number = batch_idx * trainer.world_size + trainer.global_rank
        for place, prediction in enumerate(outputs.float().cpu().numpy()):
            names = [batch[key] for key in ("set", "name") if key in batch] if isinstance(batch, dict) else []
            words = [
                each if isinstance(each, str) else each[place] for each in names
            ]  # a case that comes alone, or several
            with written_beside(self.folder / f"{self._free('_'.join(words) or f'{number:06}-{place}')}.npy") as part:
                np.save(part, prediction)

    def _free(self, name: str) -> str:
        """Return a name that no case of this process had before: this one, or this one with a number."""
        free = next(
            each for each in chain([name], (f"{name}_{number}" for number in count(2))) if each not in self.taken
        )
        self.taken.add(free)
        return free


def progress_bar() -> ProgressBar:
    """Return a bar where stderr is a terminal, plain lines where it is a file or a pipe."""
    return Bar() if sys.stderr.isatty() else PlainProgress()


def batch_size(batch: Any) -> int:
    """Samples in a batch: the length of its first tensor, 0 without one."""
    return next((len(each) for each in tree_leaves(batch) if isinstance(each, Tensor) and each.ndim), 0)


def duration(seconds: float) -> str:
    """Write a time as hours:minutes:seconds."""
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"


def device_name(device: torch.device) -> str:
    """Name a device, a graphics card by its model too."""
    return f"{device.type} ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else device.type


def fingerprint(datamodule: Any) -> Any:
    """What the data module tells of its data, None where it tells nothing."""
    return datamodule.fingerprint() if hasattr(datamodule, "fingerprint") else None


def earlier(manifest: Path) -> list[dict[str, Any]]:
    """The manifests of earlier sessions of a run, oldest first."""
    if not manifest.is_file():
        return []
    last = json.loads(manifest.read_text())
    return [*last.pop("earlier", []), last]


def shown(metrics: Mapping[str, Any], prefix: str = "", monitor: str = "") -> list[str]:
    """Metrics as words of a line: those whose name starts with `prefix`, without those of single classes.

    Of baselines, `<method>_<metric>` beside `<metric>`, the line has that of the monitored metric.
    """
    wanted = [name.removeprefix(prefix) for name in metrics if name.startswith(prefix)]
    monitored = monitor.removeprefix(prefix)
    beside = tuple(f"_{other}" for other in wanted if monitored and other != monitored)
    overall = [name for name in wanted if not any(name.startswith(f"{other}_") for other in wanted)]
    told = [name for name in overall if name == monitored or not name.endswith(beside)]
    return [f"{prefix}{name} {float(metrics[prefix + name]):.4g}" for name in told]

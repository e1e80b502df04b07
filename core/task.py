"""The base of every app's training task."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import lightning as L
import numpy as np
import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn
from torch.optim import Optimizer

from .cases import Case, gathered, means, write_cases
from .report.showcase import Exhibit, Showcase, layers, write_showcase
from .results import results_table
from .weights.card import Card


class Task(L.LightningModule, ABC):
    """A network with its optimiser, its loss, and metrics case by case.

    A subclass gives `training_loss`, `evaluate` and `card`. Validation and test results are gathered over all
    processes, logged as means ("val/<metric>", "test/<metric>"), kept in `cases` and written to `cases_<stage>.csv`
    in the run folder; the best, the median and the worst case are drawn into `showcase_<stage>`.

    Args:
        net: the network.
        optimizer: makes the optimiser from the parameters.
        scheduler: makes the learning-rate schedule from the optimiser; it advances every step.
        licence: licence of the trained weights, written to their card.
    """

    app: ClassVar[str]
    monitor: ClassVar[str]  # the logged metric that chooses the best checkpoint
    monitor_mode: ClassVar[str] = "max"
    units: ClassVar[dict[str, str]] = {}  # of the metrics that have one
    picture_titles: ClassVar[tuple[str, ...]]
    num_samples: ClassVar[int] = 3  # cases that are kept as pictures
    exhibit_kind: ClassVar[str] = "columns"  # how the report shows a case, see `core.report`
    exhibit_facts: ClassVar[dict[str, Any]] = {}  # what that kind wants to know

    def __init__(
        self,
        net: nn.Module,
        optimizer: OptimizerCallable = torch.optim.Adam,
        scheduler: LRSchedulerCallable | None = None,
        licence: str = "",
    ) -> None:
        super().__init__()
        self.net = net
        self.make_optimizer = optimizer
        self.make_scheduler = scheduler
        self.licence = licence
        self.network: dict[str, Any] = {}  # class path and arguments of `net`, for the card
        self.cases: list[Case] = []
        self.pictures: list[list[np.ndarray]] = []
        self.showcase = Showcase(*self.ranking())

    @abstractmethod
    def training_loss(self, batch: Any) -> Tensor:
        """Return the loss of one batch."""

    @abstractmethod
    def evaluate(self, batch: Any) -> tuple[Case, list[np.ndarray]]:
        """Return the metrics of one case and its pictures, uint8 (H, W, 3), in the order of `picture_titles`."""

    @abstractmethod
    def card(self) -> Card:
        """Return the weights card of the network as it stands."""

    def card_facts(self, **own: Any) -> dict[str, Any]:
        """Return what every card says of the network as it stands, and what this task says beside it or instead."""
        common = {
            "name": type(self.net).__name__.lower(),
            "app": self.app,
            "network": self.network,
            "size_multiple": getattr(self.net, "size_multiple", 1),
            "smallest_size": getattr(self.net, "smallest_size", 1),
            "licence": self.licence,
            "training": {"steps": int(self.global_step), "data": self.data_facts()},
            "metrics": self.measured(),
        }
        return common | own

    def measured(self) -> dict[str, float]:
        """Return the means over the cases at hand of the metrics that have one, for the card."""
        return {name: value for name, value in means(self.cases).items() if math.isfinite(value)}

    def data_facts(self) -> dict[str, Any]:
        """Return what identifies the data; {} where there are none."""
        data = self.data
        return data.fingerprint() if data is not None else {}

    @property
    def data(self) -> Any:
        """The data module; None where there is none."""
        return getattr(self.trainer, "datamodule", None) if self._trainer else None

    def results(self) -> str:
        """Return the table that `validate` and `test` print: the means over the cases, with their intervals."""
        return results_table(self.cases)

    def ranking(self) -> tuple[str, str]:
        """Return the metric of a case by which cases are ranked, and whether more ("max") or less ("min") is better."""
        return self.monitor.removeprefix("val/"), self.monitor_mode

    def exhibit(self, pictures: list[np.ndarray]) -> Exhibit:
        """Return what the report shows of the case that was just evaluated.

        Args:
            pictures: of that case, as `evaluate` returned them.
        """
        drawn = layers(pictures) if self.exhibit_kind == "overlay" else pictures
        return Exhibit(self.exhibit_kind, dict(zip(self.picture_titles, drawn, strict=False)), self.exhibit_facts)

    def sample_pictures(self) -> list[tuple[str, list[np.ndarray]]]:
        """Return the columns of the sample sheet: a title and one uint8 (H, W, 3) picture for each case kept."""
        columns = zip(self.picture_titles, *self.pictures, strict=True)
        return [(title, pictures) for title, *pictures in columns] if self.pictures else []

    def training_step(self, batch: Any, index: int) -> Tensor:
        """Return and log the loss."""
        loss = self.training_loss(batch)
        self.log("train/loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch: Any, index: int) -> None:
        """Score one case."""
        self._score(batch)

    def test_step(self, batch: Any, index: int) -> None:
        """Score one case."""
        self._score(batch)

    def on_validation_epoch_start(self) -> None:
        """Forget the last evaluation's cases."""
        self._forget()

    def on_test_epoch_start(self) -> None:
        """Forget the last evaluation's cases."""
        self._forget()

    def on_validation_epoch_end(self) -> None:
        """Report the cases; those of the check before a training say nothing of what comes of it."""
        self._report("val")
        if self.trainer.sanity_checking:
            self._forget()

    def on_test_epoch_end(self) -> None:
        """Report the cases."""
        self._report("test")

    def begin(self) -> None:
        """Do what a new training begins with, before its data is read and its run begun; nothing by default."""

    def optimizer_of_net(self) -> Optimizer:
        """Return the optimiser."""
        return self.make_optimizer(self.net.parameters())

    def configure_optimizers(self) -> Any:
        """Return the optimiser, with its schedule by step where there is one."""
        optimizer = self.optimizer_of_net()
        if self.make_scheduler is None:
            return optimizer
        return [optimizer], [{"scheduler": self.make_scheduler(optimizer), "interval": "step"}]

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Put the card into the checkpoint."""
        checkpoint["card"] = self.card().to_json()

    def _score(self, batch: Any) -> None:
        with torch.autocast(self.device.type, enabled=False):  # scores are those of the full-precision network
            case, pictures = self.evaluate(batch)
        self.cases.append(case)
        self.showcase.offer(case, lambda: self.exhibit(pictures))
        if len(self.pictures) < self.num_samples:
            self.pictures.append(pictures)

    def _forget(self) -> None:
        self.cases, self.pictures = [], []
        self.showcase = Showcase(*self.ranking())

    def _report(self, stage: str) -> None:
        self.cases = gathered(self.cases)
        self.log_dict({f"{stage}/{name}": value for name, value in means(self.cases).items()}, rank_zero_only=False)
        chosen, folder = self.showcase.chosen(), Path(self.trainer.default_root_dir)
        if self.trainer.is_global_zero and not self.trainer.sanity_checking:
            write_cases(folder / f"cases_{stage}.csv", self.cases)
            write_showcase(folder / f"showcase_{stage}", chosen)

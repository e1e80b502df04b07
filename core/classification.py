"""The base of the tasks that give every case one class: scores with intervals, their files and their pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn

from .cases import Case
from .classification_plots import draw_confusion, draw_reliability, draw_roc
from .errors import UserError
from .losses.classification import balanced_weights
from .metrics.classification import case_confusion, classification_scores, point_scores
from .metrics.interval import Interval
from .metrics_table import write_rows
from .results import aligned, interval_text
from .task import Task


class Classifier(Task):
    """Scores accuracy, AUC, F1, sensitivity, PPV, specificity and calibration of what a subclass trains.

    The data module gives `classes` and `class_counts`. A subclass scores a batch by adding to `cases` what `_cases`
    makes of its probabilities.

    Args:
        net: the network.
        optimizer: makes the optimiser from the parameters.
        scheduler: makes the learning-rate schedule from the optimiser; it advances every step.
        class_weights: of the loss, one number for each class; "balanced" makes rare classes weigh as much as others.
        licence: licence of the trained weights, written to their card.
    """

    def __init__(
        self,
        net: nn.Module,
        optimizer: OptimizerCallable = torch.optim.AdamW,
        scheduler: LRSchedulerCallable | None = None,
        class_weights: list[float] | Literal["balanced"] | None = None,
        licence: str = "",
    ) -> None:
        super().__init__(net, optimizer, scheduler, licence)
        self.class_weights = class_weights
        self.classes: tuple[str, ...] = ()
        self.weights: Tensor | None = None  # of the classes; no buffer, as averaged copies are made before it is known

    def setup(self, stage: str) -> None:
        """Take the classes, and before a training their weights, from the data."""
        data = self.trainer.datamodule
        self.classes = tuple(data.classes)
        if stage == "fit":
            self.weights = self._weights(data.class_counts)

    def on_fit_end(self) -> None:
        """Write and draw the scores of the last validation."""
        self._conclude("val")

    def ranking(self) -> tuple[str, str]:
        """Return the loss of a case; the scores are of all cases together."""
        return "nll", "min"

    def results(self) -> str:
        """Return every score of every set, with its 95% interval."""
        rows = [("set", "cases", "metric", "value")]
        for group, cases in self._sets().items():
            for name, found in self._intervals(cases).items():
                rows.append((group, str(len(cases)), name, interval_text(found)))
        return aligned(rows)

    def measured(self) -> dict[str, float]:
        """Return the scores of the cases at hand that have a value, for the card."""
        scores = point_scores(*self._answers(self.cases), self.classes) if self.cases else {}
        return {name: value for name, value in scores.items() if value == value}

    def _report(self, stage: str) -> None:
        """Log the means over cases and the scores of all cases together; in a training these are written at its end."""
        super()._report(stage)
        self.log_dict(
            {f"{stage}/{name}": value for name, value in self._logged().items() if name != "accuracy"},
            rank_zero_only=False,
        )
        if self.trainer.state.fn != "fit":
            self._conclude(stage)
        elif self.trainer.is_global_zero and not self.trainer.sanity_checking:
            self._scores(stage).unlink(missing_ok=True)  # they are of other cases

    def _conclude(self, stage: str) -> None:
        """Write the scores of the cases at hand with their intervals, and draw them."""
        if self.cases and self.trainer.is_global_zero:
            _write_scores(self._scores(stage), {name: self._intervals(cases) for name, cases in self._sets().items()})
            self._draw(stage)

    def _scores(self, stage: str) -> Path:
        return self._folder() / f"scores_{stage}.csv"

    def _logged(self) -> dict[str, float]:
        """Return the scores of all cases together."""
        return point_scores(*self._answers(self.cases), self.classes)

    def _draw(self, stage: str) -> None:
        """Draw the cases at hand: confusion matrix, reliability, ROC curves."""
        truth, probabilities = self._answers(self.cases)
        confusion = case_confusion(truth, probabilities.argmax(dim=1), len(self.classes))
        draw_confusion(confusion, self.classes, self._folder() / f"confusion_{stage}.png")
        draw_reliability(truth, probabilities, self._folder() / f"reliability_{stage}.png")
        draw_roc(truth, probabilities, self.classes, self._folder() / f"roc_{stage}.png")

    def _cases(self, batch: dict[str, Any], probabilities: Tensor) -> Iterator[Case]:
        """Yield the results of every case; probabilities are text, as their means say nothing.

        Args:
            batch: names "set", "name" and "patient" of each case, and its "label".
            probabilities: (cases, N).
        """
        names = [self._name(i) for i in range(probabilities.shape[1])]
        for number, (truth, row) in enumerate(zip(batch["label"].tolist(), probabilities.tolist(), strict=True)):
            predicted = int(np.argmax(row))
            case: Case = {key: batch[key][number] for key in ("set", "name", "patient")}
            case |= {"truth": names[truth], "predicted": names[predicted]}
            case |= {f"probability_{name}": f"{value:.9g}" for name, value in zip(names, row, strict=True)}
            yield case | {"accuracy": float(predicted == truth), "nll": -float(np.log(max(row[truth], 1e-300)))}

    def _answers(self, cases: Sequence[Case]) -> tuple[Tensor, Tensor]:
        """Return the true classes, (cases,), and the probabilities, (cases, N) float64."""
        truth = torch.tensor([self.classes.index(case["truth"]) for case in cases])
        rows = [[float(case[f"probability_{name}"]) for name in self.classes] for case in cases]
        return truth, torch.tensor(rows, dtype=torch.float64)

    def _sets(self) -> dict[str, list[Case]]:
        names = dict.fromkeys(case["set"] for case in self.cases)
        return {name: [case for case in self.cases if case["set"] == name] for name in names}

    def _intervals(self, cases: Sequence[Case]) -> dict[str, Interval]:
        return classification_scores(*self._answers(cases), self.classes, [case["patient"] for case in cases])

    def _name(self, number: int | Tensor) -> str:
        return self.classes[int(number)] if self.classes else str(int(number))

    def _weights(self, counts: Sequence[int]) -> Tensor | None:
        if self.class_weights == "balanced":
            return balanced_weights(counts)
        if self.class_weights is None:
            return None
        if len(self.class_weights) != len(counts) or min(self.class_weights) < 0:
            raise UserError(
                f"model.class_weights {self.class_weights}: give one number from 0 for each of the {len(counts)} "
                f"classes, {', '.join(self.classes)}."
            )
        return torch.tensor(self.class_weights)

    def _folder(self) -> Path:
        return Path(self.trainer.default_root_dir)


def _write_scores(path: Path, sets: dict[str, dict[str, Interval]]) -> None:
    """Write one line for each score of each set."""
    rows = [
        {"set": group, "metric": name, "value": each.mean, "low": each.low, "high": each.high, "cases": each.count}
        for group, scores in sets.items()
        for name, each in scores.items()
    ]
    write_rows(path, ["set", "metric", "value", "low", "high", "cases"], rows)

"""Pictures of how a classifier does: confusion matrix, reliability diagram, ROC curves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from .figures import new_figure, plain_axes, save_figure
from .metrics.classification import auc, expected_calibration_error, reliability, roc_curve

BLUE, ORANGE, GREY = "#2b6cb0", "#d9480f", "#9aa5b1"


def draw_confusion(confusion: Tensor, classes: Sequence[str], path: Path) -> None:
    """Draw a confusion matrix: counts as text, the share of each true class as colour.

    Args:
        confusion: (N, N) counts, rows true, columns predicted.
        classes: names of the N classes.
        path: the PNG file to write.
    """
    counts = confusion.double()
    shares = (counts / counts.sum(dim=1, keepdim=True).clamp(min=1)).tolist()
    side = 1.9 + 0.75 * len(classes)
    figure = new_figure(side + 1.1, side)
    axes = figure.subplots()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, of_row in enumerate(confusion.tolist()):
        for column, count in enumerate(of_row):
            share = shares[row][column]
            text = f"{count}\n{share:.0%}"
            axes.text(column, row, text, ha="center", va="center", color="white" if share > 0.55 else "black")
    places = range(len(classes))
    axes.set_xticks(
        places, classes, rotation=30 if len(classes) > 2 else 0, ha="right" if len(classes) > 2 else "center"
    )
    axes.set_yticks(places, classes)
    axes.set(xlabel="predicted", ylabel="true", title=f"{int(counts.sum())} cases")
    figure.colorbar(image, ax=axes, fraction=0.046, label="share of the true class")
    save_figure(figure, path)


def draw_reliability(truth: Tensor, probabilities: Tensor, path: Path, bins: int = 15) -> None:
    """Draw how often predictions of a certain confidence are right, and how many there are.

    Args:
        truth: true classes, (cases,).
        probabilities: (cases, N), rows sum to one.
        path: the PNG file to write.
        bins: of the confidence.
    """
    found = reliability(truth, probabilities, bins)
    error = expected_calibration_error(truth, probabilities, bins)
    centres, width = ((found.edges[:-1] + found.edges[1:]) / 2).tolist(), 0.9 / bins
    figure = new_figure(4.4, 4.8)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    above.bar(centres, found.accuracy.nan_to_num().tolist(), width, color=BLUE, label="share that is right")
    kept = found.count > 0
    above.plot(found.confidence[kept].tolist(), found.accuracy[kept].tolist(), "o", ms=3, color="black")
    above.plot([0, 1], [0, 1], "--", color=ORANGE, linewidth=1.2, label="perfect calibration")
    above.set(ylabel="accuracy", ylim=(0, 1.02), title=f"expected calibration error {error:.3f}")
    above.legend(frameon=False, loc="upper left")
    below.bar(centres, found.count.tolist(), width, color=GREY)
    below.set(xlabel="confidence", ylabel="cases", xlim=(0, 1))
    plain_axes(above, below)
    save_figure(figure, path)


def draw_roc(truth: Tensor, probabilities: Tensor, classes: Sequence[str], path: Path) -> None:
    """Draw the ROC curve of each class against the others; of two classes the second alone, the first mirrors it.

    Args:
        truth: true classes, (cases,).
        probabilities: (cases, N), rows sum to one.
        classes: names of the N classes.
        path: the PNG file to write.
    """
    figure = new_figure(4.8, 4.6)
    axes = figure.subplots()
    for number in range(1 if len(classes) == 2 else 0, len(classes)):
        positive, scores = truth == number, probabilities[:, number]
        if not positive.any() or positive.all():
            axes.plot([], [], label=f"{classes[number]}: no curve, one class alone")
            continue
        area = auc(positive, scores)
        label = f"{classes[number]}: AUC {area.mean:.3f} [{area.low:.3f}, {area.high:.3f}]"
        false, true = roc_curve(positive, scores)
        axes.plot(false.tolist(), true.tolist(), linewidth=1.6, label=label, drawstyle="default")
    axes.plot([0, 1], [0, 1], "--", color=GREY, linewidth=1)
    axes.set(xlabel="1 - specificity", ylabel="sensitivity", xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    axes.legend(frameon=False, loc="lower right", fontsize=8)
    plain_axes(axes)
    save_figure(figure, path)

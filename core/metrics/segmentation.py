"""Scores of a segmented class in one case, by published protocols and by a strict one.

Protocols differ in what a missed or an invented object counts, so a score says little without the name of its protocol.
Several give a missed organ a distance of 0, which improves the mean; "strict" does not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from torch import Tensor

from ..errors import UserError
from ..messages import suggestion
from . import overlap, surface
from .overlap import Counts, as_mask, count
from .surface import Spacing, SurfaceDistances, check_masks, surface_distances

Scores = dict[str, float]
"""Values by the names of the measures; not-a-number where there is none, which leaves the case out of means."""

Rule = Callable[[Counts, SurfaceDistances | None, float, float], Scores]
"""Gives the scores from counts, distances (None where a mask is empty), the grid's diagonal and the NSD tolerance."""


def segmentation_scores(
    prediction: Tensor,
    truth: Tensor,
    protocol: str = "strict",
    spacing: Spacing = None,
    tolerance: float = 1.0,
) -> Scores:
    """Score a predicted mask of one class in one case.

    Args:
        prediction: (H, W) or (D, H, W), boolean, or 0 and not 0, on the grid of the truth.
        truth: the same shape.
        protocol: one of `PROTOCOLS`.
        spacing: distance between samples along each axis, such as millimetres; distances are in its unit. None counts
            samples, and so do the protocols in `COUNTS_SAMPLES` whatever it is.
        tolerance: distance within which a border counts as found in "nsd", in the unit of the spacing.

    Raises:
        UserError: an unknown protocol, masks of different sizes, or a spacing that does not fit them.
    """
    if protocol not in PROTOCOLS:
        raise UserError(f"there is no protocol {protocol!r}{suggestion(protocol, PROTOCOLS)}")
    check_masks(prediction, truth, spacing)
    steps = None if protocol in COUNTS_SAMPLES else spacing
    diagonal = math.hypot(*(size * step for size, step in zip(truth.shape, steps or [1.0] * truth.ndim, strict=True)))
    distances = None if protocol in WITHOUT_DISTANCES else surface_distances(prediction, truth, steps)
    return PROTOCOLS[protocol](count(prediction, truth), distances, diagonal, tolerance)


def class_scores(
    prediction: Tensor,
    truth: Tensor,
    classes: Mapping[int, str],
    protocol: str = "strict",
    spacing: Spacing = None,
    tolerance: float = 1.0,
) -> dict[str, Scores]:
    """Score every class of a label map in one case.

    Args:
        prediction: labels, (H, W) or (D, H, W), on the grid of the truth.
        truth: the same shape.
        classes: {label: name} of the classes that are scored; usually all but the background.
        protocol: as for `segmentation_scores`, like the other arguments.
        spacing: likewise.
        tolerance: likewise.

    Returns:
        {name of the class: its scores}.
    """
    return {
        name: segmentation_scores(as_mask(prediction, label), as_mask(truth, label), protocol, spacing, tolerance)
        for label, name in classes.items()
    }


def case_scores(scores: Mapping[str, Scores]) -> Scores:
    """Return what `class_scores` gave as the numbers of one case.

    These are the mean of every measure over the classes that have a value, such as "dice", and where there are several
    classes those of each, such as "dice_liver".
    """
    measures = next(iter(scores.values()))
    means = {measure: _mean([each[measure] for each in scores.values()]) for measure in measures}
    if len(scores) == 1:
        return means
    return means | {f"{measure}_{name}": each[measure] for name, each in scores.items() for measure in measures}


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan


def strict(counts: Counts, distances: SurfaceDistances | None, diagonal: float, tolerance: float) -> Scores:
    """Leave out what is empty in both; what is empty in one has no overlap and lies a diagonal away."""
    if counts.predicted == counts.true == 0:
        return dict.fromkeys(("dice", "iou", "hd95", "assd", "nsd"), math.nan)
    if distances is None:
        return {"dice": 0.0, "iou": 0.0, "hd95": diagonal, "assd": diagonal, "nsd": 0.0}
    return {
        "dice": overlap.dice(counts),
        "iou": overlap.iou(counts),
        "hd95": surface.hausdorff_95_pooled(distances),
        "assd": surface.average_distance_pooled(distances),
        "nsd": surface.surface_dice(distances, tolerance),
    }


def synapse2d(counts: Counts, distances: SurfaceDistances | None, diagonal: float, tolerance: float) -> Scores:
    """As TransUNet's script: an invented organ scores 1, everything else that is empty 0; distances of these are 0."""
    if distances is None:
        return {"dice": float(counts.true == 0 < counts.predicted), "hd95": 0.0}
    return {"dice": overlap.dice(counts), "hd95": surface.hausdorff_95_pooled(distances)}


def synapse3d(counts: Counts, distances: SurfaceDistances | None, diagonal: float, tolerance: float) -> Scores:
    """As nnFormer's script: empty in both scores 1; distances of what is empty in one or both are 0."""
    if distances is None:
        return {"dice": float(counts.true == counts.predicted == 0), "hd95": 0.0}
    return {"dice": overlap.dice(counts), "hd95": surface.hausdorff_95_pooled(distances)}


def lits_mpunet(counts: Counts, distances: SurfaceDistances | None, diagonal: float, tolerance: float) -> Scores:
    """As MPU-Net's evaluation: a small number in every denominator, so that empty in both scores 0.

    It prints the recall as precision and the negative predictive value as specificity; here each has its own name.
    """
    tp, fp, fn, tn = counts.tp, counts.fp, counts.fn, counts.tn
    ratios = {
        "dice": (2 * tp, counts.predicted + counts.true),
        "iou": (tp, tp + fp + fn),
        "accuracy": (tp + tn, tp + fp + fn + tn),
        "precision": (tp, tp + fp),
        "recall": (tp, tp + fn),
        "specificity": (tn, tn + fp),
        "npv": (tn, tn + fn),
    }
    square = (tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)
    scores = {name: part / (whole + 1e-7) for name, (part, whole) in ratios.items()}
    return scores | {"mcc": (tp * tn - fp * fn) / math.sqrt(square + 1e-7)}


def lits_challenge(counts: Counts, distances: SurfaceDistances | None, diagonal: float, tolerance: float) -> Scores:
    """As the LiTS 2017 challenge is described (not checked against its code): distances of pairs that are not empty.

    Its global Dice is `overlap.dice` of the `overlap.pooled` counts of all cases.
    """
    both_empty = counts.true == counts.predicted == 0
    scores = {"dice": 1.0 if both_empty else overlap.dice(counts)}
    if distances is None:
        return scores | dict.fromkeys(("assd", "hd", "rmsd"), math.nan)
    return scores | {
        "assd": surface.average_distance_pooled(distances),
        "hd": surface.hausdorff(distances),
        "rmsd": surface.root_mean_square_distance(distances),
    }


def monai(counts: Counts, distances: SurfaceDistances | None, diagonal: float, tolerance: float) -> Scores:
    """As MONAI's functions by default: overlaps of an absent class have no value; HD and ASSD of a missed one are inf.

    Its metric classes leave out what has no value, but not infinities.
    """
    absent = counts.true == 0
    scores = {
        "dice": math.nan if absent else overlap.dice(counts),
        "iou": math.nan if absent else overlap.iou(counts),
    }
    if distances is None:
        nothing = absent and counts.predicted == 0
        far, found = (math.nan, math.nan) if nothing else (math.inf, 0.0)
        return scores | {"hd": far, "hd95": math.nan, "assd": far, "nsd": found}
    return scores | {
        "hd": surface.hausdorff(distances),
        "hd95": surface.hausdorff_95_directed(distances),
        "assd": surface.average_distance_pooled(distances),
        "nsd": surface.surface_dice(distances, tolerance),
    }


PROTOCOLS: Mapping[str, Rule] = MappingProxyType(
    {
        "strict": strict,
        "synapse2d": synapse2d,
        "synapse3d": synapse3d,
        "acdc": synapse3d,
        "lits_mpunet": lits_mpunet,
        "lits_challenge": lits_challenge,
        "monai": monai,
    }
)
COUNTS_SAMPLES = ("synapse2d", "synapse3d", "acdc")
"""Protocols whose published numbers are distances in samples."""
DISTANCES = ("hd", "hd95", "assd", "rmsd")
"""Measures in the unit of the spacing."""
WITHOUT_DISTANCES = ("lits_mpunet",)

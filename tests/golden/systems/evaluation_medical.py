"""The evaluation of medical segmentation, by MedPy's and MONAI's definitions and by two published scripts."""

import math
from collections.abc import Callable

import numpy as np
import torch
from parity import Case
from torch import Tensor

from foveal.core.metrics import overlap, surface
from foveal.core.metrics.segmentation import segmentation_scores


def outputs(case: Case) -> dict[str, np.ndarray]:
    """Return every value of each pair of masks."""
    predictions, truths = (torch.from_numpy(masks) for masks in case.inputs)
    spacing = case.meta["config"].get("spacing")
    rows = [scores(*pair, spacing) for pair in zip(predictions, truths, strict=True)]
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def scores(prediction: Tensor, truth: Tensor, spacing: list[float] | None) -> dict[str, float]:
    """Return the values of one pair by the names of the case."""
    counts = overlap.count(prediction, truth)
    distances, samples = (surface.surface_distances(prediction, truth, steps) for steps in (spacing, None))
    monai, monai_voxel = (segmentation_scores(prediction, truth, "monai", steps) for steps in (spacing, None))
    found = {name: getattr(counts, name) for name in ("tp", "fp", "fn", "tn")}
    found |= {
        "dice_pair": overlap.dice(counts),
        "hd95_pooled": of(surface.hausdorff_95_pooled, distances),
        "hd95_pooled_voxel": of(surface.hausdorff_95_pooled, samples),
        "hd_pooled": of(surface.hausdorff, distances),
        "assd_pooled": of(surface.average_distance_pooled, distances),
        **{f"monai_{name}": value for name, value in monai.items()},
        "monai_hd95_voxel": monai_voxel["hd95"],
        **{f"monai_{name}_keep_empty": kept(getattr(overlap, name)(counts), counts) for name in ("dice", "iou")},
        "monai_sensitivity": overlap.sensitivity(counts),
        "monai_specificity": overlap.specificity(counts),
        "monai_precision": overlap.precision(counts),
        "monai_accuracy": overlap.accuracy(counts),
        "monai_negative_predictive_value": overlap.negative_predictive_value(counts),
        "monai_matthews_correlation_coefficient": overlap.matthews_correlation(counts),
        "monai_f1_score": overlap.dice(counts),
        "monai_threat_score": overlap.iou(counts),
    }
    for tolerance in (1, 2, 3, 4, 5):
        nsd = segmentation_scores(prediction, truth, "monai", spacing, tolerance)["nsd"]
        subvoxel = surface.surface_dice_subvoxel(prediction, truth, tolerance, spacing)
        found |= {f"monai_nsd_{tolerance}": nsd, f"monai_nsd_{tolerance}_subvoxel": subvoxel}
    for protocol in ("synapse2d", "synapse3d"):
        published = segmentation_scores(prediction, truth, protocol, spacing)
        found |= {f"{protocol}_{name}": value for name, value in published.items()}
    return found


def of(measure: Callable[[surface.SurfaceDistances], float], distances: surface.SurfaceDistances | None) -> float:
    """Return the measure, or not-a-number where there are no distances."""
    return math.nan if distances is None else measure(distances)


def kept(score: float, counts: overlap.Counts) -> float:
    """Return the score, 1 where both masks are empty."""
    return 1.0 if counts.true == counts.predicted == 0 else score

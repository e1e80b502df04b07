"""The six measures of polyp segmentation, exactly as PraNet's evaluation computes them.

Fan et al., MICCAI 2020, with the authors' MATLAB code. A prediction is an 8-bit map (H, W), a mask a boolean map of the
same size. Curves run over the 256 thresholds 1, 254/255, ..., 0 of the prediction stretched to 0..1.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from scipy import ndimage
from torch import Tensor

from .image import gaussian_window, quantise
from .interval import Interval, bootstrap

LEVELS = 256
EPSILON = torch.finfo(torch.float64).eps
MASK_THRESHOLD = 128  # of an 8-bit mask; the object lies above


@dataclass(frozen=True)
class SaliencyScores:
    """What is measured on one image.

    Attributes:
        dice: Dice at each threshold, (256,) float64; the other curves likewise.
        iou: intersection over union.
        e_measure: enhanced alignment (Fan et al. 2018).
        sensitivity: share of the object found.
        specificity: share of the background left out.
        weighted_f: weighted F with beta^2 = 1 (Margolin et al. 2014); 0 for an empty mask.
        s_measure: structure measure (Fan et al. 2017).
        mae: mean absolute error.
    """

    dice: Tensor
    iou: Tensor
    e_measure: Tensor
    sensitivity: Tensor
    specificity: Tensor
    weighted_f: float
    s_measure: float
    mae: float

    def row(self) -> dict[str, float]:
        """Return one number for each measure of this image, means over the thresholds where there are curves."""
        return {
            "mean_dice": self.dice.mean().item(),
            "mean_iou": self.iou.mean().item(),
            "weighted_f": self.weighted_f,
            "s_measure": self.s_measure,
            "mean_e": self.e_measure.mean().item(),
            "max_e": self.e_measure.max().item(),
            "mae": self.mae,
        }


def saliency_scores(prediction: Tensor, mask: Tensor) -> SaliencyScores:
    """Measure one image.

    Args:
        prediction: (H, W), uint8; or floating probabilities, which `display_map` makes 8-bit as the published protocol
            does before it measures.
        mask: (H, W), boolean; or uint8, with the object above 128.

    Raises:
        ValueError: the two are not maps of one size, or have no pixels.
    """
    if prediction.ndim != 2 or prediction.shape != mask.shape or prediction.numel() == 0:
        found = f"{tuple(prediction.shape)} and {tuple(mask.shape)}"
        raise ValueError(f"prediction and mask must be of one shape (H, W), not {found}")
    prediction = display_map(prediction) if prediction.is_floating_point() else prediction
    truth = (mask if mask.dtype == torch.bool else mask > MASK_THRESHOLD).cpu()
    stretched, level = stretch(prediction.cpu())
    tp, fp = counts_above(level, truth)
    objects, pixels = truth.sum(), truth.numel()
    tn = pixels - objects - fp
    found = tp > 0
    return SaliencyScores(
        dice=_ratio(2 * tp, tp + fp + objects, found),
        iou=_ratio(tp, fp + objects, found),
        e_measure=_e_measure(tp, fp, int(objects), pixels),
        sensitivity=_ratio(tp, objects.expand_as(tp), found),
        specificity=_ratio(tn, (pixels - objects).expand_as(tp), found),
        weighted_f=_weighted_f(stretched, truth),
        s_measure=_s_measure(stretched, truth),
        mae=(stretched - truth.double()).abs().mean().item(),
    )


def pooled_scores(
    scores: Sequence[SaliencyScores], groups: Sequence[str] | None = None, seed: int = 0
) -> dict[str, Interval]:
    """Return the measures of a set of images with 95% bootstrap intervals over images.

    All are means over the images but max E, which is the maximum of the mean curve, not the mean of the maxima.

    Args:
        scores: of each image; none give no measures.
        groups: the video or patient of each image, drawn as one; None where the images are independent.
        seed: of the draws.
    """
    if not scores:
        return {}
    rows = torch.tensor([list(each.row().values()) for each in scores], dtype=torch.float64)
    curves = torch.stack([each.e_measure for each in scores])
    names = list(scores[0].row())
    place = names.index("max_e")

    def pooled(cases: Tensor) -> Tensor:
        means = rows[cases].mean(dim=0)
        means[place] = curves[cases].mean(dim=0).max()
        return means

    return dict(zip(names, bootstrap(pooled, len(scores), groups, seed=seed), strict=True))


def display_map(probability: Tensor) -> Tensor:
    """Return the 8-bit map that the published protocol saves: stretched to 0..255 by its own extremes."""
    low, high = probability.aminmax()
    return quantise((probability - low) / (high - low + 1e-8))


def stretch(prediction: Tensor) -> tuple[Tensor, Tensor]:
    """Return an 8-bit map stretched to 0..1 by its extremes, float64, and its level: the thresholds k/255 it reaches.

    A constant map is left as it is. Levels are exact, computed from whole numbers.
    """
    levels = prediction.long()
    low, high = levels.aminmax()
    if low == high:
        low, high = torch.tensor(0), torch.tensor(LEVELS - 1)
    level = ((LEVELS - 1) * (levels - low)).div(high - low, rounding_mode="floor")
    return (levels - low).double() / (high - low), level


def counts_above(level: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """Return how many pixels inside and outside the object reach each threshold, (256,) int64, the highest first."""
    inside, outside = (torch.bincount(level[part], minlength=LEVELS) for part in (truth, ~truth))
    return inside.flip(0).cumsum(0), outside.flip(0).cumsum(0)


def _ratio(part: Tensor, whole: Tensor, found: Tensor) -> Tensor:
    """Return part / whole where anything was found and there is a whole, else 0."""
    return torch.where(found & (whole > 0), part.double() / whole.clamp(min=1), 0.0)


def _e_measure(tp: Tensor, fp: Tensor, objects: int, pixels: int) -> Tensor:
    """Return the enhanced alignment at each threshold from counts: it has one value for each of four kinds of pixel."""
    predicted, scale = (tp + fp).double(), pixels - 1 + EPSILON
    if objects == 0:
        return (pixels - predicted) / scale
    if objects == pixels:
        return predicted / scale
    share, truth_share = predicted / pixels, objects / pixels
    total = torch.zeros_like(share)
    for value, truth, count in (
        (1, 1, tp),
        (1, 0, fp),
        (0, 1, objects - tp),
        (0, 0, pixels - objects - fp),
    ):
        a, b = value - share, truth - truth_share
        total += count * (2 * a * b / (a * a + b * b + EPSILON) + 1) ** 2 / 4
    return total / scale


def _s_measure(prediction: Tensor, truth: Tensor) -> float:
    """Return the structure measure: half likeness of objects, half likeness of four regions around the centroid."""
    share = truth.double().mean().item()
    if share == 0:
        return 1 - prediction.mean().item()
    if share == 1:
        return prediction.mean().item()
    of_object, of_rest = _likeness(prediction[truth]), _likeness(1 - prediction[~truth])
    regions = _regions(prediction, truth)
    return max(0.0, 0.5 * (share * of_object + (1 - share) * of_rest) + 0.5 * regions)


def _likeness(values: Tensor) -> float:
    mean = values.mean()
    deviation = values.std() if len(values) > 1 else torch.zeros_like(mean)
    return (2 * mean / (mean**2 + 1 + deviation + EPSILON)).item()


def _regions(prediction: Tensor, truth: Tensor) -> float:
    """Return the similarity of four blocks, weighted by area, that meet at the object's centroid."""
    rows, columns = truth.nonzero().double().mean(dim=0).add(1.5).floor().int().tolist()  # from 1, halves up
    total = 0.0
    for vertical in (slice(None, rows), slice(rows, None)):
        for horizontal in (slice(None, columns), slice(columns, None)):
            block = truth[vertical, horizontal].double()
            total += block.numel() / truth.numel() * _similarity(prediction[vertical, horizontal], block)
    return total


def _similarity(x: Tensor, y: Tensor) -> float:
    """Return how like two blocks are in mean, contrast and structure; 0 for empty ones."""
    if x.numel() == 0:
        return 0.0
    mean_x, mean_y, scale = x.mean(), y.mean(), x.numel() - 1 + EPSILON
    variances = ((x - mean_x).square().sum() + (y - mean_y).square().sum()) / scale
    covariance = ((x - mean_x) * (y - mean_y)).sum() / scale
    alpha = (4 * mean_x * mean_y * covariance).item()
    beta = ((mean_x**2 + mean_y**2) * variances).item()
    if alpha != 0:
        return alpha / (beta + EPSILON)
    return 1.0 if beta == 0 else 0.0


def _weighted_f(prediction: Tensor, truth: Tensor) -> float:
    """Return the weighted F: errors count less beside other errors and more far from the object."""
    if not truth.any():
        return 0.0
    error = (prediction - truth.double()).abs()
    distance, (rows, columns) = ndimage.distance_transform_edt(~truth.numpy(), return_indices=True)
    dependent = _smoothed(error[torch.from_numpy(rows).long(), torch.from_numpy(columns).long()])
    least = torch.where(truth & (dependent < error), dependent, error)
    half_life = torch.log(torch.tensor(0.5, dtype=torch.float64)) / 5
    weighted = least * torch.where(truth, 1.0, 2 - torch.exp(half_life * torch.from_numpy(distance)))
    hits = truth.sum() - weighted[truth].sum()
    recall = 1 - weighted[truth].mean()
    precision = hits / (EPSILON + hits + weighted[~truth].sum())
    return (2 * recall * precision / (EPSILON + recall + precision)).item()


def _smoothed(error: Tensor) -> Tensor:
    """Filter with a Gaussian of 7x7 pixels, deviation 5; zeros beyond the border."""
    taps = gaussian_window(7, 5.0).numpy()
    rows = ndimage.correlate1d(error.numpy(), taps, axis=0, mode="constant")
    return torch.from_numpy(ndimage.correlate1d(rows, taps, axis=1, mode="constant"))

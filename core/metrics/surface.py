"""How far the borders of two masks lie from one another, in the units of the spacing.

The border of a mask are its samples that one erosion removes, with six neighbours in 3D and four in 2D; samples beyond
the grid are background, so that a mask that touches the edge has a border there. Masks are (H, W) or (D, H, W).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from scipy import ndimage
from scipy.spatial import KDTree
from torch import Tensor

from ..errors import UserError

Spacing = Sequence[float] | None
"""Distance between neighbouring samples along each axis; None counts samples."""


@dataclass(frozen=True)
class SurfaceDistances:
    """Distances of two borders to one another, float64; both masks had samples.

    Attributes:
        to_truth: from each border sample of the prediction to the nearest of the truth.
        to_prediction: from each border sample of the truth to the nearest of the prediction.
    """

    to_truth: Tensor
    to_prediction: Tensor

    @property
    def both(self) -> Tensor:
        """All distances, those of the prediction first."""
        return torch.cat([self.to_truth, self.to_prediction])


def surface_distances(prediction: Tensor, truth: Tensor, spacing: Spacing = None) -> SurfaceDistances | None:
    """Measure the distances of two masks' borders; None where a mask is empty, as there are none then.

    Raises:
        UserError: the shapes differ, or the spacing has not one positive number for each axis.
    """
    check_masks(prediction, truth, spacing)
    if not (prediction.any() and truth.any()):
        return None
    of_prediction, of_truth = (_border(mask, spacing) for mask in (prediction, truth))
    return SurfaceDistances(_nearest(of_prediction, of_truth), _nearest(of_truth, of_prediction))


def check_masks(prediction: Tensor, truth: Tensor, spacing: Spacing) -> None:
    """Refuse masks of different shapes and a spacing that does not fit them.

    Raises:
        UserError: says what differs.
    """
    if prediction.shape != truth.shape:
        found = f"{tuple(prediction.shape)} and {tuple(truth.shape)}"
        raise UserError(
            f"prediction and truth differ in size: {found}; bring the prediction to the truth's grid first."
        )
    if spacing is not None and (len(spacing) != truth.ndim or not all(each > 0 for each in spacing)):
        raise UserError(f"spacing must be {truth.ndim} positive numbers, one for each axis, not {tuple(spacing)}.")


def hausdorff(distances: SurfaceDistances) -> float:
    """Return the largest distance."""
    return distances.both.max().item()


def hausdorff_95_pooled(distances: SurfaceDistances) -> float:
    """Return the 95th percentile of all distances together (MedPy)."""
    return _percentile(distances.both, 0.95)


def hausdorff_95_directed(distances: SurfaceDistances) -> float:
    """Return the larger of the 95th percentiles of the two directions (MONAI)."""
    return max(_percentile(distances.to_truth, 0.95), _percentile(distances.to_prediction, 0.95))


def average_distance_pooled(distances: SurfaceDistances) -> float:
    """Return the mean of all distances together, ASSD (MONAI, MedPy from 0.5)."""
    return distances.both.mean().item()


def average_distance_of_means(distances: SurfaceDistances) -> float:
    """Return the mean of the two directions' means, ASSD (MedPy before 0.5)."""
    return ((distances.to_truth.mean() + distances.to_prediction.mean()) / 2).item()


def root_mean_square_distance(distances: SurfaceDistances) -> float:
    """Return the root of the mean square of all distances together."""
    return distances.both.square().mean().sqrt().item()


def surface_dice(distances: SurfaceDistances, tolerance: float) -> float:
    """Return the share of border samples nearer than a tolerance, NSD (Nikolov et al. 2018, without sub-voxels)."""
    equal = 1 + 1e-6  # a distance often equals the tolerance but for its last digit, which shall not decide
    return (distances.both <= tolerance * equal).double().mean().item()


def surface_dice_subvoxel(prediction: Tensor, truth: Tensor, tolerance: float, spacing: Spacing = None) -> float:
    """Return the share of surface area nearer than a tolerance, NSD with sub-voxels (Nikolov et al. 2018), by MONAI.

    0 where one mask is empty; not-a-number where both are.

    Raises:
        UserError: as `surface_distances`.
    """
    check_masks(prediction, truth, spacing)
    some = [bool(mask.any()) for mask in (prediction, truth)]
    if not all(some):
        return 0.0 if any(some) else math.nan
    from monai.metrics import compute_surface_dice  # slow to import, and needed for this alone

    predicted, true = (torch.stack([~mask.bool(), mask.bool()])[None] for mask in (prediction, truth))
    steps = None if spacing is None else [float(each) for each in spacing]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # MONAI's about arguments that it gives itself
        return compute_surface_dice(predicted, true, [tolerance], spacing=steps, use_subvoxels=True).item()


def _border(mask: Tensor, spacing: Spacing) -> Tensor:
    """Return where the border samples lie, (samples, axes), in the units of the spacing."""
    inside = mask.bool().cpu().numpy()
    border = torch.from_numpy(inside & ~ndimage.binary_erosion(inside))
    places = border.nonzero().double()
    return places if spacing is None else places * torch.tensor(list(spacing), dtype=torch.float64)


def _nearest(places: Tensor, others: Tensor) -> Tensor:
    return torch.from_numpy(KDTree(others.numpy()).query(places.numpy())[0])


def _percentile(values: Tensor, share: float) -> float:
    """Return a percentile, linear between order statistics; `torch.quantile` takes no more than 16 million values."""
    ordered = values.sort().values
    place = (len(ordered) - 1) * share
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return torch.lerp(ordered[low], ordered[high], place - low).item()

import math

import numpy as np
import pytest
import torch

from foveal.core.errors import UserError
from foveal.core.metrics import surface
from foveal.core.metrics.surface import SurfaceDistances, surface_dice_subvoxel, surface_distances

SPACING = (2.5, 0.8, 1.2)
MEASURES = (
    surface.hausdorff, surface.hausdorff_95_pooled, surface.hausdorff_95_directed,
    surface.average_distance_pooled, surface.average_distance_of_means, surface.root_mean_square_distance,
)  # fmt: skip


def blobs():
    """Two ellipsoids that overlap, one of them cut by the edge of the volume."""
    z, y, x = torch.meshgrid(*(torch.arange(size) for size in (9, 14, 12)), indexing="ij")
    one = ((z - 4) / 3) ** 2 + ((y - 6) / 5) ** 2 + ((x - 5) / 4) ** 2 < 1
    two = ((z - 5) / 3) ** 2 + ((y - 8) / 4) ** 2 + ((x - 8) / 5) ** 2 < 1
    return one, two


def written_out(prediction, truth, spacing):
    """All distances by the definition, sample by sample."""

    def border(mask):
        padded = np.pad(mask.numpy(), 1)
        return np.array([
            place
            for place in np.argwhere(mask.numpy())
            if not all(
                padded[tuple(place + 1 + step * np.eye(mask.ndim, dtype=int)[axis])]
                for axis in range(mask.ndim)
                for step in (-1, 1)
            )
        ])  # fmt: skip

    p, t = border(prediction), border(truth)
    between = np.linalg.norm((p[:, None] - t) * np.array(spacing or [1.0] * prediction.ndim), axis=-1)
    return between.min(1), between.min(0)


@pytest.mark.parametrize("spacing", [SPACING, None])
def test_distances_are_those_of_the_definition(spacing):
    found = surface_distances(*blobs(), spacing)
    for one, other in zip((found.to_truth, found.to_prediction), written_out(*blobs(), spacing), strict=True):
        assert sorted(one.tolist()) == pytest.approx(sorted(other))


def test_measures_are_those_of_numpy():
    d1, d2 = written_out(*blobs(), SPACING)
    both = np.concatenate([d1, d2])
    expected = [
        both.max(), np.percentile(both, 95), max(np.percentile(d1, 95), np.percentile(d2, 95)),
        both.mean(), (d1.mean() + d2.mean()) / 2, np.sqrt((both**2).mean()),
    ]  # fmt: skip
    found = surface_distances(*blobs(), SPACING)
    assert [measure(found) for measure in MEASURES] == pytest.approx(expected)
    assert surface.surface_dice(found, 1.7) == pytest.approx((both <= 1.7).mean())


def test_an_object_at_the_edge_has_a_border_there():
    whole = torch.ones(3, 4, dtype=torch.bool)
    inner = torch.zeros_like(whole)
    inner[1, 1:3] = True
    found = surface_distances(whole, inner)
    assert len(found.to_truth) == 10
    assert surface.hausdorff(found) == pytest.approx(math.sqrt(2))


def test_a_border_deep_inside_the_other_object_is_far_from_its_border():
    outer = torch.zeros(11, 11)
    outer[1:10, 1:10] = 1
    inner = torch.zeros(11, 11)
    inner[5, 5] = 1
    assert surface_distances(inner, outer).to_truth.tolist() == [4.0]


@pytest.mark.parametrize("measure", MEASURES)
def test_invariants(measure):
    one, two = blobs()
    value = measure(surface_distances(one, two, SPACING))
    assert measure(surface_distances(two, one, SPACING)) == pytest.approx(value)
    assert measure(surface_distances(one, two, [3 * step for step in SPACING])) == pytest.approx(3 * value)
    assert measure(surface_distances(one.flip(0, 2), two.flip(0, 2), SPACING)) == pytest.approx(value)
    turned = [each.permute(2, 0, 1) for each in (one, two)]
    assert measure(surface_distances(*turned, [SPACING[i] for i in (2, 0, 1)])) == pytest.approx(value)
    assert measure(surface_distances(one, one, SPACING)) == 0


def test_surface_dice_grows_to_one_at_the_hausdorff_distance():
    found = surface_distances(*blobs(), SPACING)
    values = [surface.surface_dice(found, tolerance) for tolerance in (0, 1, 2, 4, surface.hausdorff(found))]
    assert values == sorted(values)
    assert values[0] < values[1] < values[-1] == 1


def test_a_distance_that_equals_the_tolerance_is_within_it():
    one, other = torch.zeros(2, 30), torch.zeros(2, 30)
    one[0, 14], other[1, 16] = 1, 1
    found = surface_distances(one, other, (1.2, 0.8))
    assert surface.surface_dice(found, 2.0) == 1
    assert surface.surface_dice(found, 1.999) == 0


@pytest.mark.slow  # imports MONAI
def test_subvoxels():
    one, two = blobs()
    assert surface_dice_subvoxel(one, one, 0.0, SPACING) == 1
    plain = surface.surface_dice(surface_distances(one, two, SPACING), 2.0)
    found = surface_dice_subvoxel(one, two, 2.0, SPACING)
    assert found == pytest.approx(plain, abs=0.15)
    assert found != plain
    assert surface_dice_subvoxel(one, torch.zeros_like(one), 2.0, SPACING) == 0
    assert math.isnan(surface_dice_subvoxel(torch.zeros_like(one), torch.zeros_like(one), 2.0, SPACING))


def test_single_samples():
    one, other = torch.zeros(4, 5, 6), torch.zeros(4, 5, 6)
    one[0, 0, 0] = other[3, 4, 0] = 1
    found = surface_distances(one, other, SPACING)
    assert all(measure(found) == pytest.approx(math.hypot(3 * 2.5, 4 * 0.8)) for measure in MEASURES)


def test_empty_masks_have_no_distances():
    one, _ = blobs()
    none = torch.zeros_like(one)
    assert surface_distances(one, none) is surface_distances(none, one) is surface_distances(none, none) is None


def test_percentiles_of_more_values_than_quantile_takes():
    many = torch.arange(17_000_000, dtype=torch.float64)
    assert surface.hausdorff_95_pooled(SurfaceDistances(many, many[:0])) == pytest.approx(0.95 * (len(many) - 1))


@pytest.mark.parametrize("spacing", [(1.0, 2.0), (1.0, 2.0, 0.0)])
def test_spacing_that_does_not_fit_is_refused(spacing):
    with pytest.raises(UserError, match="3 positive numbers"):
        surface_distances(*blobs(), spacing)


def test_masks_of_different_sizes_are_refused():
    with pytest.raises(UserError, match="differ in size"):
        surface_distances(torch.ones(3, 4), torch.ones(4, 3))

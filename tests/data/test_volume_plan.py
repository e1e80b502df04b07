import json

import numpy as np
import pytest

from foveal.core.errors import UserError
from foveal.data.volume_checks import VolumeFacts
from foveal.data.volume_plan import (
    VolumePlan,
    largest_patch,
    median_shape,
    orientation_of,
    plan_volumes,
    target_spacing,
)


def facts(shape=(100, 100, 100), spacing=(1.0, 1.0, 1.0), orientation="SPL", samples=(0.0, 1.0), filled=1.0):
    return VolumeFacts(shape, spacing, orientation, (9, 1), filled, np.atleast_2d(np.array(samples, np.float32)))


def free(patch):
    return 0.0


def plan(cases, modality="CT", cost=free, **options):
    return plan_volumes(cases, modality, ("CT",), ("liver",), (4, 4, 4), cost, **options)


def test_spacing_is_the_median_along_the_axes_of_the_body():
    cases = [facts(spacing=(1, 2, 2.5)), facts(spacing=(1.2, 2, 2.5)), facts(spacing=(2.5, 2, 1.4), orientation="RAI")]
    assert target_spacing(cases, "SPL") == (1.2, 2, 2.5)
    assert target_spacing(cases, "LPS") == (2.5, 2, 1.2)


def test_a_coarse_axis_takes_the_tenth_percentile():
    cases = [facts((20, 512, 512), (depth, 0.7, 0.7)) for depth in (2.0, 3.0, 5.0, 5.0, 5.0)]
    assert target_spacing(cases, "SPL") == (2.4, 0.7, 0.7)


def test_a_coarse_axis_gets_no_finer_than_the_others():
    cases = [facts((20, 512, 512), (depth, 0.7, 0.7)) for depth in (0.3, 0.3, 5.0, 5.0, 5.0)]
    assert target_spacing(cases, "SPL") == (0.7, 0.7, 0.7)


@pytest.mark.parametrize(
    ("shape", "depth", "expected"),
    [((200, 512, 512), 2.1, 2.1), ((170, 512, 512), 2.1, 2.02), ((20, 512, 512), 2.0, 2.0)],
)
def test_an_axis_is_coarse_in_millimetres_and_voxels(shape, depth, expected):
    cases = [facts(shape, (each, 0.7, 0.7)) for each in (2.0, *[depth] * 4)]
    assert target_spacing(cases, "SPL")[0] == pytest.approx(expected, abs=0.03)


def test_axes_are_those_of_the_body_with_the_coarsest_first():
    assert orientation_of([facts(orientation="RAI")]) == "SPL"
    assert orientation_of([facts(spacing=(5, 1, 1))]) == "SPL"
    assert orientation_of([facts(spacing=(5, 1, 1), orientation="LSP")]) == "LSP"
    assert orientation_of([facts(spacing=(1, 5, 1), orientation="SAR")]) == "PSL"
    assert orientation_of([facts(spacing=(1, 2.9, 1), orientation="SAR")]) == "SPL"


def test_the_median_shape_is_that_after_resampling():
    cases = [facts((40, 50, 60), (3, 1, 1)), facts((40, 50, 60), (3, 1, 1)), facts((99, 99, 99))]
    assert median_shape(cases, "SPL", (2, 0.5, 1)) == (60, 100, 60)


def test_ct_is_scaled_by_the_voxels_of_objects():
    generator = np.random.default_rng(0)
    values = [generator.normal(50, 20, 5000) for _ in range(2)]
    made = plan([facts(samples=each) for each in values])
    together = np.concatenate(values)
    low, high = np.percentile(together, [0.5, 99.5])
    assert made.intensity == {"window": pytest.approx([low, high], abs=1e-2)}
    assert made.value_range == pytest.approx((low, high), abs=1e-2)
    assert made.mean == pytest.approx((together.mean(),), abs=1e-2)
    assert made.std == pytest.approx((together.std(),), abs=1e-2)


def test_a_window_goes_before_statistics():
    card = plan([facts()], window=(-200, 200)).card()
    assert (card.intensity, card.value_range, card.mean) == ({"window": [-200, 200]}, (-1, 1), ())


def test_mr_is_scaled_by_each_volume():
    assert plan([facts(), facts(), facts(filled=0.1)], "MR").card().intensity == {"zscore": True}
    assert plan([facts(filled=0.7), facts(filled=0.6)], "MR").card().intensity == {"zscore": "nonzero"}


def test_objects_of_one_value_are_told():
    with pytest.raises(UserError, match="have the value 3"):
        plan([facts(samples=[3, 3])])


def test_the_plan_survives_json_and_makes_a_card():
    made = plan([facts(), facts()])
    plain = json.loads(json.dumps(made.plain()))
    values = {name: tuple(each) if isinstance(each, list) else each for name, each in plain.items()}
    assert VolumePlan(**values) == made
    assert made.class_voxels == (18, 2)
    card = made.card()
    assert (card.tile, card.overlap) == (made.patch_size, tuple(side // 2 for side in made.patch_size))
    assert card.orientation == "SPL"


def test_what_is_given_goes_before_what_is_found():
    made = plan([facts()], spacing=(2.0, 1.0, 1.0), orientation="PSL", patch_size=(8, 16, 8))
    assert (made.spacing, made.orientation, made.patch_size) == ((2, 1, 1), "PSL", (8, 16, 8))
    assert made.median_shape == (50, 100, 100)


def test_a_patch_that_fits_covers_the_median_case():
    assert largest_patch((30, 50, 41), (1, 1, 1), (16, 8, 4), free) == (32, 56, 44)


def test_a_patch_is_no_larger_than_a_cube_of_millimetres():
    assert largest_patch((500, 4000, 4000), (4, 1, 1), (1, 1, 1), free) == (102, 406, 406)


def test_a_patch_shrinks_until_it_fits_and_keeps_the_shape_of_the_case():
    patch = largest_patch((96, 192, 192), (1, 1, 1), (16, 16, 16), lambda patch: np.prod(patch) / 64**3)
    assert patch == (32, 80, 96)
    assert np.prod(patch) <= 64**3


def test_sizes_that_a_network_refuses_are_passed_over():
    def cost(patch):
        return None if patch[1] % 32 else 0.5

    patch = largest_patch((16, 48, 16), (1, 1, 1), (16, 16, 16), cost)
    assert patch == (16, 32, 16)


def test_a_memory_that_nothing_fits_into_is_told():
    with pytest.raises(UserError, match=r"smallest patch, 4 x 4 x 4, does not fit into data.memory_mb"):
        largest_patch((20, 20, 20), (1, 1, 1), (4, 4, 4), lambda patch: 2.0)

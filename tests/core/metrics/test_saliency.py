import math

import numpy as np
import pytest
import torch

from foveal.core.metrics.saliency import (
    EPSILON,
    counts_above,
    display_map,
    pooled_scores,
    saliency_scores,
    stretch,
)

THRESHOLDS = [k / 255 for k in range(255, -1, -1)]


def example(seed=0, height=23, width=31):
    """A round object and a noisy prediction of it that uses all levels."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    mask = (rows - 9) ** 2 + (columns - 12) ** 2 < 40
    generator = torch.Generator().manual_seed(seed)
    noise = torch.rand(height, width, generator=generator)
    prediction = ((0.6 * mask + 0.4 * noise) * 255).round().to(torch.uint8)
    prediction[0, 0], prediction[0, 1] = 0, 255
    return prediction, mask


def test_curves_are_those_of_binary_maps():
    prediction, mask = example()
    found = saliency_scores(prediction, mask)
    truth = mask.numpy()
    for k, threshold in enumerate(THRESHOLDS):
        binary = prediction.numpy() / 255 >= threshold - 1e-12
        tp = (binary & truth).sum()
        assert found.dice[k] == pytest.approx(2 * tp / (binary.sum() + truth.sum()))
        assert found.iou[k] == pytest.approx(tp / (binary | truth).sum())
        assert found.sensitivity[k] == pytest.approx(tp / truth.sum())
        assert found.specificity[k] == pytest.approx((~binary & ~truth).sum() / (~truth).sum() if tp else 0)
        a, b = binary - binary.mean(), truth - truth.mean()
        align = 2 * a * b / (a * a + b * b + EPSILON)
        assert found.e_measure[k] == pytest.approx(((align + 1) ** 2 / 4).sum() / (truth.size - 1))


def test_perfect_prediction():
    _, mask = example()
    found = saliency_scores(mask * torch.tensor(255, dtype=torch.uint8), mask)
    assert found.dice[:-1].tolist() == [1.0] * 255  # at the threshold 0 everything is predicted
    assert found.weighted_f == pytest.approx(1)
    assert found.s_measure == pytest.approx(1)
    assert found.row()["max_e"] == pytest.approx(1, abs=2e-3)
    assert found.mae == 0


def test_a_prediction_is_stretched_and_a_constant_one_is_not():
    prediction, mask = example()
    weak = (prediction // 4 + 17).to(torch.uint8)
    strong = stretch(weak)[0]
    assert (strong.min(), strong.max()) == (0, 1)
    assert saliency_scores(weak, mask).mae == pytest.approx((strong - mask.double()).abs().mean().item())
    constant, level = stretch(torch.full((3, 4), 51, dtype=torch.uint8))
    assert constant.unique().tolist() == [0.2]
    assert level.unique().tolist() == [51]


def test_a_pixel_reaches_the_threshold_that_it_equals():
    inside, outside = counts_above(torch.tensor([0, 255, 100]), torch.tensor([True, True, False]))
    assert (inside[0], inside[254], inside[255]) == (1, 1, 2)
    assert (outside[154], outside[155]) == (0, 1)


def test_empty_mask():
    prediction, mask = example()
    found = saliency_scores(prediction, torch.zeros_like(mask))
    assert found.dice.sum() == found.iou.sum() == found.weighted_f == 0
    assert found.s_measure == pytest.approx(1 - prediction.double().mean().item() / 255)
    assert found.e_measure[0] == pytest.approx((mask.numel() - (prediction == 255).sum()) / (mask.numel() - 1))


def test_full_mask():
    prediction, mask = example()
    found = saliency_scores(prediction, torch.ones_like(mask))
    assert found.s_measure == pytest.approx(prediction.double().mean().item() / 255)
    assert found.specificity.sum() == 0
    assert found.e_measure[-1] == pytest.approx(mask.numel() / (mask.numel() - 1))


def test_single_pixel():
    prediction, mask = example()
    mask = torch.zeros_like(mask)
    mask[5, 6] = True
    assert all(math.isfinite(value) for value in saliency_scores(prediction, mask).row().values())
    one = saliency_scores(torch.tensor([[200]], dtype=torch.uint8), torch.tensor([[True]]))
    assert one.mae == pytest.approx(55 / 255)


def test_errors_far_from_the_object_cost_more_weighted_f():
    _, mask = example()
    near, far = mask.clone(), mask.clone()
    near[9, 19:22] = True
    far[9, 28:31] = True
    scores = [saliency_scores(each * torch.tensor(255, dtype=torch.uint8), mask) for each in (near, far)]
    assert scores[0].weighted_f > scores[1].weighted_f
    assert scores[0].mae == scores[1].mae


def test_s_measure_sees_structure_that_mean_error_does_not():
    _, mask = example()
    moved = torch.roll(mask, 4, dims=1)
    scattered = mask.clone()
    lost, wrong = (mask & ~moved).nonzero(), (~mask).nonzero()[:: (~mask).sum() // (mask & ~moved).sum()]
    scattered[tuple(lost.T)] = False
    scattered[tuple(wrong[: len(lost)].T)] = True
    scores = [saliency_scores(each * torch.tensor(255, dtype=torch.uint8), mask) for each in (moved, scattered)]
    assert scores[0].mae == pytest.approx(scores[1].mae)
    assert scores[0].s_measure != pytest.approx(scores[1].s_measure, abs=1e-3)


def test_centroid_between_two_pixels_is_rounded_up():
    mask = torch.zeros(8, 8, dtype=torch.bool)
    mask[1:3, 1:3] = True  # its centre is 2.5 counted from 1, so that the blocks meet after the third row and column
    prediction = torch.zeros(8, 8, dtype=torch.uint8)
    prediction[:3, :3] = 255
    regions = (64 - 9) / 64 * 1 + 9 / 64 * 0  # nothing in three blocks of both; no structure in the first
    expected = 0.5 * object_part(prediction, mask) + 0.5 * regions
    assert saliency_scores(prediction, mask).s_measure == pytest.approx(expected)


def object_part(prediction, mask):
    """The half of the S-measure that compares objects, by NumPy."""
    p, share = prediction.numpy() / 255, mask.double().mean().item()

    def likeness(values):
        return 2 * values.mean() / (values.mean() ** 2 + 1 + values.std(ddof=1))

    return share * likeness(p[mask.numpy()]) + (1 - share) * likeness(1 - p[~mask.numpy()])


def test_probabilities_are_displayed_before_they_are_measured():
    generator = torch.Generator().manual_seed(3)
    probability = 0.2 + 0.3 * torch.rand(9, 9, generator=generator)
    shown = display_map(probability)
    assert (shown.min(), shown.max(), shown.dtype) == (0, 255, torch.uint8)
    mask = torch.rand(9, 9, generator=generator) > 0.5
    assert saliency_scores(probability, mask).row() == saliency_scores(shown, mask).row()
    assert display_map(torch.full((2, 2), 0.7)).unique().tolist() == [0]


def test_masks_of_eight_bits_are_cut_above_128():
    prediction, mask = example()
    grey = torch.where(mask, 129, 128).to(torch.uint8)
    assert saliency_scores(prediction, grey).row() == saliency_scores(prediction, mask).row()


def test_a_set_is_pooled_with_intervals():
    scores = [saliency_scores(*example(seed)) for seed in range(6)]
    pooled = pooled_scores(scores)
    rows = [each.row() for each in scores]
    for name in ("mean_dice", "mean_iou", "weighted_f", "s_measure", "mean_e", "mae"):
        assert pooled[name].mean == pytest.approx(np.mean([row[name] for row in rows]))
        assert pooled[name].low <= pooled[name].mean <= pooled[name].high
    curve = torch.stack([each.e_measure for each in scores]).mean(0)
    assert pooled["max_e"].mean == pytest.approx(curve.max().item())
    assert pooled["max_e"].mean <= np.mean([row["max_e"] for row in rows])
    assert pooled["mae"].count == 6
    assert pooled_scores([]) == {}


def test_images_of_one_video_are_drawn_together():
    scores = [saliency_scores(*example(seed)) for seed in (0, 0, 0, 1, 2)]
    alone, grouped = pooled_scores(scores), pooled_scores(scores, ["a"] * 5)
    assert grouped["mae"].low == grouped["mae"].high == pytest.approx(alone["mae"].mean)
    assert alone["mae"].low < alone["mae"].high


def test_maps_of_different_sizes_are_refused():
    prediction, mask = example()
    with pytest.raises(ValueError, match="one shape"):
        saliency_scores(prediction, mask[1:])
    with pytest.raises(ValueError, match="one shape"):
        saliency_scores(prediction[None], mask[None])

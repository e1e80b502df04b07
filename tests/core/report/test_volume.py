"""Stacks of a volume: how large, how they lie, and what is on the sheet."""

import numpy as np
import pytest

from foveal.core.inference.arrays import ArraySource
from foveal.core.outlines import numbered
from foveal.core.report.volume import LARGEST, sheet_of, stack_shape, volume_exhibit

CLASSES = numbered(["one", "two", "absent"])


def stack_of(sheet: np.ndarray, facts: dict) -> np.ndarray:
    """Return the slices of a sheet, as the page takes them."""
    depth, height, width = facts["shape"]
    across = facts["columns"]
    return np.stack(
        [
            sheet[i // across * height : (i // across + 1) * height, i % across * width : (i % across + 1) * width]
            for i in range(depth)
        ]
    )


def shown(image: np.ndarray, truth: np.ndarray, orientation: str = "IPL", spacing=(1.0, 1.0, 1.0)):
    return volume_exhibit(ArraySource(image[None], spatial=3), {"truth": truth}, CLASSES, orientation, spacing)


def test_small_volumes_are_shown_voxel_by_voxel_however_they_are_stored():
    rng = np.random.default_rng(0)
    image, truth = rng.random((5, 6, 7), np.float32), rng.integers(0, 3, (5, 6, 7)).astype(np.uint8)
    expected = shown(image, truth)
    stored = (np.flip(each.transpose(2, 0, 1), (0, 1)) for each in (image, truth))
    found = shown(*map(np.ascontiguousarray, stored), "RSP", (3.0, 1.0, 2.0))
    assert found.facts["step_mm"] == [1.0, 2.0, 3.0]
    assert found.facts["classes"] == [["one", "#e63946"], ["two", "#2a9d8f"]]
    for title in ("image", "truth"):
        assert np.array_equal(found.pictures[title], expected.pictures[title])
    assert np.array_equal(stack_of(found.pictures["truth"], found.facts), truth)
    low, high = found.facts["values"]
    grey = stack_of(found.pictures["image"], found.facts) / 255 * (high - low) + low
    assert np.abs(grey - image.clip(low, high)).max() < 0.003


@pytest.mark.parametrize(("shape", "spacing"), [((512, 512, 512), (1, 1, 1)), ((30, 640, 640), (6, 0.5, 0.5))])
def test_large_volumes_become_as_small_as_they_must(shape, spacing):
    sizes = stack_shape(shape, spacing)
    assert 0.9 * LARGEST < np.prod(sizes) <= LARGEST
    steps = np.multiply(shape, spacing) / sizes
    assert steps[0] == pytest.approx(max(spacing[0], steps[1]), rel=0.02)


def test_a_large_volume_is_averaged_and_its_labels_are_kept():
    image = np.indices((200, 100, 100), np.float32).sum(axis=0)
    truth = np.zeros(image.shape, np.uint8)
    truth[50:150, 20:60, 30:70] = 2
    found = shown(image, truth)
    depth, height, width = found.facts["shape"]
    labels = stack_of(found.pictures["truth"], found.facts)
    assert set(np.unique(labels)) == {0, 1}
    assert (labels > 0).mean() == pytest.approx((truth > 0).mean(), rel=0.05)
    assert found.facts["step_mm"] == pytest.approx([200 / depth, 100 / height, 100 / width], abs=1e-3)
    grey = stack_of(found.pictures["image"], found.facts)
    assert 0 < np.diff(grey[:, 0, 0].astype(int)).max() <= 4


def test_an_empty_volume_is_shown():
    found = shown(np.zeros((3, 4, 5), np.float32), np.zeros((3, 4, 5), np.uint8))
    assert found.facts["classes"] == []
    assert found.facts["place"] == [1, 2, 2]


def test_slices_lie_row_by_row():
    assert sheet_of(np.arange(12).reshape(3, 2, 2)).tolist() == [
        [0, 1, 4, 5],
        [2, 3, 6, 7],
        [8, 9, 0, 0],
        [10, 11, 0, 0],
    ]

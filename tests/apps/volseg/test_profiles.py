"""Counting the voxels of a label map along its axes."""

import numpy as np
import pytest

from foveal.apps.volseg.profiles import profiles
from foveal.core.inference import windows


class Map:
    """Labels in memory."""

    def __init__(self, labels):
        self.labels = labels[None]
        self.shape = self.labels.shape

    def read(self, window):
        return self.labels[:, *window]


def random(classes=5):
    labels = np.random.default_rng(0).integers(0, classes, (6, 7, 8)).astype(np.uint8)
    labels[2] = 0
    labels[:, :2] = 0
    labels[:, :, -3:] = 0
    return labels


@pytest.mark.parametrize("slab", [1, 200, 1 << 20])
def test_counts_are_those_of_each_slice(monkeypatch, slab):
    monkeypatch.setattr(windows, "SLAB", slab)
    labels = random()
    found = profiles(Map(labels), 6)
    for axis, counts in enumerate(found.along):
        slices = np.moveaxis(labels, axis, 0)
        assert np.array_equal(counts, [[(each == value).sum() for each in slices] for value in range(6)])


def test_facts_of_a_class_follow_from_the_counts():
    labels = random()
    found = profiles(Map(labels), 6)
    places = np.argwhere(labels == 3)
    assert found.voxels(3) == len(places)
    assert found.centroid(3) == pytest.approx(tuple(places.mean(axis=0)))
    assert found.box(3) == tuple(slice(low, high + 1) for low, high in zip(places.min(0), places.max(0), strict=True))
    assert found.slices(3).tolist() == sorted({int(each) for each in places[:, 0]})


def test_a_class_that_is_not_there_has_no_place():
    found = profiles(Map(random()), 6)
    assert (found.voxels(5), found.centroid(5), found.box(5)) == (0, None, None)
    assert not len(found.slices(5))


def test_the_busiest_slices_hold_most_of_all_classes():
    labels = random()
    expected = [int((np.moveaxis(labels, axis, 0) > 0).sum(axis=(1, 2)).argmax()) for axis in range(3)]
    assert profiles(Map(labels), 5).busiest() == tuple(expected)
    assert profiles(Map(np.zeros((5, 6, 7), np.uint8)), 2).busiest() == (2, 3, 3)

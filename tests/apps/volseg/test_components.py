"""Removing components from a label map in slabs."""

import numpy as np
import pytest
from scipy import ndimage

from foveal.apps.volseg.components import remove_components
from foveal.apps.volseg.profiles import profiles
from foveal.core.inference import windows
from foveal.data.io.spool import Spool

SHAPE = (23, 20, 21)


def spooled(folder, labels):
    spool = Spool(folder / "labels", (1, *labels.shape), np.dtype(np.uint8))
    spool.write(tuple(slice(0, size) for size in labels.shape), labels[None])
    return spool


def blobs(seed=0, classes=4):
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal(SHAPE), 1)
    return np.digitize(noise, np.quantile(noise, [0.55, 0.7, 0.85])[: classes - 1]).astype(np.uint8)


def whole(labels, value, only_largest, smallest):
    """The same on an array in memory."""
    parts, _ = ndimage.label(labels == value, np.ones((3, 3, 3)))
    sizes = np.bincount(parts.ravel())
    kept = sizes >= smallest
    if only_largest:
        kept &= np.arange(len(sizes)) == 1 + sizes[1:].argmax()
    kept[0] = True
    return np.where(kept[parts], labels, 0), int((~kept).sum())


@pytest.mark.parametrize("slab", [1, 3 * 20 * 21, 1 << 20])
@pytest.mark.parametrize(("only_largest", "smallest"), [(True, 0), (False, 9), (True, 10**6)])
def test_slabs_give_what_the_whole_map_gives(tmp_path, monkeypatch, slab, only_largest, smallest):
    monkeypatch.setattr(windows, "SLAB", slab)
    labels = blobs()
    spool = spooled(tmp_path, labels)
    for value in (1, 2, 3):
        expected, removed = whole(labels, value, only_largest, smallest)
        box = profiles(spool, 4).box(value)
        assert remove_components(spool, value, box, only_largest, smallest) == removed
        labels = expected
    assert np.array_equal(spool.rows(0, len(labels))[0], labels)
    assert not only_largest or all(whole(labels, value, True, 0)[1] == 0 for value in (1, 2, 3) if value in labels)


def test_parts_that_meet_in_a_later_slab_are_one(tmp_path, monkeypatch):
    monkeypatch.setattr(windows, "SLAB", 1)
    labels = np.zeros((9, 7, 7), np.uint8)
    labels[:7, 1, 1] = labels[:7, 5, 5] = 1
    labels[6, 1:6, 3] = labels[6, 1, 1:4] = labels[6, 5, 3:6] = 1  # a U, upside down
    labels[8, 0, 6] = 1
    spool = spooled(tmp_path, labels)
    assert remove_components(spool, 1, (slice(0, 9), slice(0, 7), slice(0, 7)), only_largest=True) == 1
    labels[8, 0, 6] = 0
    assert np.array_equal(spool.rows(0, 9)[0], labels)


def test_an_interrupted_removal_done_again_gives_the_same_map(tmp_path, monkeypatch):
    monkeypatch.setattr(windows, "SLAB", 2 * 20 * 21)
    labels = blobs(3)
    expected, _ = whole(labels, 2, True, 0)
    box = tuple(slice(0, size) for size in SHAPE)
    for stops_at in (1, 3, 6):
        spool = spooled(tmp_path, labels)
        written, left = spool.write, iter(range(stops_at))

        def write(window, values, written=written, left=left):
            if next(left, None) is None:
                raise KeyboardInterrupt
            written(window, values)

        spool.write = write
        with pytest.raises(KeyboardInterrupt):
            remove_components(spool, 2, box, only_largest=True)
        spool.write = written
        remove_components(spool, 2, box, only_largest=True)
        assert np.array_equal(spool.rows(0, len(labels))[0], expected)
        spool.delete()


def test_of_equal_components_the_first_stays(tmp_path):
    labels = np.zeros((3, 5, 5), np.uint8)
    labels[2, 4, 4] = labels[0, 2, 2] = 3
    spool = spooled(tmp_path, labels)
    assert remove_components(spool, 3, (slice(0, 3), slice(0, 5), slice(0, 5)), only_largest=True) == 1
    assert spool.rows(0, 3)[0].nonzero() == ([0], [2], [2])

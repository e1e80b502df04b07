import os

import numpy as np
import pytest

from foveal.core.errors import UserError
from foveal.data import volume_cache
from foveal.data.volume_cache import VolumeCache, places_of
from foveal.data.volume_plan import plan_volumes

from ..fixtures.volumes import SPACING, arrays, save, write_pairs


def cache(folder, relabel=None, classes=3):
    return VolumeCache(folder / "cache", 1, classes, relabel or {})


def card(facts, **options):
    options = {"spacing": SPACING[::-1], "orientation": "SPL", "patch_size": (4, 4, 4)} | options
    return plan_volumes([facts], "MR", ("MR",), ("a", "b"), (4, 4, 4), lambda patch: 0.0, **options).card()


def test_a_case_is_turned_normalised_and_kept(tmp_path):
    case = write_pairs(tmp_path, 1).cases()[0]
    store = cache(tmp_path)
    volume = store.prepared(case, card(store.facts(case)))
    values, labels = arrays(0)
    assert np.array_equal(volume.labels, labels.T[:, ::-1, ::-1])  # stored SAR
    turned = values.T[:, ::-1, ::-1]
    assert np.allclose(volume.image[0], (turned - turned.mean()) / turned.std(), atol=1e-5)
    assert (volume.image.dtype, volume.labels.dtype) == (np.float32, np.uint8)
    assert isinstance(volume.image, np.memmap)
    number, *place = volume.places.T
    assert np.array_equal(volume.labels[tuple(place)], number)
    assert len(number) == (labels > 0).sum()


def test_nothing_is_read_twice(tmp_path, monkeypatch):
    case = write_pairs(tmp_path, 1).cases()[0]
    first = cache(tmp_path).facts(case)
    whole = cache(tmp_path).prepared(case, card(first))
    for name in ("check_volume", "open_volume", "open_labels"):
        monkeypatch.setattr(volume_cache, name, None)
    again = cache(tmp_path).facts(case)
    assert (again.shape, again.spacing, again.counts) == (first.shape, first.spacing, first.counts)
    assert np.array_equal(again.samples, first.samples)
    kept = cache(tmp_path).prepared(case, card(again))
    assert all(np.array_equal(*pair) for pair in zip(whole, kept, strict=True))


def test_what_changed_is_made_anew(tmp_path):
    case = write_pairs(tmp_path, 1).cases()[0]
    store = cache(tmp_path)
    facts = store.facts(case)
    before = store.prepared(case, card(facts))
    assert store.prepared(case, card(facts, orientation="SPR")).image.tolist() != before.image.tolist()
    assert store.prepared(case, card(facts, spacing=(3, 2, 2))).labels.shape == (5, 7, 8)
    assert cache(tmp_path, {2: 1}, 2).prepared(case, card(facts)).labels.max() == 1
    values, labels = arrays(7)
    save(values, case.images[0])
    save(labels, case.label)
    for path in (case.images[0], case.label):
        os.utime(path, (1, 1))
    assert store.facts(case).counts == tuple(np.bincount(labels.ravel()))
    assert np.array_equal(store.prepared(case, card(facts)).labels, labels.T[:, ::-1, ::-1])


def test_of_large_objects_some_places_are_kept(monkeypatch):
    monkeypatch.setattr(volume_cache, "PLACES", 5)
    labels = np.zeros((6, 6, 6), np.uint8)
    labels[:3], labels[5, 5] = 2, 3
    places = places_of(labels)
    assert places[:, 0].tolist() == [2] * 5 + [3] * 5
    assert len(np.unique(places, axis=0)) == 10
    assert all(labels[tuple(place)] == number for number, *place in places)
    assert np.array_equal(places, places_of(labels))


def test_a_case_without_objects_has_no_places():
    assert places_of(np.zeros((2, 2, 2), np.uint8)).shape == (0, 4)


def test_a_missing_file_is_told(tmp_path):
    case = write_pairs(tmp_path, 1).cases()[0]
    case.label.unlink()
    with pytest.raises(UserError, match=r"case0.nii.gz: there is no such file"):
        cache(tmp_path).facts(case)

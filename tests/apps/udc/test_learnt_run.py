import numpy as np
import torch

from foveal.apps.udc import learnt_run
from foveal.apps.udc.learnt_run import WithDraws, run_learnt, whole_gains
from foveal.apps.udc.models.mpgnet import MPGNet
from foveal.core.inference.arrays import ArraySink, ArraySource
from foveal.core.weights.card import Card

NETWORK = {"class_path": f"{MPGNet.__module__}.MPGNet"}
CARD = Card(name="m", app="udc", network=NETWORK, size_multiple=4, smallest_size=8, tile=256, overlap=64)


def picture(height, width):
    return np.random.default_rng(0).random((3, height, width), np.float32)


def net():
    torch.manual_seed(0)
    return MPGNet("toled", width=4).eval()


def simulated(x, tile, seed=(0, 1)):
    sink = ArraySink(x.shape[1:])
    run_learnt(net(), CARD, ArraySource(x), sink, seed, tile=tile)
    return sink.array


def test_tiles_join_to_the_whole_picture():
    x = picture(150, 300)
    whole, tiled = simulated(x, "whole"), simulated(x, 128)
    assert np.abs(whole - tiled).max() < 1e-3 * np.abs(whole).std()


def test_the_seed_decides_the_noise():
    x = picture(16, 20)
    first, again, other = (simulated(x, "whole", seed) for seed in ((0, 1), (0, 1), (0, 2)))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_gains_are_told_from_the_whole_picture_band_by_band(monkeypatch):
    monkeypatch.setattr(learnt_run, "BAND", 64)
    module = net().attenuation
    module.gain[2].bias.data += 1
    for height in (8, 64, 65, 300):
        x = picture(height, 100)
        with torch.inference_mode():
            expected = module(torch.from_numpy(x)[None])
        assert torch.allclose(whole_gains(module, ArraySource(x)), expected, atol=1e-6)


def test_a_place_has_the_same_draws_in_every_window():
    drawn = WithDraws(ArraySource(picture(150, 140)), 4, (3, 4))
    whole = drawn.read((slice(0, 150), slice(0, 140)))
    assert drawn.shape == whole.shape == (15, 150, 140)
    assert np.array_equal(drawn.read((slice(60, 130), slice(70, 140))), whole[:, 60:130, 70:140])
    normal, uniform = whole[3:7], whole[7:]
    assert abs(normal.mean()) < 0.02
    assert abs(normal.std() - 1) < 0.02
    assert 0 <= uniform.min() < 0.01
    assert 0.99 < uniform.max() < 1

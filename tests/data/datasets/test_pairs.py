import os

import numpy as np
import pytest
import torch
from PIL import Image

from foveal.core.blocks.resampling import bicubic_resize
from foveal.core.errors import UserError
from foveal.data.datasets.cache import PixelCache
from foveal.data.datasets.pairs import Pair, PairImages, PatchDataset, WholeDataset
from foveal.data.io.image import write_image
from foveal.data.transforms import PairAugmentation


def photograph(path, width, height, mode="RGB"):
    """A smooth seeded picture, so that its reduction is predictable."""
    channels = len(mode)
    coarse = np.random.default_rng(0).integers(0, 255, (height // 8 + 1, width // 8 + 1, channels), dtype=np.uint8)
    image = Image.fromarray(coarse if channels > 1 else coarse[..., 0], mode)
    image.resize((width, height), Image.Resampling.BICUBIC).save(path)
    return path


def images(tmp_path, pairs, scale=2, channels=3):
    return PairImages(pairs, scale, channels, PixelCache(tmp_path / "cache"))


def test_the_low_side_is_the_rounded_bicubic_of_the_cropped_image(tmp_path):
    path = photograph(tmp_path / "a.png", 41, 31)
    low, high = images(tmp_path, [Pair("a", path)])[0]
    assert high.shape == (3, 30, 40)
    expected = bicubic_resize(torch.from_numpy(high.astype(np.float32)), 0.5).clamp(0, 255).round().numpy()
    assert np.array_equal(low, expected.astype(np.uint8))


def test_grey_is_repeated_for_a_colour_network(tmp_path):
    path = photograph(tmp_path / "grey.png", 24, 24, "L")
    _, high = images(tmp_path, [Pair("grey", path)])[0]
    assert high.shape == (3, 24, 24)
    assert np.array_equal(high[0], high[2])


def test_colour_is_refused_by_a_grey_network(tmp_path):
    path = photograph(tmp_path / "colour.png", 24, 24)
    with pytest.raises(UserError, match=r"colour\.png has 3 channels; the network takes 1"):
        images(tmp_path, [Pair("colour", path)], channels=1)[0]


def test_a_changed_file_is_decoded_anew(tmp_path):
    path = photograph(tmp_path / "a.png", 24, 24)
    pairs = images(tmp_path, [Pair("a", path)])
    before = np.array(pairs[0][1])
    Image.new("RGB", (24, 24), (7, 7, 7)).save(path)
    os.utime(path, ns=(1, 1))
    assert not np.array_equal(before, pairs[0][1])
    assert pairs[0][1].max() == 7


def test_sizes_that_do_not_fit_the_scale_are_refused(tmp_path):
    high, low = photograph(tmp_path / "high.png", 40, 40), photograph(tmp_path / "low.png", 16, 16)
    with pytest.raises(UserError, match=r"high\.png is 40x40 and .*low\.png is 16x16: not a pair at x2"):
        images(tmp_path, [Pair("a", high, low)])[0]


def test_patches_are_aligned(tmp_path):
    path = photograph(tmp_path / "a.png", 64, 48)
    dataset = PatchDataset(images(tmp_path, [Pair("a", path)]), 12, 0, PairAugmentation())
    for number in range(8):
        low, high = dataset[number]
        assert low.shape == (3, 12, 12)
        assert high.shape == (3, 24, 24)
        inner = (slice(None), slice(3, -3), slice(3, -3))  # near its border a reduced patch lacks its neighbours
        assert torch.allclose(bicubic_resize(high, 0.5).clamp(0, 1)[inner], low[inner], atol=1.1 / 255)


def test_a_patch_is_a_pure_function_of_seed_and_number(tmp_path):
    pairs = images(tmp_path, [Pair("a", photograph(tmp_path / "a.png", 64, 48))])
    one, same, other = (PatchDataset(pairs, 12, seed, PairAugmentation()) for seed in (0, 0, 1))
    assert torch.equal(one[5][0], same[5][0])
    assert not torch.equal(one[5][0], one[6][0])
    assert not torch.equal(one[5][0], other[5][0])


def test_an_image_smaller_than_the_patch_is_named(tmp_path):
    dataset = PatchDataset(
        images(tmp_path, [Pair("s", photograph(tmp_path / "small.png", 20, 20))]), 12, 0, PairAugmentation()
    )
    with pytest.raises(UserError, match=r"small\.png is smaller than a training patch \(24 pixels\)"):
        dataset[0]


def test_sixteen_bits_keep_their_depth(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 65535, (3, 16, 16), dtype=np.uint16)
    path = tmp_path / "deep.png"
    write_image(path, pixels)
    case = WholeDataset({"set": images(tmp_path, [Pair("deep", path)])})[0]
    assert np.array_equal((case["high"].numpy() * 65535).round().astype(np.uint16), pixels)
    assert case["name"] == "deep"
    assert case["set"] == "set"

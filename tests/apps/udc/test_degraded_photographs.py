import numpy as np
import pytest
import torch

from foveal.apps.udc.degraded_photographs import DegradedPhotographs
from foveal.apps.udc.physics import Panel, UnderDisplay
from foveal.core.errors import UserError
from foveal.data.datasets.pairs import Pair
from foveal.data.io.image import write_image

NOISELESS = UnderDisplay(
    Panel("stripes", 0.3, 168.0, (0.2, 0.2, 0.2), 5.0), electrons=1e12, read_noise=0.0, bits=16, reach=4
)
NOISY = UnderDisplay("toled", reach=4)


@pytest.fixture
def photographs(tmp_path):
    made = []
    for number, channels in enumerate((3, 1)):
        pixels = np.random.default_rng(number).integers(0, 255, (channels, 24, 30), dtype=np.uint8)
        write_image(tmp_path / f"{number}.png", pixels)
        made.append(Pair(str(number), tmp_path / f"{number}.png"))
    return made


def dataset(photographs, model=NOISY, **options):
    return DegradedPhotographs(photographs, model, cache=photographs[0].high.parent / "cache", **options)


def test_a_crop_is_a_part_of_its_degraded_photograph(photographs):
    data = dataset(photographs, NOISELESS, patch=8)
    whole_clean, whole_degraded = data.whole(0)
    clean, degraded = data[4]
    windows = whole_clean.unfold(1, 8, 1).unfold(2, 8, 1)
    (top, left), *others = (windows == clean[:, None, None]).all((0, 3, 4)).nonzero().tolist()
    assert not others
    part = whole_degraded[:, top : top + 8, left : left + 8]
    assert torch.allclose(degraded, part, atol=1e-4)
    alone = torch.from_numpy(NOISELESS(clean.numpy(), 0))
    assert (alone - part).abs().max() > 0.01


def test_a_crop_follows_from_the_seed_and_its_number(photographs):
    first, again, other_seed = (
        dataset(photographs, patch=8),
        dataset(photographs, patch=8),
        dataset(photographs, seed=1),
    )
    other_seed.patch = 8
    for left, right in zip(first[3], again[3], strict=True):
        assert torch.equal(left, right)
    assert not torch.equal(first[3][0], other_seed[3][0])
    assert not torch.equal(first[3][0], first[5][0])


def test_each_crop_has_noise_of_its_own_and_a_whole_photograph_the_same(photographs):
    data = dataset(photographs, patch=24)
    data.photographs = [Pair("0", photographs[0].high)]
    with_noise = {tuple(data[number][1].flatten().tolist()) for number in range(3)}
    assert len(with_noise) == 3
    assert torch.equal(data.whole(0)[1], data.whole(0)[1])


def test_grey_photographs_have_three_channels(photographs):
    clean, degraded = dataset(photographs, patch=8)[1]
    assert clean.shape == degraded.shape == (3, 8, 8)
    assert torch.equal(clean[0], clean[2])


def test_a_photograph_smaller_than_a_crop_is_refused(photographs):
    with pytest.raises(UserError, match=r"0\.png: is smaller than a crop of 25 pixels"):
        dataset(photographs, patch=25)[0]

import numpy as np
import pytest
from PIL import Image
from skimage.color import rgb2hed

from foveal.apps.wsi.encoders import open_encoder
from foveal.apps.wsi.stained_bags import BORDER, SIDE, StainedBags
from foveal.core.errors import UserError
from foveal.data.samples import sample_photograph


@pytest.fixture(scope="module")
def brown():
    return rgb2hed(np.asarray(Image.open(sample_photograph("ihc.png")).convert("RGB")))[..., 2] > 0.05


@pytest.mark.parametrize("part", ["train", "validation"])
def test_labels_follow_the_rule_and_sides_do_not_overlap(part, brown):
    bags = StainedBags(part, bags=6).bags()
    assert [bag.label for bag in bags] == ["stroma", "gland"] * 3
    for bag in bags:
        x = bag.features.coords[:, 0]
        assert (x + SIDE <= BORDER).all() if part == "train" else (x >= BORDER).all()
        shares = np.array([brown[b : b + SIDE, a : a + SIDE].mean() for a, b in bag.features.coords])
        glands = int((shares >= 0.5).sum())
        assert glands in ((1, 2, 3) if bag.label == "gland" else (0,))
        assert (shares <= 0.05).sum() == 20 - glands
        assert len({*map(tuple, bag.features.coords)}) == 20


def test_features_are_those_of_the_encoder():
    features = StainedBags(bags=2).bags()[0].read()
    encoder = open_encoder("colour-texture")
    assert features.values.shape == (20, encoder.dim)
    assert features.facts == {"encoder": encoder.name, "encoder_digest": encoder.digest, "patch_size": SIDE}


def test_draws_follow_from_the_seed():
    def corners(seed):
        return np.stack([bag.features.coords for bag in StainedBags(bags=4, seed=seed).bags()])

    assert np.array_equal(corners(1), corners(1))
    assert not np.array_equal(corners(1), corners(2))


def test_impossible_numbers_are_refused():
    for options in ({"bags": 1}, {"tiles": 3}, {"tiles": 500}):
        with pytest.raises(UserError, match="at least 2 bags of 4 to 50 tiles"):
            StainedBags(**options)

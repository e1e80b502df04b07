import numpy as np
import torch

from foveal.apps.cloudremoval.pictures import alike_pictures


def test_all_are_stretched_as_the_last_asks():
    ramp = torch.linspace(0, 1, 101).expand(4, 5, 101)
    first, last = alike_pictures([ramp + 0.5, ramp])
    assert last.dtype == np.uint8
    assert last.shape == (5, 101, 3)
    assert last[0, [0, 50, 100], 0].tolist() == [0, 128, 255]
    assert first[0, 0, 0] == 128
    assert first[0, 100, 0] == 255


def test_a_single_band_is_grey_and_a_flat_image_is_no_error():
    (picture,) = alike_pictures([torch.full((1, 4, 4), 0.3)])
    assert picture.shape == (4, 4, 3)
    assert len(np.unique(picture)) == 1

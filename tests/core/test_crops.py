import numpy as np
import torch

from foveal.core.crops import detailed_crops


def test_the_same_square_of_each_image_is_shown_where_the_truth_has_detail():
    truth = torch.full((3, 64, 96), 0.5)
    truth[:, 40:56, 8:24] = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(0))
    other = torch.rand(3, 64, 96, generator=torch.Generator().manual_seed(1))
    shown, beside = detailed_crops([truth, other], truth, side=16)
    assert np.array_equal(shown, (truth[:, 40:56, 8:24] * 255).round().byte().permute(1, 2, 0).numpy())
    assert np.array_equal(beside, (other[:, 40:56, 8:24] * 255).round().byte().permute(1, 2, 0).numpy())


def test_an_image_smaller_than_the_square_is_shown_whole_grey_as_colour_and_clipped():
    image = torch.tensor([[[-1.0, 0.5, 2.0]]])
    (shown,) = detailed_crops([image], image, side=8)
    assert np.array_equal(shown, [[[0] * 3, [128] * 3, [255] * 3]])

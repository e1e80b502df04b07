import torch
import torch.nn.functional as F

from foveal.apps.polyp.multiscale import resized


def test_the_published_sizes():
    image = torch.rand(2, 3, 352, 352)
    assert [resized(image, ratio).shape[2:] for ratio in (0.75, 1.0, 1.25)] == [
        (side, side) for side in (256, 352, 448)
    ]


def test_corners_stay_and_masks_become_soft():
    mask = (torch.rand(1, 1, 64, 96) > 0.5).float()
    found = resized(mask, 1.25)
    assert found.shape == (1, 1, 64, 128)  # 80 pixels are rounded to even multiples
    assert torch.equal(found[..., [0, -1]][:, :, [0, -1]], mask[..., [0, -1]][:, :, [0, -1]])
    assert torch.equal(found, F.interpolate(mask, (64, 128), mode="bilinear", align_corners=True))
    assert ((found > 0) & (found < 1)).any()


def test_the_same_size_is_the_same_map_and_no_size_is_lost():
    x = torch.rand(1, 1, 32, 64)
    assert resized(x, 1.0) is x
    assert resized(x, 0.25).shape == (1, 1, 32, 32)
    assert resized(x, 1.5, multiple=1).shape == (1, 1, 48, 96)

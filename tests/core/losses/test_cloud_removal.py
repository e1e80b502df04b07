import pytest
import torch

from foveal.core.losses.cloud_removal import CloudRemovalLoss


def tensors(bands=3):
    image, truth = torch.zeros(2, bands, 4, 5), torch.full((2, bands, 4, 5), 0.5)
    masks, taught = torch.zeros(2, 3, 1, 4, 5), torch.zeros(2, 3, 1, 4, 5)
    taught[:, 1] = 0.5
    auxiliary = torch.full((2, 3, 4, 4, 5), 0.5)
    auxiliary[:, 2] = 0.25
    auxiliary[:, :, 3] = 9.0  # a band that the truth has not
    return image, truth, masks, taught, auxiliary


def test_terms_by_hand():
    assert CloudRemovalLoss()(*tensors()[:4]).item() == pytest.approx(100 * 0.5 + 0.25)
    assert CloudRemovalLoss(1.0, 2.0)(*tensors()).item() == pytest.approx(0.5 + 2 * 0.25)


def test_auxiliary_images_count_where_wanted_in_the_bands_of_the_truth():
    assert CloudRemovalLoss(0.0, 0.0, 50.0)(*tensors()).item() == pytest.approx(50 * 0.25)
    with pytest.raises(ValueError, match="are not given"):
        CloudRemovalLoss(auxiliary_weight=50.0)(*tensors()[:4])


def test_shapes_that_would_broadcast_are_refused():
    image, truth, masks, taught, _ = tensors()
    with pytest.raises(ValueError, match="one shape"):
        CloudRemovalLoss()(image, truth[:, :1], masks, taught)
    with pytest.raises(ValueError, match="one shape"):
        CloudRemovalLoss()(image, truth, masks, taught[:, 0])

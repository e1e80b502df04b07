import pytest
import torch
import torch.nn.functional as F

from foveal.core.losses.guided_attention import GuidedAttentionLoss
from foveal.core.losses.segmentation import SegmentationLoss


def compared():
    torch.manual_seed(0)
    predictions = [torch.randn(2, 3, 4, 5) for _ in range(4)]
    codes = [torch.randn(2, 6, 2, 2) for _ in range(4)]
    inputs, reconstructions = ([torch.randn(2, 4, 4, 4) for _ in range(4)] for _ in range(2))
    return predictions, codes, inputs, reconstructions, torch.randint(3, (2, 4, 5))


def test_loss_is_the_sum_of_its_weighted_parts():
    predictions, codes, inputs, reconstructions, target = compared()
    expected = sum(F.cross_entropy(each, target) for each in predictions)
    expected += 0.25 * ((codes[0] - codes[2]).square().mean() + (codes[1] - codes[3]).square().mean())
    pairs = zip(inputs, reconstructions, strict=True)
    expected += 0.1 * sum((one - other).square().mean() for one, other in pairs)
    found = GuidedAttentionLoss()((predictions, codes, inputs, reconstructions), target)
    assert float(found) == pytest.approx(float(expected), rel=1e-6)


def test_weights_and_the_loss_of_a_prediction_can_be_chosen():
    predictions, *rest, target = compared()
    dice = SegmentationLoss(cross_entropy=0.0)
    loss = GuidedAttentionLoss(semantic=0.0, reconstruction=0.0, segmentation=dice)
    expected = sum(dice(each, target) for each in predictions)
    assert float(loss((predictions, *rest), target)) == pytest.approx(float(expected), rel=1e-6)


def test_neither_side_of_a_distance_is_detached():
    predictions, codes, inputs, reconstructions, target = compared()
    leaves = [each.requires_grad_() for each in codes + inputs + reconstructions]
    GuidedAttentionLoss()((predictions, codes, inputs, reconstructions), target).backward()
    assert all(leaf.grad.abs().sum() > 0 for leaf in leaves)


def test_distances_of_half_precision_do_not_overflow():
    predictions, codes, inputs, reconstructions, target = compared()
    codes = [codes[0].half() + 1000, codes[1].half(), codes[2].half(), codes[3].half()]
    terms = GuidedAttentionLoss().terms(predictions, codes, inputs, reconstructions, target)
    assert float(terms.semantic[0]) == pytest.approx(1e6, rel=0.1)

import math

import pytest
import torch
import torch.nn.functional as F

from foveal.core.losses.tversky import TverskyEntropyLoss, tversky_loss


def a_batch(size=(3, 4, 2), classes=3):
    generator = torch.Generator().manual_seed(0)
    probabilities = torch.randn(2, classes, *size, generator=generator, dtype=torch.float64).softmax(1)
    return probabilities, torch.randint(classes, (2, *size), generator=generator)


def index_by_loops(probabilities, target, false, missed, smooth):
    each = []
    for p, t in zip(probabilities, target, strict=True):
        for number, of_class in enumerate(p):
            there = t == number
            hit, wrong = float(of_class[there].sum()), float(of_class[~there].sum())
            each.append(hit / (hit + false * wrong + missed * float((1 - of_class[there]).sum()) + smooth))
    return sum(each) / len(each)


@pytest.mark.parametrize("size", [(5, 6), (3, 4, 2)])
@pytest.mark.parametrize("weights", [(0.3, 0.7, 1.0), (0.5, 0.5, 0.5), (1.0, 0.2, 3.0)])
def test_index_is_that_of_loops_over_samples_and_classes(size, weights):
    probabilities, target = a_batch(size)
    truth = F.one_hot(target, 3).movedim(-1, 1).double()
    expected = 1 - index_by_loops(probabilities, target, *weights)
    assert float(tversky_loss(probabilities, truth, *weights)) == pytest.approx(expected, rel=1e-12)


def test_half_weights_give_the_dice_of_the_authors():
    probabilities, target = a_batch()
    truth = F.one_hot(target, 3).movedim(-1, 1).double()
    p, t = probabilities.flatten(2), truth.flatten(2)
    dice = (2 * (p * t).sum(-1) / (p.sum(-1) + t.sum(-1) + 1)).mean()
    assert torch.isclose(tversky_loss(probabilities, truth, 0.5, 0.5, 0.5), 1 - dice)


def test_missing_costs_more_than_inventing():
    some, more = torch.zeros(1, 1, 10), torch.zeros(1, 1, 10)
    some[..., :4], more[..., :6] = 1, 1
    assert tversky_loss(some, more) > tversky_loss(more, some)


def test_published_entropy_squashes_once_more_and_the_plain_one_does_not():
    probabilities, target = a_batch()
    truth = F.one_hot(target, 3).movedim(-1, 1).double()
    index = tversky_loss(probabilities, truth)
    squashed = F.binary_cross_entropy(probabilities.sigmoid(), truth)
    assert torch.isclose(TverskyEntropyLoss()(probabilities, target), index + squashed)
    plain = TverskyEntropyLoss(entropy="plain")(probabilities, target)
    assert torch.isclose(plain, index + F.binary_cross_entropy(probabilities, truth))


def test_what_is_right_without_doubt_costs_next_to_nothing_only_in_the_plain_form():
    target = torch.arange(2000).remainder(2).view(1, 10, 10, 20)
    sure = F.one_hot(target, 2).movedim(-1, 1).float()
    assert TverskyEntropyLoss(entropy="plain")(sure, target) == pytest.approx(1 / 1001, rel=1e-4)
    floor = (math.log(1 + math.exp(-1)) + math.log(2)) / 2
    assert TverskyEntropyLoss()(sure, target) == pytest.approx(1 / 1001 + floor, rel=1e-5)


@pytest.mark.parametrize("entropy", ["published", "plain"])
def test_gradient_is_that_of_finite_differences(entropy):
    probabilities, target = a_batch((2, 3))
    loss = TverskyEntropyLoss(entropy=entropy)
    assert torch.autograd.gradcheck(lambda p: loss(p, target), (probabilities.requires_grad_(),))


@pytest.mark.parametrize("entropy", ["published", "plain"])
def test_halves_and_mixed_precision_are_computed_in_single(entropy):
    probabilities, target = a_batch()
    loss = TverskyEntropyLoss(entropy=entropy)
    half = probabilities.bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        found = loss(half, target)
    assert found.dtype == torch.float32
    assert torch.equal(found, loss(half.float(), target))


def test_unknown_entropy_is_refused():
    with pytest.raises(ValueError, match="published or plain, not 'binary'"):
        TverskyEntropyLoss(entropy="binary")

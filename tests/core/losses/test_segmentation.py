import pytest
import torch
import torch.nn.functional as F

from foveal.core.losses.segmentation import IGNORED, SegmentationLoss, cross_entropy, soft_dice_loss


def a_batch(num_classes=4, size=(5, 6)):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, num_classes, *size, generator=generator, dtype=torch.float64)
    return logits, torch.randint(num_classes, (2, *size), generator=generator)


def sure(labels, num_classes):
    """Logits that leave no doubt."""
    return 50.0 * F.one_hot(labels, num_classes).movedim(-1, 1).double()


def dice_by_loops(logits, target, classes):
    probability = logits.softmax(1)
    each = []
    for number in classes:
        truth = target == number
        counted = probability[:, number] * (target != IGNORED)
        each.append(1 - 2 * float(counted[truth].sum()) / float(counted.sum() + truth.sum()))
    return sum(each) / len(each)


@pytest.mark.parametrize("size", [(5, 6), (3, 4, 2)])
def test_dice_is_that_of_loops_over_classes(size):
    logits, target = a_batch(size=size)
    assert float(soft_dice_loss(logits, target)) == pytest.approx(dice_by_loops(logits, target, range(4)), rel=1e-5)
    found = soft_dice_loss(logits, target, include_background=False)
    assert float(found) == pytest.approx(dice_by_loops(logits, target, (1, 2, 3)), rel=1e-5)


def test_dice_of_a_right_and_of_a_wrong_answer():
    target = torch.tensor([[[0, 1], [2, 1]]])
    assert float(soft_dice_loss(sure(target, 3), target)) == pytest.approx(0, abs=1e-9)
    assert float(soft_dice_loss(sure((target + 1) % 3, 3), target)) == pytest.approx(1, abs=1e-4)


def test_class_that_the_target_lacks_is_left_out_or_counted():
    target = torch.tensor([[[0, 1], [0, 1]]])
    answer = torch.tensor([[[0, 1], [0, 2]]])  # class 2 is seen where there is none
    half = (1 - 1) + (1 - 2 / 3)  # background is right; of class 1 half is found
    assert float(soft_dice_loss(sure(answer, 3), target)) == pytest.approx(half / 2, abs=1e-4)
    found = soft_dice_loss(sure(answer, 3), target, ignore_empty=False)
    assert float(found) == pytest.approx((half + 1) / 3, abs=1e-4)


@pytest.mark.parametrize("ignore_empty", [True, False])
def test_dice_of_each_image_is_averaged_where_they_are_not_pooled(ignore_empty):
    logits, target = a_batch()
    target[0][target[0] == 2] = 1  # one image lacks a class
    options = {"ignore_empty": ignore_empty, "include_background": False, "class_weights": torch.tensor([1.0, 1, 2, 3])}
    each = [soft_dice_loss(logits[i : i + 1], target[i : i + 1], **options) for i in range(2)]
    shares = torch.tensor([4 / 10, 6 / 10] if ignore_empty else [0.5, 0.5], dtype=torch.float64)
    found = soft_dice_loss(logits, target, **options, pooled=False)
    torch.testing.assert_close(found, (torch.stack(each) * shares).sum())
    assert not torch.isclose(found, soft_dice_loss(logits, target, **options))


def test_loss_passes_pooling_on():
    logits, target = a_batch()
    found = SegmentationLoss(cross_entropy=0.0, pooled=False)(logits, target)
    assert torch.equal(found, soft_dice_loss(logits, target, pooled=False))


def test_target_without_any_class_that_counts_costs_nothing():
    logits, target = a_batch()
    for empty in (torch.zeros_like(target), torch.full_like(target, IGNORED)):
        logits.requires_grad_()
        loss = soft_dice_loss(logits, empty, include_background=False)
        assert loss == 0
        assert torch.isfinite(torch.autograd.grad(loss, logits)[0]).all()


def test_ignored_samples_count_nowhere():
    logits, target = a_batch()
    target[:, 2:] = IGNORED
    for loss in (soft_dice_loss, cross_entropy):
        whole, kept = loss(logits, target), loss(logits[:, :, :2], target[:, :2])
        assert float(whole) == pytest.approx(float(kept), rel=1e-9)


@pytest.mark.parametrize("weights", [None, (0.5, 1.0, 0.0, 3.0)])
def test_cross_entropy_is_that_of_torch_where_samples_count(weights):
    logits, target = a_batch()
    target[0, 0] = IGNORED
    weight = None if weights is None else torch.tensor(weights, dtype=torch.float64)
    expected = F.cross_entropy(logits, target, weight)
    assert float(cross_entropy(logits, target, weight)) == pytest.approx(float(expected), rel=1e-9)


def test_cross_entropy_of_ignored_samples_alone_is_zero_with_finite_gradient():
    logits, target = a_batch()
    for weights in (None, torch.ones(4)):
        loss = cross_entropy(logits.requires_grad_(), torch.full_like(target, IGNORED), weights)
        assert loss == 0
        assert torch.autograd.grad(loss, logits)[0].count_nonzero() == 0


def test_class_weights_weigh_the_mean_over_classes():
    logits, target = a_batch()
    one = dice_by_loops(logits, target, (1,))
    found = soft_dice_loss(logits, target, torch.tensor([0.0, 2.0, 0.0, 0.0]))
    assert float(found) == pytest.approx(one, rel=1e-5)


def test_parts_are_summed_with_their_weights():
    logits, target = a_batch()
    weights = torch.tensor([1.0, 2.0, 0.5, 1.0])
    loss = SegmentationLoss(cross_entropy=0.3, dice=2.0, class_weights=weights.tolist(), include_background=False)
    expected = 0.3 * cross_entropy(logits, target, weights)
    expected += 2.0 * soft_dice_loss(logits, target, weights, include_background=False)
    assert float(loss(logits, target)) == pytest.approx(float(expected), rel=1e-9)


def test_gradients_are_those_of_finite_differences():
    logits, target = a_batch(3, (3, 2))
    loss = SegmentationLoss(class_weights=[1.0, 2.0, 0.5])
    assert torch.autograd.gradcheck(lambda x: loss(x, target), (logits.requires_grad_(),))


def test_half_precision_is_summed_in_float32():
    target = torch.zeros(1, 300, 300, dtype=torch.int64)  # more samples than half precision can count
    target[0, :150] = 1
    loss = SegmentationLoss()(sure(target, 2).half(), target)
    assert loss.dtype == torch.float32
    assert float(loss) == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("weights", [(1.0, -1.0), (0.0, 0.0), ()])
def test_impossible_class_weights_are_refused(weights):
    with pytest.raises(ValueError, match="class weights must not be negative and not all zero"):
        SegmentationLoss(class_weights=weights)

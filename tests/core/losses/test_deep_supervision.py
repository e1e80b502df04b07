import pytest
import torch

from foveal.core.losses.deep_supervision import AuxiliarySupervision, DeepSupervision, StepDecay, nearest
from foveal.core.losses.segmentation import SegmentationLoss
from foveal.core.losses.tversky import TverskyEntropyLoss


def levels(count, size=(4, 8, 8)):
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.randn(2, 3, *(side >> i for side in size), generator=generator) for i in range(count))


def labels(size=(4, 8, 8)):
    return torch.randint(3, (2, *size), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("count", "weights"), [(1, [1]), (2, [2 / 3, 1 / 3]), (3, [4 / 7, 2 / 7, 1 / 7])])
def test_each_resolution_weighs_half_as_much_as_the_finer(count, weights):
    loss, target = SegmentationLoss(), labels()
    outputs = levels(count)
    parts = [loss(each, target[:, :: 1 << i, :: 1 << i, :: 1 << i]) for i, each in enumerate(outputs)]
    expected = sum(weight * part for weight, part in zip(weights, parts, strict=True))
    torch.testing.assert_close(DeepSupervision(loss)(outputs, target), expected)


@pytest.mark.parametrize("supervision", [DeepSupervision, AuxiliarySupervision])
def test_one_output_costs_its_loss(supervision):
    loss, (output,) = SegmentationLoss(), levels(1)
    for outputs in (output, (output,)):
        torch.testing.assert_close(supervision(loss)(outputs, labels()), loss(output, labels()))


def test_labels_of_a_coarse_resolution_are_some_of_the_fine_one():
    target = torch.tensor([[[0, 7, 2, 7], [7, 7, 7, 7]]])
    assert nearest(target, torch.Size([1, 2])).tolist() == [[[0, 2]]]
    assert nearest(target, torch.Size([2, 4])) is target
    flat = labels((4, 9, 6))  # an axis that is not halved, and one of odd length
    assert torch.equal(nearest(flat, torch.Size([4, 3, 3])), flat[:, :, ::3, ::2])
    assert nearest(flat, torch.Size([2, 2, 2])).dtype == flat.dtype


def test_auxiliary_predictions_weigh_less_as_the_training_goes_on():
    loss, target = TverskyEntropyLoss(), labels()
    outputs = tuple(each.softmax(1) for each in (*levels(1), 2 * levels(1)[0], 3 * levels(1)[0]))
    supervision = AuxiliarySupervision(loss)
    main, *others = (loss(each, target) for each in outputs)
    for epoch, weight in ((0, 0.4), (29, 0.4), (30, 0.32), (60, 0.256)):
        supervision.start_epoch(epoch)
        torch.testing.assert_close(supervision(outputs, target), main + weight * sum(others))


def test_step_decay():
    weight = StepDecay(start=1.0, factor=0.5, epochs=10)
    assert [weight(epoch) for epoch in (0, 9, 10, 25)] == [1, 1, 0.5, 0.25]


def test_gradients_reach_every_resolution():
    for supervision in (DeepSupervision, AuxiliarySupervision):
        outputs = [each.requires_grad_() for each in levels(3)]
        supervision(SegmentationLoss())(tuple(outputs), labels()).backward()
        assert all(each.grad.any() for each in outputs)

import pytest
import torch
import torch.nn.functional as F

from foveal.core.losses.structure import StructureLoss, structure_weight


def pair(classes=1, seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, classes, 40, 33, generator=generator, dtype=torch.float64)
    mask = torch.rand(2, 1, 40, 33, generator=generator, dtype=torch.float64)
    return logits, mask


def written_out(logits, mask, form):
    """The formula of the paper, image by image, with the square of the surroundings padded by hand."""
    total = 0
    for z, m in zip(logits[:, 0], mask[:, 0], strict=True):
        around = F.pad(m[None, None], (15,) * 4).unfold(2, 31, 1).unfold(3, 31, 1).mean(dim=(-1, -2))[0, 0]
        w = 1 + 5 * (around - m).abs()
        p = torch.sigmoid(z)
        entropy = -(m * p.log() + (1 - m) * (1 - p).log())
        both = (w * p * m).sum()
        overlap = (both + 1) / ((w * (p + m)).sum() - both + 1)
        total += (entropy.mean() if form == "published" else (w * entropy).sum() / w.sum()) + 1 - overlap
    return total / len(logits)


@pytest.mark.parametrize("form", ["published", "intended"])
def test_one_class_is_the_formula(form):
    logits, mask = pair()
    assert torch.allclose(StructureLoss(form)(logits, mask), written_out(logits, mask, form), rtol=1e-12)
    assert StructureLoss("published")(logits, mask) != StructureLoss("intended")(logits, mask)


@pytest.mark.parametrize("form", ["published", "intended"])
def test_maps_are_summed(form):
    logits, mask = pair()
    loss = StructureLoss(form)
    assert torch.allclose(loss((logits, 2 * logits), mask), loss(logits, mask) + loss(2 * logits, mask))


@pytest.mark.parametrize("form", ["published", "intended"])
def test_two_exclusive_classes_are_the_same_as_one(form):
    logits, mask = pair()
    double = torch.cat([torch.zeros_like(logits), logits], dim=1) + 3
    loss = StructureLoss(form)
    assert torch.allclose(loss(double, torch.cat([1 - mask, mask], dim=1)), loss(logits, mask), rtol=1e-12)


def test_weight_is_one_far_from_edges_and_grows_towards_them():
    mask = torch.zeros(1, 1, 80, 80, dtype=torch.float64)
    mask[..., :40] = 1
    row = structure_weight(mask)[0, 0, 40]
    assert row[20] == pytest.approx(1)
    assert row[70] == pytest.approx(1)
    assert row[39] == pytest.approx(1 + 5 * 15 / 31)
    assert row[40] == pytest.approx(1 + 5 * 15 / 31)
    assert row[0] == pytest.approx(1 + 5 * 15 / 31)  # beyond the border counts as background
    assert structure_weight(mask, window=3, factor=2.0)[0, 0, 40, 39] == pytest.approx(1 + 2 / 3)


def test_of_several_classes_the_most_different_one_counts():
    _, mask = pair()
    classes = torch.cat([1 - mask, torch.zeros_like(mask), mask], dim=1)
    assert torch.equal(structure_weight(classes), structure_weight(mask))


def test_right_predictions_cost_less_and_all_maps_get_gradients():
    logits, mask = pair()
    mask = mask.round()
    maps = [logits.clone().requires_grad_() for _ in range(4)]
    loss = StructureLoss()(maps, mask)
    assert StructureLoss()([20 * (mask - 0.5)] * 4, mask) < 0.01 * loss
    assert all(grad.abs().sum() > 0 for grad in torch.autograd.grad(loss, maps))


def test_masks_of_another_size_and_impossible_arguments_are_refused():
    logits, mask = pair()
    with pytest.raises(ValueError, match="must have one shape"):
        StructureLoss()(logits, mask[..., 1:])
    with pytest.raises(ValueError, match="form"):
        StructureLoss("weighted")
    with pytest.raises(ValueError, match="odd"):
        StructureLoss(window=30)

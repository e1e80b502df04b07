from itertools import combinations

import pytest
import torch
import torch.nn.functional as F

from foveal.core.losses.branch_attention import BranchAttentionLoss, attention_similarity


def outputs(branches=4, maps=2, classes=3):
    generator = torch.Generator().manual_seed(0)
    shapes = (branches, classes), (1, classes), (maps, branches, 15)
    return tuple(torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True) for shape in shapes)


def test_terms_are_the_formulas_and_their_sum_is_the_loss():
    branch, slide, scores = outputs()
    label = torch.tensor([2])
    terms = BranchAttentionLoss().terms(branch, slide, scores, label)
    shares = scores.softmax(dim=-1)
    pairs = [F.cosine_similarity(shares[:, i], shares[:, j], dim=-1).mean() for i, j in combinations(range(4), 2)]
    assert torch.allclose(terms.slide, -slide.log_softmax(1)[0, 2])
    assert torch.allclose(terms.branch, -branch.log_softmax(1)[:, 2].mean())
    assert torch.allclose(terms.diversity, sum(pairs) / 6)
    assert torch.allclose(BranchAttentionLoss()((branch, slide, scores), label), sum(terms))


def test_one_branch_leaves_the_slide_alone():
    branch, slide, scores = outputs(branches=1)
    loss = BranchAttentionLoss()((branch, slide, scores), torch.tensor([0]))
    assert torch.allclose(loss, F.cross_entropy(slide, torch.tensor([0])))
    assert torch.autograd.grad(loss, branch, allow_unused=True) == (None,)


def test_attentions_on_the_same_patches_are_similar_and_on_others_are_not():
    scores = 50 * torch.eye(6)
    assert attention_similarity(scores[None, :1].expand(1, 3, 6)) == pytest.approx(1)
    assert attention_similarity(scores[None]) == pytest.approx(0, abs=1e-6)


def test_weight_of_a_class_scales_its_cross_entropy():
    branch, slide, scores = outputs()
    plain = BranchAttentionLoss().terms(branch, slide, scores, torch.tensor([1]))
    weighted = BranchAttentionLoss(torch.tensor([1.0, 3.0, 1.0])).terms(branch, slide, scores, torch.tensor([1]))
    assert torch.allclose(weighted.slide, 3 * plain.slide)
    assert torch.allclose(weighted.branch, 3 * plain.branch)
    assert torch.equal(weighted.diversity, plain.diversity)


def test_gradients_are_those_of_finite_differences():
    def loss(*tensors):
        return BranchAttentionLoss()(tensors, torch.tensor([1]))

    assert torch.autograd.gradcheck(loss, outputs())

import pytest
import torch
import torch.nn.functional as F

from foveal.core.attention.softmax_free import SoftmaxFreeAttention, newton_inverse
from foveal.tests.fixtures.blocks import assert_is_formula, assert_programs_agree, random_block, random_map


def kernel(a, b):
    return torch.exp(-(a.unsqueeze(-2) - b.unsqueeze(-3)).square().sum(-1) / 2)


@pytest.mark.parametrize(("size", "ratio"), [((4, 6), 2), ((5, 4), 2), ((4, 2, 3), 2)])
def test_it_is_the_formula(size, ratio):
    # As many iterations as make the inverse exact, which the formula then can be.
    block = random_block(SoftmaxFreeAttention(6, 2, ratio, kernel=3, iterations=40, bias=False, spatial_dims=len(size)))
    convolve = F.conv2d if len(size) == 2 else F.conv3d

    def formula(x):
        heads = []
        parts = zip(block.q(x).chunk(2, -1), block.v(x).chunk(2, -1), block.kernels, strict=True)
        for q, v, taps in parts:
            q = q / 3**0.25
            landmarks = convolve(q.movedim(-1, 1), block.landmarks.weight, stride=ratio).flatten(2).mT
            landmarks = F.gelu(block.norm(landmarks))
            to_landmarks, between = kernel(q.flatten(1, -2), landmarks), kernel(landmarks, landmarks)
            inverse = torch.linalg.inv(between + 0.01 * torch.eye(len(between[0]), dtype=x.dtype))
            y = to_landmarks @ inverse @ to_landmarks.mT @ v.flatten(1, -2)
            local = convolve(v.movedim(-1, 1), taps.expand(3, 1, *taps.shape[1:]), padding=1, groups=3)
            heads.append(y.view(v.shape) + local.movedim(1, -1))
        return block.proj(torch.cat(heads, -1))

    assert_is_formula(block, formula, random_map(2, *size, 6))


def test_gradient_is_that_of_the_last_iterate_not_of_the_iterations():
    points = random_map(1, 5, 2)
    matrix = kernel(points, points).detach().requires_grad_()
    inverse = newton_inverse(matrix, iterations=3)  # far from the end
    probe = torch.randn_like(inverse)
    (gradient,) = torch.autograd.grad(inverse, matrix, probe)
    torch.testing.assert_close(gradient, (-inverse.mT @ probe @ inverse.mT).detach())
    torch.testing.assert_close(newton_inverse(matrix.detach(), 3), inverse.detach())


def test_programs_agree():
    block = SoftmaxFreeAttention(8, 2, 2, kernel=3)
    assert_programs_agree(block, random_map(2, 6, 8, 8), random_map(1, 7, 10, 8), channels=-1)


def test_heads_that_do_not_divide_are_refused():
    with pytest.raises(ValueError, match="heads 3 must divide dim 8"):
        SoftmaxFreeAttention(8, 3)

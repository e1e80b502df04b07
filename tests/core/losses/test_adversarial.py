import math

import pytest
import torch

from foveal.core.losses.adversarial import discriminator_loss, generator_loss

GENERATED, REAL = torch.tensor([[0.5, -1.0]]), torch.tensor([[2.0, 0.0]])


def test_least_squares_by_hand():
    assert discriminator_loss(GENERATED, REAL).item() == pytest.approx(((0.25 + 1) / 2 + (1 + 1) / 2) / 2)
    assert generator_loss(GENERATED).item() == pytest.approx((0.25 + 4) / 2)


def test_cross_entropy_by_hand():
    def entropy(logit):
        return math.log1p(math.exp(-logit))  # of label one

    fake, real = (entropy(-0.5) + entropy(1.0)) / 2, (entropy(2.0) + entropy(0.0)) / 2
    assert discriminator_loss(GENERATED, REAL, "cross entropy").item() == pytest.approx((fake + real) / 2)
    expected = (entropy(0.5) + entropy(-1.0)) / 2
    assert generator_loss(GENERATED, "cross entropy").item() == pytest.approx(expected)


def test_other_forms_are_refused():
    with pytest.raises(ValueError, match="not 'hinge'"):
        generator_loss(GENERATED, "hinge")

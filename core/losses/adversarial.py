"""Losses of a generator and a discriminator that train against each other.

Mao et al.: "Least Squares Generative Adversarial Networks", ICCV 2017, eq. 9 with labels 0 and 1; cross entropy:
Goodfellow et al. 2014, with the generator's loss that does not saturate. Shapes: logits of any one shape -> scalar.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Form = Literal["least squares", "cross entropy"]


def discriminator_loss(generated: Tensor, real: Tensor, form: Form = "least squares") -> Tensor:
    """Return the discriminator's loss, the mean over both kinds.

    Args:
        generated: logits of generated images, whose graph must not reach the generator.
        real: logits of real images.
        form: "least squares" or "cross entropy".

    Raises:
        ValueError: another form.
    """
    return (_distance(generated, 0.0, form) + _distance(real, 1.0, form)) / 2


def generator_loss(generated: Tensor, form: Form = "least squares") -> Tensor:
    """Return the generator's loss: how far its images are from being taken for real.

    Raises:
        ValueError: another form.
    """
    return _distance(generated, 1.0, form)


def _distance(logits: Tensor, label: float, form: Form) -> Tensor:
    if form == "least squares":
        return (logits - label).square().mean()
    if form == "cross entropy":
        return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, label))
    raise ValueError(f"form must be 'least squares' or 'cross entropy', not {form!r}")

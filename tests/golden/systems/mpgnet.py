"""MPGNet: generator, discriminator and their losses."""

from collections.abc import Mapping

import numpy as np
import torch
from differentiate import run
from parity import Case
from torch import Tensor

import foveal
from foveal.apps.udc.noise import Draws
from foveal.core.losses.adversarial import discriminator_loss, generator_loss


def outputs(case: Case) -> dict[str, np.ndarray]:
    """Return what a case of this variant can ask for."""
    if not case.shapes:
        return run(losses, case.inputs)
    net = foveal.load_reference("mpgnet", case.weights(), case.meta["config"])
    return generator(net, case) if "light_rate.feat_ext.0.weight" in case.shapes else discriminator(net, case)


def generator(net: torch.nn.Module, case: Case) -> dict[str, np.ndarray]:
    """Return the degraded picture and what it is made of."""

    def parts(x: Tensor, *draws: Tensor) -> Mapping[str, Tensor]:
        gains = net.attenuation(x)
        return {"light_rate": gains, "blurred": net.blurred(x, gains), "out": net(x, Draws(*draws))}

    return run(parts, case.inputs)


def discriminator(net: torch.nn.Module, case: Case) -> dict[str, np.ndarray]:
    """Return the verdicts and the vectors of the spectral norms after one step."""
    found = run(net.train(), case.inputs)
    convs = [*net.down, *net.up, *net.last]
    vectors = {
        f"conv{i + 1}_{name}": getattr(conv, f"weight_{name}").numpy() for i, conv in enumerate(convs) for name in "uv"
    }
    return found | vectors


def losses(real: Tensor, fake: Tensor, generated: Tensor, degraded: Tensor) -> Mapping[str, Tensor]:
    """Return every term, and the scores of the pictures."""
    adversarial, pair = generator_loss(fake) / 2, (generated - degraded).abs().mean()
    errors = (generated - degraded).square().mean((1, 2, 3))
    return {
        "discriminator": discriminator_loss(fake, real),
        "adversarial": adversarial,
        "pair": pair,
        "psnr": (10 * torch.log10(1 / errors)).mean(),
        "out": adversarial + 10 * pair,
    }

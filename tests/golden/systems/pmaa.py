"""PMAA: generator, cloud teacher, discriminator, their losses and the two ways to score."""

from collections.abc import Mapping

import numpy as np
import torch
from differentiate import run
from parity import Case
from torch import Tensor

import foveal
from foveal.core.losses.adversarial import discriminator_loss, generator_loss
from foveal.core.losses.cloud_removal import CloudRemovalLoss, auxiliary_error, image_error, mask_error
from foveal.core.metrics.satellite import cloud_removal_scores, sen2mtc_new_rgb, sen2mtc_old_rgb


def outputs(case: Case) -> dict[str, np.ndarray]:
    """Return what a case of this variant can ask for."""
    variant = case.meta["variant"]
    if not case.shapes:
        return losses(case) if variant.startswith("losses") else measures(case)
    net = foveal.load_reference("pmaa", case.weights(), case.meta["config"])
    if "output_layer.0.weight" in case.shapes:
        return generator(net, case)
    return teacher(net, case) if "conv_in.0.weight" in case.shapes else run(net, case.inputs)


def generator(net: torch.nn.Module, case: Case) -> dict[str, np.ndarray]:
    """Return image, masks and auxiliary images of (N, T, B, H, W)."""

    def maps(dates: Tensor) -> Mapping[str, Tensor]:
        return dict(zip(("out", "mask", "aux"), net.maps(dates.flatten(1, 2)), strict=True))

    return run(maps, case.inputs)


def teacher(net: torch.nn.Module, case: Case) -> dict[str, np.ndarray]:
    """Return the mask and what else the extractor gives."""

    def maps(image: Tensor) -> Mapping[str, Tensor]:
        return {**dict(zip(("mask", "features", "aux"), net.extractor(image), strict=True)), "out": net(image)}

    return run(maps, case.inputs)


def losses(case: Case) -> dict[str, np.ndarray]:
    """Return every term and both sums."""
    config = case.meta["config"]
    l1, aux = config.get("lambda_L1", 100.0), config.get("lambda_aux", 50.0)

    def terms(*arrays: Tensor) -> Mapping[str, Tensor]:
        fake, real, image, truth, masks, taught, auxiliary = arrays
        adversarial = generator_loss(fake)
        return {
            "discriminator_lsgan": discriminator_loss(fake, real),
            "adversarial_lsgan": adversarial,
            "discriminator_vanilla": discriminator_loss(fake, real, "cross entropy"),
            "adversarial_vanilla": generator_loss(fake, "cross entropy"),
            "l1": l1 * image_error(image, truth),
            "attention": mask_error(masks, taught),
            "aux": aux * auxiliary_error(auxiliary, truth),
            "out": adversarial + CloudRemovalLoss(l1)(image, truth, masks, taught),
            "out_with_aux": adversarial + CloudRemovalLoss(l1, 1.0, aux)(image, truth, masks, taught, auxiliary),
        }

    return run(terms, case.inputs)


def measures(case: Case) -> dict[str, np.ndarray]:
    """Return the scores of both data sets and the truths as they are scored."""
    images = [torch.from_numpy(image) for image in case.inputs]
    new = [sen2mtc_new_rgb(image) for image in images[:2]]
    old = [sen2mtc_old_rgb(image) for image in images[2:]]
    scores_new, scores_old = cloud_removal_scores(new[1], new[0]), cloud_removal_scores(old[1], old[0])
    found = {
        "out": scores_new["psnr"],
        "ssim_new": scores_new["ssim"],
        "psnr_old": scores_old["psnr"],
        "ssim_old": scores_old["ssim"],
        "rgb_new": new[0].movedim(0, -1),
        "rgb_old": old[0].movedim(0, -1),
    }
    return {name: value.numpy() for name, value in found.items()}

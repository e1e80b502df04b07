"""What a cloud-free image, and the masks and images made on its way, shall equal.

Zou et al.: "PMAA", ECAI 2023, arXiv 2303.16565; Huang and Wu: "CTGAN", ICIP 2022. Shapes: N batch, T dates, B bands,
H W pixels.
"""

from torch import Tensor, nn


class CloudRemovalLoss(nn.Module):
    """Distances of the image to the truth, of the masks to the teacher's, and, if wanted, of the auxiliary images.

    The adversarial term of the published objective is `adversarial.generator_loss`, to be added.

    Args:
        image_weight: of the mean absolute error of the image.
        mask_weight: of the mean squared error of the masks, summed over the dates.
        auxiliary_weight: of the mean absolute error of the auxiliary images, summed over the dates; 50 is the authors'
            value where they use it, which is not by default.
    Shape: image and truth (N, B, H, W), masks and the teacher's (N, T, 1, H, W), auxiliary images (N, T, B', H, W) with
        B' >= B, of which the first B bands count -> scalar.
    """

    def __init__(self, image_weight: float = 100.0, mask_weight: float = 1.0, auxiliary_weight: float = 0.0) -> None:
        super().__init__()
        self.image_weight = image_weight
        self.mask_weight = mask_weight
        self.auxiliary_weight = auxiliary_weight

    def forward(
        self, image: Tensor, truth: Tensor, masks: Tensor, taught: Tensor, auxiliary: Tensor | None = None
    ) -> Tensor:
        """Return the weighted sum.

        Raises:
            ValueError: two tensors that shall be equal differ in shape, or wanted auxiliary images are not given.
        """
        loss = self.image_weight * image_error(image, truth) + self.mask_weight * mask_error(masks, taught)
        if self.auxiliary_weight == 0:
            return loss
        if auxiliary is None:
            raise ValueError("the auxiliary images have a weight but are not given")
        return loss + self.auxiliary_weight * auxiliary_error(auxiliary, truth)


def image_error(image: Tensor, truth: Tensor) -> Tensor:
    """Return the mean absolute error."""
    _check(image, truth)
    return (image - truth).abs().mean()


def mask_error(masks: Tensor, taught: Tensor) -> Tensor:
    """Return the mean squared error of each date's mask, summed over the dates (axis 1)."""
    _check(masks, taught)
    return (masks - taught).square().mean() * masks.shape[1]


def auxiliary_error(auxiliary: Tensor, truth: Tensor) -> Tensor:
    """Return the mean absolute error of each date's image (N, T, B', H, W) to one truth, summed over the dates."""
    images = auxiliary[:, :, : truth.shape[1]]
    _check(images[:, 0], truth)
    return (images - truth[:, None]).abs().mean() * images.shape[1]


def _check(found: Tensor, wanted: Tensor) -> None:
    if found.shape != wanted.shape:  # broadcasting would give a wrong loss silently
        raise ValueError(f"{tuple(found.shape)} and {tuple(wanted.shape)} must be one shape")

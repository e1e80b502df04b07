"""PMAA: a cloud-free image from several dates, by features that know the clouds and three U-shaped blocks.

Zou, Li, Xing, Tao, Cui: "PMAA: A Progressive Multi-scale Attention Autoencoder Model for High-performance Cloud Removal
from Multi-temporal Satellite Imagery", ECAI 2023, arXiv 2303.16565, in the form that the authors train and test: with
instance norm for every batch norm of the classes that they publish.

Shapes: N batch, T dates, B bands, C channels, H W pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..features import FeatureExtractor
from ..unet import UBlock


class PMAA(nn.Module):
    """The generator (Zou et al. 2023). The defaults are those for Sen2_MTC_New; Sen2_MTC_Old has three outputs.

    Args:
        dates: images of the same place.
        bands: bands of each date.
        num_outputs: bands of the cloud-free image.
        dim: channels of the features; four times as many inside the blocks.
        dropout: probability of a feature to be dropped in training.
        drop_path: probability of a sample to go without an update of a transformer layer in training.
        zero_start: let a new network's blocks start as the identity, which the authors' do not. Theirs begin with
            outputs at the ends of tanh, from where a short training does not come back.
    Shape: (N, dates * bands, H, W) in -1..1, all bands of the first date first, H or W above 16
        -> (N, num_outputs, H, W) in -1..1. In training this image, the masks of clear sky (N, dates, 1, H, W) in 0..1
        and the auxiliary images (N, dates, bands, H, W) in -1..1.

    Raises:
        ValueError: a count below one; in `forward`, other channels, or an image that is too small.
    """

    size_multiple = 1
    smallest_size = 17
    scale = 1

    def __init__(
        self,
        dates: int = 3,
        bands: int = 4,
        num_outputs: int = 4,
        dim: int = 32,
        dropout: float = 0.1,
        drop_path: float = 0.1,
        zero_start: bool = False,
    ) -> None:
        super().__init__()
        if min(dates, bands, num_outputs, dim) < 1:
            raise ValueError("PMAA needs at least one date, band, output and channel")
        self.dates = dates
        self.bands = bands
        self.in_channels = dates * bands
        self.num_outputs = num_outputs
        self.features = FeatureExtractor(bands, dim, "instance", dropout)
        widths = (dates * dim, dim, dim)
        self.blocks = nn.Sequential(*(UBlock(width, dim, drop_path) for width in widths))
        self.head = nn.Conv2d(dim, num_outputs, 1)
        if zero_start:
            for block in self.blocks:
                nn.init.zeros_(block.out.weight)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor, Tensor]:
        """Return the cloud-free image; in training also the masks and the auxiliary images."""
        image, masks, auxiliary = self.maps(x)
        if self.training:
            return image, masks, auxiliary
        return image

    def maps(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the image, the masks and the auxiliary images, in training or not."""
        self._check(x)
        features: list[Tensor] = []
        masks: list[Tensor] = []
        auxiliary: list[Tensor] = []
        for date in x.split(self.bands, dim=1):  # one after the other: the pyramid is wide, which bounds the memory
            mask, seen, image = self.features(date)
            masks.append(mask)
            features.append(seen)
            auxiliary.append(image)
        out = torch.tanh(self.head(self.blocks(torch.cat(features, dim=1))))
        return out, torch.stack(masks, dim=1), torch.stack(auxiliary, dim=1)

    def _check(self, x: Tensor) -> None:
        if x.shape[1] != self.in_channels:
            raise ValueError(f"PMAA needs {self.dates} dates of {self.bands} bands as channels, not {x.shape[1]}")
        if x.shape[2] <= 16 and x.shape[3] <= 16:
            raise ValueError(f"PMAA needs a height or width above 16 pixels, not {x.shape[2]} and {x.shape[3]}")

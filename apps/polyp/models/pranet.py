"""PraNet: polyp segmentation by a partial decoder and reverse attention.

Fan, Ji, Zhou, Chen, Fu, Shen, Shao: "PraNet: Parallel Reverse Attention Network for Polyp Segmentation", MICCAI 2020,
arXiv 2006.11392.

Shapes: N batch, C channels, H W pixels of the image, K classes. Maps are named by how much smaller they are than the
image: fine 1/8, middle 1/16, deep 1/32.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ....core.attention.reverse import ReverseAttention
from ....core.blocks.convolution import ConvNorm
from ....core.blocks.resampling import linear_resize
from ..encoder import feature_encoder, load_encoder


class ReceptiveFieldBlock(nn.Module):
    """Four branches of growing receptive field, fused, with a residual (Liu et al. 2018; form of Wu et al. 2019).

    Args:
        in_channels: channels of the encoder's map.
        dim: channels out.
    Shape: (N, in_channels, h, w) -> (N, dim, h, w).
    """

    def __init__(self, in_channels: int, dim: int) -> None:
        super().__init__()
        # The residual and all branches begin with a 1x1 convolution of the same wide map: one reads it once for all.
        self.entry = ConvNorm(in_channels, 5 * dim)
        self.branches = nn.ModuleList(
            nn.Sequential(
                ConvNorm(dim, dim, (1, side)), ConvNorm(dim, dim, (side, 1)), ConvNorm(dim, dim, 3, dilation=side)
            )
            for side in (3, 5, 7)
        )
        self.fuse = ConvNorm(4 * dim, dim, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output."""
        parts = self.entry(x).chunk(5, dim=1)
        branches = [parts[1]]
        for i, branch in enumerate(self.branches):
            branches.append(branch(parts[i + 2]))
        return F.relu(self.fuse(torch.cat(branches, dim=1)) + parts[0])


class PartialDecoder(nn.Module):
    """Merges three maps, coarse to fine, into a first rough prediction (sec. 2.2; Wu et al. 2019).

    Args:
        dim: channels of every map.
        num_classes: channels of the prediction.
    Shape: (N, dim, H/32, W/32), (N, dim, H/16, W/16), (N, dim, H/8, W/8) -> (N, num_classes, H/8, W/8), logits.
    """

    def __init__(self, dim: int, num_classes: int) -> None:
        super().__init__()
        self.deep_on_middle = ConvNorm(dim, dim, 3)
        self.deep_on_fine = ConvNorm(dim, dim, 3)
        self.middle_on_fine = ConvNorm(dim, dim, 3)
        self.deep_beside_middle = ConvNorm(dim, dim, 3)
        self.fuse_middle = ConvNorm(2 * dim, 2 * dim, 3)
        self.middle_beside_fine = ConvNorm(2 * dim, 2 * dim, 3)
        self.fuse_fine = ConvNorm(3 * dim, 3 * dim, 3)
        self.refine = ConvNorm(3 * dim, 3 * dim, 3)
        self.head = nn.Conv2d(3 * dim, num_classes, 1)

    def forward(self, deep: Tensor, middle: Tensor, fine: Tensor) -> Tensor:
        """Return the rough prediction."""
        raised = doubled(deep)
        on_middle = self.deep_on_middle(raised) * middle
        on_fine = self.deep_on_fine(doubled(raised)) * self.middle_on_fine(doubled(middle)) * fine
        merged = self.fuse_middle(torch.cat([on_middle, self.deep_beside_middle(raised)], dim=1))
        merged = self.fuse_fine(torch.cat([on_fine, self.middle_beside_fine(doubled(merged))], dim=1))
        return self.head(self.refine(merged))


def doubled(x: Tensor) -> Tensor:
    """Enlarge a map by two along both axes, its corners aligned."""
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=True)


class PraNet(nn.Module):
    """The network (Fan et al. 2020). The defaults are the published ones.

    For more than one class it predicts exclusive classes, the first of which is background: reverse attention looks
    where the coarser map says background, which for one class is the published rule.

    Args:
        num_classes: 1 for polyp or not, else background and further classes.
        in_channels: 3 for RGB.
        dim: channels in the partial decoder.
        encoder: a convolutional network of timm with maps down to 1/32; "res2net50d" is the published Res2Net-50.
    Shape: (N, in_channels, H, W), H and W multiples of 32 -> logits (N, num_classes, H, W). In training four of them:
        of the partial decoder, then of the reverse attentions from coarse to fine, the last of which is the prediction.

    Raises:
        UserError: timm has no such encoder, or it gives other maps.
        ValueError: no classes; in `forward`, a size that is no multiple of 32.
    """

    size_multiple = 32

    def __init__(self, num_classes: int = 1, in_channels: int = 3, dim: int = 32, encoder: str = "res2net50d") -> None:
        super().__init__()
        if num_classes < 1:
            raise ValueError(f"num_classes must be 1, or background and further classes, not {num_classes}")
        self.num_classes = num_classes
        self.in_channels = in_channels
        self.encoder_name = encoder
        self.encoder = feature_encoder(encoder, in_channels)
        fine, middle, deep = self.encoder.feature_info.channels()
        self.field_fine = ReceptiveFieldBlock(fine, dim)
        self.field_middle = ReceptiveFieldBlock(middle, dim)
        self.field_deep = ReceptiveFieldBlock(deep, dim)
        self.decoder = PartialDecoder(dim, num_classes)
        self.reverse_deep = ReverseAttention(deep, num_classes, dim=256, kernel=5, depth=3, last_kernel=1)
        self.reverse_middle = ReverseAttention(middle, num_classes)
        self.reverse_fine = ReverseAttention(fine, num_classes)
        self.to(memory_format=torch.channels_last)  # the faster layout of the convolutions, see `maps`

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the prediction; in training all four maps, the prediction last."""
        height, width = x.shape[2], x.shape[3]
        if height % 32 != 0 or width % 32 != 0:
            raise ValueError(f"PraNet needs a height and width that are multiples of 32, not {height} and {width}")
        rough, deep, middle, fine = self.maps(x)
        if self.training:
            size = [height, width]
            return (
                linear_resize(rough, size),
                linear_resize(deep, size),
                linear_resize(middle, size),
                linear_resize(fine, size),
            )
        return linear_resize(fine, [height, width])

    def maps(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the logits of the partial decoder (1/8) and of the reverse attentions (1/32, 1/16, 1/8)."""
        # A clone, not contiguous: whether a copy is needed must not bind an exported program to a size.
        fine, middle, deep = self.encoder(x.clone(memory_format=torch.channels_last))
        rough = self.decoder(self.field_deep(deep), self.field_middle(middle), self.field_fine(fine))
        from_deep = self.reverse_deep(deep, rough)
        from_middle = self.reverse_middle(middle, from_deep)
        return rough, from_deep, from_middle, self.reverse_fine(fine, from_middle)

    def load_pretrained(self, source: str | None = None) -> None:
        """Replace the encoder's weights, by those of a file or, for None, by timm's for ImageNet.

        Raises:
            UserError: the weights cannot be had, or do not fit.
        """
        load_encoder(self.encoder, self.encoder_name, self.in_channels, source)

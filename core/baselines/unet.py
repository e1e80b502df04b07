"""The U-Net of segmentation-models-pytorch, with what a task and a card need to know of it."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

from ..blocks.norm import use_own_norms
from ..weights.pretrained import fill_pretrained


class Unet(nn.Module):
    """U-Net with a chosen encoder (Ronneberger et al. 2015; Iakubovskii, segmentation-models-pytorch).

    Args:
        encoder: name of the encoder in that library, such as "resnet34" or "tu-res2net50d".
        in_channels: channels of the input.
        num_classes: channels of the output.

    Shape: (N, in_channels, H, W), H and W multiples of 32 -> logits (N, num_classes, H, W).
    """

    size_multiple = 32

    def __init__(self, encoder: str = "resnet34", in_channels: int = 3, num_classes: int = 1) -> None:
        super().__init__()
        import segmentation_models_pytorch

        self.encoder_name = encoder
        self.in_channels = in_channels
        self.num_classes = num_classes
        self.net = segmentation_models_pytorch.Unet(
            encoder, encoder_weights=None, in_channels=in_channels, classes=num_classes
        )
        use_own_norms(self.net)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits."""
        return self.net(x)

    def load_pretrained(self, source: str | Path | None = None) -> None:
        """Replace the encoder's weights.

        Args:
            source: a file of weights by the same names; None for the library's ImageNet weights, which are downloaded
                once.

        Raises:
            UserError: the weights cannot be had, or do not fit.
        """
        from segmentation_models_pytorch.encoders import get_encoder

        name, channels = self.encoder_name, self.in_channels
        fill_pretrained(self.net.encoder, "fc.", source, lambda: get_encoder(name, channels, weights="imagenet"))

"""The U-Net of segmentation-models-pytorch, with what a task and a card need to know of it."""

from __future__ import annotations

from torch import Tensor, nn

from ..blocks.norm import use_own_norms


class Unet(nn.Module):
    """U-Net with a chosen encoder (Ronneberger et al. 2015; Iakubovskii, segmentation-models-pytorch).

    Args:
        encoder: name of the encoder in that library, such as "resnet34" or "tu-res2net50d".
        in_channels: channels of the input.
        num_classes: channels of the output.
        pretrained: begin with the encoder's ImageNet weights, which are downloaded.

    Shape: (N, in_channels, H, W), H and W multiples of 32 -> logits (N, num_classes, H, W).
    """

    size_multiple = 32

    def __init__(
        self, encoder: str = "resnet34", in_channels: int = 3, num_classes: int = 1, pretrained: bool = False
    ) -> None:
        super().__init__()
        import segmentation_models_pytorch

        self.in_channels = in_channels
        self.num_classes = num_classes
        weights = "imagenet" if pretrained else None
        self.net = segmentation_models_pytorch.Unet(
            encoder, encoder_weights=weights, in_channels=in_channels, classes=num_classes
        )
        use_own_norms(self.net)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits."""
        return self.net(x)

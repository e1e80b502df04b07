"""Any image classifier of timm, as the plain network beside those with attention."""

import timm
from torch import Tensor, nn

from ....core.backbones import check_name, open_residual_branches
from ....core.weights.pretrained import fill_pretrained


class TimmClassifier(nn.Module):
    """An image classifier of timm; "resnet50" is MEDUSA's backbone alone, with weights of the same names.

    Args:
        name: name of the network in timm.
        num_classes: classes.
        in_channels: channels of the image.

    Raises:
        ValueError: timm has no such network.
    Shape: (N, C, H, W) in 0..1 -> (N, classes), logits.
    """

    size_multiple = 1

    def __init__(self, name: str = "resnet50", num_classes: int = 2, in_channels: int = 3) -> None:
        super().__init__()
        check_name(name)
        self.name = name
        self.num_classes = num_classes
        self.in_channels = in_channels
        self.backbone = timm.create_model(name, num_classes=num_classes, in_chans=in_channels)
        open_residual_branches(self.backbone)

    def load_pretrained(self, source: str | None = None) -> None:
        """Replace all weights but the classifier's, by those of a file or, for None, by timm's for ImageNet.

        Raises:
            UserError: the weights cannot be had, or do not fit.
        """
        fill_pretrained(
            self.backbone,
            self.backbone.pretrained_cfg["classifier"] + ".",
            source,
            lambda: timm.create_model(self.name, in_chans=self.in_channels, pretrained=True),
        )

    def forward(self, image_NCHW: Tensor) -> Tensor:
        """Return the logits."""
        return self.backbone(image_NCHW)

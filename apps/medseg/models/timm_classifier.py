"""Any image classifier of timm, as the plain network beside those with attention."""

import timm
from torch import Tensor, nn

from ....core.messages import suggestion
from .timm_layers import Backbone, open_residual_branches


class TimmClassifier(nn.Module):
    """An image classifier of timm; with "resnet50" it is MEDUSA's backbone alone, weights by the same names.

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
        if name not in timm.list_models():
            raise ValueError(f"timm has no network {name!r}{suggestion(name, timm.list_models())}")
        self.name = name
        self.num_classes = num_classes
        self.in_channels = in_channels
        self.backbone = timm.create_model(name, num_classes=num_classes, in_chans=in_channels)
        open_residual_branches(self.backbone)

    def load_pretrained(self, source: str | None = None) -> None:
        """Replace all weights but the classifier's; see `Backbone.load_pretrained`.

        Raises:
            UserError: the weights cannot be had, or do not fit.
        """
        load_pretrained(self.backbone, self.name, self.in_channels, source)

    def forward(self, image_NCHW: Tensor) -> Tensor:
        """Return the logits."""
        return self.backbone(image_NCHW)

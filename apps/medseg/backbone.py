"""Convolutional networks of timm, cut into a stem and four stages under their own names, so that heads fit between."""

# N batch, C channels, H W pixels

import timm
import torch.nn.functional as F
from torch import Tensor, nn

from ...core.backbones import check_name, open_residual_branches
from ...core.weights.pretrained import fill_pretrained

STAGES = 4


class Backbone(nn.ModuleDict):
    """A timm network that can be run stage by stage, with average pooling and a linear classifier `fc`.

    The layers keep their names; those of "resnet50" are torchvision's, and so do its weights load. It starts with
    random weights, every residual branch open, as torchvision's do.

    Args:
        name: a convolutional network of timm with at least four feature levels, of which the last four are used.
        in_channels: channels of the image.
        num_classes: classes.

    Attributes:
        dims: channels after each of the four stages.

    Raises:
        ValueError: timm has no such network, or it cannot be cut into stages.
    Shape: (N, C, H, W) -> (N, classes), logits.
    """

    def __init__(self, name: str = "resnet50", in_channels: int = 3, num_classes: int = 2) -> None:
        layers = _feature_layers(name, in_channels)
        super().__init__(dict(layers.items()))
        open_residual_branches(self)
        self.name = name
        self.in_channels = in_channels
        self.dims: list[int] = layers.feature_info.channels()[-STAGES:]
        self.stage_of = _stages(list(layers.keys()), list(layers.return_layers)[-STAGES:])
        self.fc = nn.Linear(self.dims[-1], num_classes)

    def stage(self, x_NCHW: Tensor, number: int) -> Tensor:
        """Run the stem (number 0) or a stage (1..4)."""
        for i, layer in enumerate(self.values()):
            if self.stage_of[i] == number:
                x_NCHW = layer(x_NCHW)
        return x_NCHW

    def classify(self, x_NCHW: Tensor) -> Tensor:
        """Return the logits (N, classes) of the last stage's map."""
        return self.fc(F.adaptive_avg_pool2d(x_NCHW, 1).flatten(1))

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """Return the logits (N, classes) of images: the plain network."""
        for number in range(5):  # the stem and four stages
            x_NCHW = self.stage(x_NCHW, number)
        return self.classify(x_NCHW)

    def load_pretrained(self, source: str | None = None) -> None:
        """Replace all weights but the classifier's.

        Args:
            source: a file of weights by the same names, such as torchvision's of ResNet-50; None for timm's ImageNet
                weights, which are downloaded once.

        Raises:
            UserError: the weights cannot be had, or do not fit.
        """
        fill_pretrained(self, "fc.", source, lambda: _feature_layers(self.name, self.in_channels, pretrained=True))


def _feature_layers(name: str, in_channels: int, pretrained: bool = False) -> nn.ModuleDict:
    check_name(name)
    try:
        layers = timm.create_model(name, features_only=True, in_chans=in_channels, pretrained=pretrained)
    except (AttributeError, RuntimeError) as error:  # how timm's networks without feature levels answer
        raise ValueError(f"{name!r} has no feature levels ({error}); take a ResNet of timm") from error
    ordered = hasattr(layers, "return_layers") and str(layers.output_fmt).endswith("NCHW")
    if not ordered or len(layers.feature_info.channels()) < STAGES:
        raise ValueError(f"{name!r} cannot be cut into {STAGES} stages; take a ResNet, RegNet or ConvNeXt of timm")
    return layers


def _stages(layers: list[str], ends: list[str]) -> list[int]:
    """Return the stage of each layer, given the last layer of each of the four; the stem is 0, the classifier -1."""
    places = [layers.index(end) for end in ends]
    stages = [sum(end < place for end in places) + 1 for place in range(len(layers))]
    return [0 if place < places[0] else stage for place, stage in enumerate(stages)] + [-1]

"""Convolutional networks of timm, cut into a stem and four stages under their own names, so that heads fit between."""

# N batch, C channels, H W pixels

from pathlib import Path

import timm
import torch.nn.functional as F
from torch import Tensor, nn

from ....core.errors import UserError
from ....core.messages import suggestion
from ....core.weights.adapters import fill, unwrap
from ....core.weights.files import file_format, read_checkpoint, read_safetensors

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
    """

    def __init__(self, name: str = "resnet50", in_channels: int = 3, num_classes: int = 2) -> None:
        layers = _feature_layers(name, in_channels)
        super().__init__(layers.items())
        open_residual_branches(self)
        self.name = name
        self.in_channels = in_channels
        self.dims: list[int] = layers.feature_info.channels()[-STAGES:]
        self.stage_of = _stages(list(layers), list(layers.return_layers)[-STAGES:])
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
        for number in range(STAGES + 1):
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
        state = _read(source) if source else _downloaded(self.name, self.in_channels)
        own = {name: value for name, value in self.state_dict().items() if name.startswith("fc.")}
        fill(self, {name: value for name, value in state.items() if not name.startswith("fc.")} | own)


def open_residual_branches(module: nn.Module) -> None:
    """Set the weights of batch norms to 1, as torchvision does; timm lets residual branches begin at 0."""
    for each in module.modules():
        if isinstance(each, nn.BatchNorm2d):
            nn.init.ones_(each.weight)


def _feature_layers(name: str, in_channels: int, pretrained: bool = False) -> nn.ModuleDict:
    if name not in timm.list_models():
        raise ValueError(f"timm has no network {name!r}{suggestion(name, timm.list_models())}")
    layers = timm.create_model(name, features_only=True, in_chans=in_channels, pretrained=pretrained)
    in_order = isinstance(layers, nn.ModuleDict) and str(getattr(layers, "output_fmt", "")).endswith("NCHW")
    if not in_order or len(layers.feature_info.channels()) < STAGES:
        raise ValueError(f"{name!r} cannot be cut into {STAGES} stages; take a ResNet, RegNet or ConvNeXt of timm")
    return layers


def _stages(layers: list[str], ends: list[str]) -> list[int]:
    """Return the stage of each layer: 0 up to the last four feature levels begin, then that of the level it leads to.

    The layer after which a stage ends is the last of it. The first level's layers belong to stage 1 only from its own
    layer on, so that what comes before is the stem.
    """
    stages = []
    for layer in layers:
        passed = sum(layers.index(end) < layers.index(layer) for end in ends)
        stages.append(passed + 1 if passed or layer == ends[0] else 0)
    return [*stages, -1]  # the classifier, which is listed last


def _read(path: str) -> dict[str, Tensor]:
    if not Path(path).is_file():
        raise UserError(f"{path}: there is no such file of weights.")
    if file_format(Path(path)) == "safetensors":
        return unwrap(read_safetensors(Path(path))[0])
    return unwrap(read_checkpoint(Path(path)))


def _downloaded(name: str, in_channels: int) -> dict[str, Tensor]:
    try:
        return _feature_layers(name, in_channels, pretrained=True).state_dict()
    except Exception as error:  # whatever the network, the hub or the disk did
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"the ImageNet weights of {name} cannot be had ({reason}). Give a file of them as model.pretrained, "
            "or train without."
        ) from error

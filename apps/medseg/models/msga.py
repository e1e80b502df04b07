"""MSGA: multi-scale self-guided attention for segmentation of medical slices.

Sinha, Dolz: "Multi-scale self-guided attention for medical image segmentation", IEEE JBHI 2020, arXiv 1906.02849.
Where the paper's figure and the authors' code differ, the code is followed: eight predictions are supervised, and the
last four averaged.

Shapes: B batch, C classes, H W pixels of the image, h w positions of the finest features (a quarter of H and W),
D width of the features; four scales, from fine to coarse.
"""

from typing import NamedTuple

import torch
from timm.models import adapt_input_conv
from torch import Tensor, nn

from ....core.attention.channel_affinity import ChannelAffinityAttention
from ....core.attention.position import PositionAttention
from ....core.backbones import feature_network
from ....core.blocks.convolution import normed
from ....core.blocks.resampling import linear_resize
from ....core.errors import UserError
from ....core.weights.pretrained import fill_pretrained

SCALES = 4
STRIDES = [4, 8, 16, 32]  # of the backbone's features, pixels


class Supervised(NamedTuple):
    """What the training loss compares. Every list goes from fine to coarse.

    Attributes:
        predictions: eight logits (B, C, H, W): the first stage's, then the second stage's.
        codes: eight codes of the semantic modules, (B, 8 D, h / 4, w / 4): the first stage's, then the second's.
        inputs: what these modules shall reconstruct, eight (B, 2 D, h, w).
        reconstructions: what they gave, eight (B, 2 D, h, w).
    """

    predictions: list[Tensor]
    codes: list[Tensor]
    inputs: list[Tensor]
    reconstructions: list[Tensor]


def conv_unit(in_dim: int, out_dim: int, kernel: int, activation: type[nn.Module] = nn.PReLU) -> nn.Sequential:
    """Return a convolution that keeps the size, batch norm and activation: PReLU with one shared slope by default."""
    return nn.Sequential(*normed(nn.Conv2d(in_dim, out_dim, kernel, padding=kernel // 2), activation()))


class AttentionUnit(nn.Sequential):
    """An attention block between two convolutional units.

    Args:
        in_dim: channels in.
        out_dim: channels out.
        attention: the block, (B, out_dim, h, w) -> (B, out_dim, h, w).
    Shape: (B, in_dim, h, w) -> (B, out_dim, h, w).
    """

    def __init__(self, in_dim: int, out_dim: int, attention: nn.Module) -> None:
        super().__init__(conv_unit(in_dim, out_dim, 3), attention, conv_unit(out_dim, out_dim, 3))


class SemanticModule(nn.Module):
    """Encoder and decoder without skips, whose code and reconstruction guide the attention.

    Args:
        dim: channels in and out; the code has four times as many.
    Shape: (B, dim, h, w) -> code (B, 4 dim, h / 4, w / 4), reconstruction (B, dim, h, w); h and w even, at least 4.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.encode1 = _encoder(dim, 2 * dim)
        self.encode2 = _encoder(2 * dim, 4 * dim)
        self.decode2 = _decoder(4 * dim, 2 * dim)
        self.decode1 = _decoder(2 * dim, dim)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the code and the reconstruction."""
        half = self.encode1(x)
        code = self.encode2(half)
        return code, self.decode1(linear_resize(self.decode2(code), half.shape[2:]))


class GuidedAttention(nn.Module):
    """Channel and position attention of one scale, gated by a reconstruction of what they see.

    Args:
        dim: channels out; twice as many come in.
    Shape: (B, 2 dim, h, w) and a reconstruction of it -> (B, dim, h, w).
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.channel = AttentionUnit(2 * dim, dim, ChannelAffinityAttention())
        self.position = AttentionUnit(2 * dim, dim, PositionAttention(dim))
        self.gate = nn.Conv2d(2 * dim, dim, 3, padding=1)
        self.project = nn.Conv2d(dim, dim, 1)

    def forward(self, x: Tensor, reconstruction: Tensor) -> Tensor:
        """Return the attended features."""
        return self.project((self.channel(x) + self.position(x)) * self.gate(reconstruction))


class Stage(nn.Module):
    """Guided attention at every scale; one semantic module serves all scales.

    Args:
        dim: channels out; twice as many come in.
    Shape: four (B, 2 dim, h, w) -> four attended (B, dim, h, w), four codes, four reconstructions.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.semantic = SemanticModule(2 * dim)
        self.scales = nn.ModuleList(GuidedAttention(dim) for _ in range(SCALES))

    def forward(self, inputs: list[Tensor]) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """Return the attended features, the codes and the reconstructions."""
        attended: list[Tensor] = []
        codes: list[Tensor] = []
        reconstructions: list[Tensor] = []
        for scale, attend in enumerate(self.scales):
            code, reconstruction = self.semantic(inputs[scale])
            attended.append(attend(inputs[scale], reconstruction))
            codes.append(code)
            reconstructions.append(reconstruction)
        return attended, codes, reconstructions


class MSGA(nn.Module):
    """The network (Sinha and Dolz 2020). The defaults are those of the authors' code, which trains from scratch.

    Args:
        num_classes: classes with the background, C; two or more.
        in_channels: channels of the image: 1 for grey, 3 for RGB, one for each sequence of a scanner.
        backbone: name of a timm network with features at strides 4, 8, 16 and 32. "resnet18" or "resnet34" suit small
            data and a CPU.
        dim: width of the features, D; at least 8.
    Shape: (B, in_channels, H, W) in 0..1 -> logits (B, C, H, W) in evaluation mode, `Supervised` in training mode.
        H and W are multiples of 8, at least 16. (Others whose quarter, rounded up, is even work too.)

    Raises:
        ValueError: fewer than two classes.
        UserError: a backbone that timm does not have or that lacks these strides.
    """

    size_multiple = 8
    smallest_size = 16  # so that the codes of a quarter of the features have a pixel
    value_range = (0.0, 1.0)

    def __init__(
        self,
        num_classes: int = 5,
        in_channels: int = 1,
        backbone: str = "resnext101_32x8d",
        dim: int = 64,
    ) -> None:
        super().__init__()
        if num_classes < 2:
            raise ValueError(f"num_classes {num_classes} must be at least 2; the background counts")
        self.num_classes = num_classes
        self.in_channels = in_channels
        self.backbone_name = backbone
        self.backbone = feature_network(backbone, in_channels, STRIDES)
        channels = self.backbone.feature_info.channels()
        self.down = nn.ModuleList(conv_unit(each, dim, 1) for each in channels)
        self.fuse = nn.Sequential(conv_unit(SCALES * dim, dim, 3), conv_unit(dim, dim, 3), conv_unit(dim, dim, 1))
        self.stage1 = Stage(dim)
        self.stage2 = Stage(dim)
        self.heads1 = nn.ModuleList(nn.Conv2d(dim, num_classes, 1) for _ in range(SCALES))
        self.heads2 = nn.ModuleList(nn.Conv2d(dim, num_classes, 1) for _ in range(SCALES))
        self.apply(_initialise)

    def forward(self, x: Tensor) -> Tensor | Supervised:
        """Return the mean logits of the second stage; in training mode, all that the loss compares."""
        if self.training:
            return self.supervised(x)
        refined = self._stages(x)[1]
        logits: list[Tensor] = []
        for scale, head in enumerate(self.heads2):
            logits.append(head(refined[scale]))
        return linear_resize(torch.stack(logits).mean(0), x.shape[2:])  # the mean resized is the mean of the resized

    @torch.jit.export
    def supervised(self, x: Tensor) -> Supervised:
        """Return all that the loss compares, in either mode."""
        features, refined, codes, inputs, reconstructions = self._stages(x)
        size = x.shape[2:]
        predictions: list[Tensor] = []
        for scale, head in enumerate(self.heads1):
            predictions.append(linear_resize(head(features[scale]), size))
        for scale, head in enumerate(self.heads2):
            predictions.append(linear_resize(head(refined[scale]), size))
        return Supervised(predictions, codes, inputs, reconstructions)

    @torch.jit.unused
    def load_pretrained(self, source: str | None = None) -> None:
        """Start the backbone from ImageNet weights, which the authors do not.

        For other channels than three the first kernels are summed or repeated over the colours.

        Args:
            source: a file of weights by torchvision's or timm's names; None for timm's, which are downloaded once.

        Raises:
            UserError: the weights cannot be had, or do not fit.
        """
        name = self.backbone_name
        coloured = feature_network(name, 3, STRIDES)
        fill_pretrained(coloured, "fc.", source, lambda: feature_network(name, 3, STRIDES, pretrained=True))
        state = coloured.state_dict()
        stem = next(key for key, value in state.items() if value.ndim == 4)
        state[stem] = adapt_input_conv(self.in_channels, state[stem])
        self.backbone.load_state_dict(state)

    def _stages(self, x: Tensor) -> tuple[list[Tensor], list[Tensor], list[Tensor], list[Tensor], list[Tensor]]:
        """Return features, refined features, and both stages' codes, inputs and reconstructions."""
        if not torch.jit.is_scripting() and not torch.compiler.is_compiling():
            _check_size(x)
        features = self._features(x)
        fused = self.fuse(torch.cat(features[::-1], 1))
        inputs1 = [torch.cat([feature, fused], 1) for feature in features]
        attended, codes1, reconstructions1 = self.stage1(inputs1)
        inputs2: list[Tensor] = []
        for scale, feature in enumerate(features):
            inputs2.append(torch.cat([feature, attended[scale] * fused], 1))
        refined, codes2, reconstructions2 = self.stage2(inputs2)
        return features, refined, codes1 + codes2, inputs1 + inputs2, reconstructions1 + reconstructions2

    def _features(self, x: Tensor) -> list[Tensor]:
        """Return the backbone's features in one width, (B, D, h, w) at every scale."""
        levels = self.backbone(x)
        features: list[Tensor] = []
        for scale, down in enumerate(self.down):
            # Channels last is the faster layout from here on. A clone, not contiguous: whether a map needs a copy must
            # not bind an exported program to its size.
            feature = down(levels[scale].clone(memory_format=torch.channels_last))
            features.append(feature if scale == 0 else linear_resize(feature, features[0].shape[2:]))
        return features


def _encoder(in_dim: int, out_dim: int) -> nn.Sequential:
    return nn.Sequential(
        conv_unit(in_dim, out_dim, 3, nn.ReLU),
        conv_unit(out_dim, out_dim, 3, nn.ReLU),
        nn.MaxPool2d(2),
    )


def _decoder(in_dim: int, out_dim: int) -> nn.Sequential:
    return nn.Sequential(
        conv_unit(in_dim, out_dim, 3, nn.ReLU),
        conv_unit(out_dim, out_dim, 3, nn.ReLU),
        nn.ConvTranspose2d(out_dim, out_dim, 2, stride=2),
    )


def _initialise(module: nn.Module) -> None:
    """Draw weights as the authors do: Xavier normal kernels, norms around 1."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.xavier_normal_(module.weight)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
        nn.init.zeros_(module.bias)


def _check_size(x: Tensor) -> None:
    """Refuse an image whose finest features the semantic modules cannot halve twice and double again."""
    height, width = x.shape[2:]
    for size in (height, width):
        finest = -(-size // STRIDES[0])
        if finest % 2 or finest < 4:
            raise UserError(
                f"an image of {height}x{width} pixels does not fit MSGA; pad its sides to multiples of 8, at least 16."
            )

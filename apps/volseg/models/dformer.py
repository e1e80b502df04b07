"""D-Former: a U-shaped transformer whose blocks attend locally and globally in turn.

Wu, Liao, Chen, Wang, Chen, Gao, Wu: "D-Former: a U-shaped Dilated Transformer for 3D medical image segmentation",
Neural Computing and Applications 2022, arXiv 2201.00462.

Shapes: B batch, C channels, D H W depth, height and width, K classes. Volumes are (B, C, D, H, W) at the border and
(B, D, H, W, C) inside, where D, H and W count tokens.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ....core.attention.volume_groups import VolumeGroupAttention
from ....core.blocks.linear import Linear
from ....core.blocks.transformer import TransformerBlock
from ....kernels.window_attention.layout import partition, unpartition

LEVELS = 3  # resolutions that may be predicted in training: whole, half, quarter


class PatchEmbedding(nn.Module):
    """One token for each patch of the image. Shape: (B, in_channels, D, H, W) -> (B, D/p, H/p, W/p, dim).

    Args:
        in_channels: channels of the image.
        dim: channels of a token.
        patch: voxels of a patch along depth, height and width; they divide the image's sizes.
    """

    def __init__(self, in_channels: int, dim: int, patch: tuple[int, int, int]) -> None:
        super().__init__()
        self.project = nn.Conv3d(in_channels, dim, patch, patch)
        self.norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor) -> Tensor:
        """Return the tokens."""
        return self.norm(self.project(x).permute(0, 2, 3, 4, 1))


class PatchMerging(nn.Module):
    """Makes one token of 2x2x2. Shape: (B, D, H, W, C), even sizes -> (B, D/2, H/2, W/2, 2C).

    Args:
        dim: channels in.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(8 * dim)
        self.reduction = Linear(8 * dim, 2 * dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the merged tokens; of eight, the one that is next along the width comes second."""
        B, D, H, W, C = x.shape
        eight = partition(x, [2, 2, 2], False).reshape(B, D // 2, H // 2, W // 2, 8 * C)
        return self.reduction(self.norm(eight))


class Expansion(nn.Module):
    """Makes several tokens of each. Shape: (B, D, H, W, C) -> (B, D*f, H*f, W*f, dim_out).

    Args:
        dim: channels in.
        dim_out: channels out.
        factor: tokens for each along depth, height and width.
    """

    def __init__(self, dim: int, dim_out: int, factor: tuple[int, int, int]) -> None:
        super().__init__()
        self.factor = list(factor)
        self.expand = Linear(dim, factor[0] * factor[1] * factor[2] * dim_out, bias=False)
        self.norm = nn.LayerNorm(dim_out)

    def forward(self, x: Tensor) -> Tensor:
        """Return the finer tokens."""
        return self.placed(self.several(x))

    def several(self, x: Tensor) -> Tensor:
        """Return the tokens that are made of each, side by side: (..., C) -> (..., f * f * f, dim_out)."""
        return self.norm(self.expand(x).unflatten(-1, [self.factor[0] * self.factor[1] * self.factor[2], -1]))

    def placed(self, several: Tensor) -> Tensor:
        """Put tokens of any width, (B, D, H, W, f * f * f, C), in their places, (B, D*f, H*f, W*f, C)."""
        sizes = [size * factor for size, factor in zip(several.shape[1:4], self.factor)]  # noqa: B905
        return unpartition(several.flatten(0, 3), sizes, self.factor, False)


class Head(nn.Module):
    """Logits of every voxel under the tokens. Shape: (B, D, H, W, C) -> (B, num_classes, D*p, H*p, W*p).

    A token is expanded to many of its own width, of which only the logits are kept: one slice follows another, and only
    the logits are put in their places.

    Args:
        dim: channels in.
        num_classes: channels out.
        patch: voxels of a token along depth, height and width.
    """

    def __init__(self, dim: int, num_classes: int, patch: tuple[int, int, int]) -> None:
        super().__init__()
        self.expansion = Expansion(dim, dim, patch)
        self.classify = Linear(dim, num_classes, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        slices: list[Tensor] = []
        for each in x.split(1, dim=1):
            # Copied, as whether it lies in one piece depends on the batch, which an exported program leaves open.
            alone = each.clone(memory_format=torch.contiguous_format)
            slices.append(self.classify(self.expansion.several(alone)))
        return self.expansion.placed(torch.cat(slices, dim=1)).permute(0, 4, 1, 2, 3)


class Stage(nn.Module):
    """Dynamic position encoding, then blocks, local and global in turn. Shape: (B, D, H, W, C) -> the same.

    The encoding adds a depth-wise convolution of the tokens to them (Wu et al. 2022, sec. 3.3).

    Args:
        dim: channels.
        heads: attention heads.
        group: tokens of a group along depth, height and width.
        interval: multiple to which global blocks pad.
        mlp_ratio: hidden channels of a block's perceptron, as a multiple of `dim`.
        qkv_bias: let queries, keys and values have biases.
        drop: dropout in the blocks.
        attention_drop: dropout of attention weights.
        drop_paths: rate of stochastic depth of each block.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        group: tuple[int, int, int],
        interval: int,
        mlp_ratio: float,
        qkv_bias: bool,
        drop: float,
        attention_drop: float,
        drop_paths: Sequence[float],
    ) -> None:
        super().__init__()
        self.position = nn.Conv3d(dim, dim, 3, padding=1, groups=dim)
        self.blocks = nn.ModuleList(
            TransformerBlock(
                VolumeGroupAttention(dim, heads, group, i % 2 == 1, interval, qkv_bias, drop, attention_drop),
                dim,
                mlp_ratio,
                drop_path,
                drop=drop,
            )
            for i, drop_path in enumerate(drop_paths)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the tokens after all blocks."""
        x = x + self.position(x.permute(0, 4, 1, 2, 3)).permute(0, 2, 3, 4, 1)
        for block in self.blocks:
            x = block(x)
        return x


class DFormer(nn.Module):
    """The network (Wu et al. 2022), as in the authors' code. The defaults are those for the CT data Synapse.

    The paper draws the skip connections from the encoder's blocks; the code, and this, takes what enters each stage.
    The code also computes a prediction at a quarter of the resolution that it never returns; here it is an option.

    Args:
        num_classes: background and further classes.
        in_channels: channels of the image.
        dim: channels of the first stage; each further has twice as many.
        depths: blocks of each stage of the encoder, the last of which is the bottleneck; the decoder mirrors it.
        heads: attention heads of each stage.
        patch: voxels of a token along depth, height and width.
        group: tokens of an attention group along depth, height and width.
        intervals: for each stage, the multiple to which global attention pads.
        mlp_ratio: hidden channels of a block's perceptron, as a multiple of its channels.
        qkv_bias: let queries, keys and values have biases.
        drop: dropout of the embedding and in the blocks, in training.
        attention_drop: dropout of attention weights, in training.
        drop_path: rate of stochastic depth at the bottleneck, to which it grows evenly from 0; the decoder mirrors it.
        supervised: resolutions that are predicted in training: 1 for the whole one, 2 for the half too as published,
            3 for the quarter too.
        truncated_init: start linear layers from a truncated normal distribution of deviation 0.02 and without bias,
            not from PyTorch's defaults.
    Shape: (B, in_channels, D, H, W), sizes that are multiples of `size_multiple` -> logits (B, num_classes, D, H, W).
        In training, for 2 or 3 supervised resolutions, a tuple of these and those at 1/2 (and 1/4) of the size.

    Attributes:
        fixed_tile: what a global group holds depends on the size, and many sizes cannot be covered, so that data are
            cut into tiles of the size of the training, and padded to it.

    Raises:
        ValueError: options that do not fit together; in `forward`, sizes that are no multiples, or at which global
            attention cannot cover the tokens (for groups of 8 such as 28 tokens, see `dilated_members`).
    """

    fixed_tile = True

    def __init__(
        self,
        num_classes: int = 14,
        in_channels: int = 1,
        dim: int = 96,
        depths: Sequence[int] = (2, 2, 6, 2),
        heads: Sequence[int] = (3, 6, 12, 24),
        patch: tuple[int, int, int] = (2, 4, 4),
        group: tuple[int, int, int] = (2, 8, 8),
        intervals: Sequence[int] = (8, 4, 2, 1),
        mlp_ratio: float = 4.0,
        qkv_bias: bool = True,
        drop: float = 0.0,
        attention_drop: float = 0.0,
        drop_path: float = 0.0,
        supervised: int = 2,
        truncated_init: bool = False,
    ) -> None:
        super().__init__()
        steps = len(depths) - 1
        if steps < 1 or len(heads) != len(depths) or len(intervals) != len(depths):
            raise ValueError(
                f"depths, heads and intervals must be of one length, at least 2: {depths}, {heads}, {intervals}"
            )
        if not 1 <= supervised <= min(LEVELS, steps):
            raise ValueError(f"supervised must be 1 to {min(LEVELS, steps)}, not {supervised}")
        self.num_classes = num_classes
        self.in_channels = in_channels
        self.size_multiple = tuple(side * 2**steps for side in patch)
        paths = torch.linspace(0, drop_path, sum(depths), device="cpu").split(list(depths))
        widths = [dim * 2**i for i in range(steps + 1)]

        def stage(i: int) -> Stage:
            return Stage(
                widths[i],
                heads[i],
                tuple(group),
                intervals[i],
                mlp_ratio,
                qkv_bias,
                drop,
                attention_drop,
                paths[i].tolist(),
            )

        self.embedding = PatchEmbedding(in_channels, dim, tuple(patch))
        self.drop = nn.Dropout(drop)
        self.encoder = nn.ModuleList(stage(i) for i in range(steps))
        self.merging = nn.ModuleList(PatchMerging(widths[i]) for i in range(steps))
        self.bottleneck = stage(steps)
        self.bottleneck_norm = nn.LayerNorm(widths[-1])
        upward = range(steps - 1, -1, -1)
        self.expansions = nn.ModuleList(Expansion(widths[i + 1], widths[i], (2, 2, 2)) for i in upward)
        self.fusions = nn.ModuleList(Linear(2 * widths[i], widths[i]) for i in upward)
        self.decoder = nn.ModuleList(stage(i) for i in upward)
        self.norm = nn.LayerNorm(dim)
        self.heads = nn.ModuleList(Head(widths[i], num_classes, tuple(patch)) for i in range(supervised))
        if truncated_init:
            self.apply(_truncated_init)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor] | tuple[Tensor, Tensor, Tensor]:
        """Return the logits; in training also those of lower resolutions, the finest first."""
        self._check(x.shape[2], x.shape[3], x.shape[4])
        features = self.features(x)
        if not self.training:
            return self.heads[0](features[0])
        logits: list[Tensor] = []
        for i, head in enumerate(self.heads):
            logits.append(head(features[i]))
        if len(logits) == 1:
            return logits[0]
        if len(logits) == 2:
            return logits[0], logits[1]
        return logits[0], logits[1], logits[2]

    def features(self, x: Tensor) -> list[Tensor]:
        """Return the decoder's tokens, (B, D, H, W, C), of each resolution, the finest first."""
        x = self.drop(self.embedding(x))
        skips: list[Tensor] = []
        for stage, merging in zip(self.encoder, self.merging):  # noqa: B905 - TorchScript knows no `strict`
            skips.append(x)
            x = merging(stage(x))
        x = self.bottleneck_norm(self.bottleneck(x))
        raised: list[Tensor] = []
        for expansion, fusion, stage in zip(self.expansions, self.fusions, self.decoder):  # noqa: B905
            x = expansion(x)
            raised.insert(0, x)
            x = stage(fusion(torch.cat([x, skips.pop()], dim=-1)))
        raised[0] = self.norm(x)  # the lower resolutions are predicted from what was expanded, before its skip
        return raised

    def _check(self, depth: int, height: int, width: int) -> None:
        d, h, w = self.size_multiple
        if depth % d != 0 or height % h != 0 or width % w != 0:
            raise ValueError(
                f"D-Former needs sizes that are multiples of {d}, {h}, {w}, not {depth}, {height}, {width}"
            )


def _truncated_init(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)

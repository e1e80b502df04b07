"""DLGSANet: image super-resolution by dynamic local and sparse global attention.

Li, Pan, Tang, Dong: "DLGSANet: Lightweight Dynamic Local and Global Self-Attention Networks for Image
Super-Resolution", ICCV 2023, arXiv 2301.02031.

Shapes: N batch, C channels, H W low-resolution pixels, s scale.
"""

from collections.abc import Callable, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ....core.attention.channel import ChannelAttention
from ....core.attention.dynamic import DynamicLocalAttention
from ....core.blocks.channels_last import ChannelsLast
from ....core.blocks.mlp import GatedDepthwiseFeedForward
from ....core.blocks.norm import LayerNorm2d
from ....kernels.heads import check_heads

DIV2K_MEAN = (0.4488, 0.4371, 0.4040)  # red, green, blue
TLC_WINDOW = {2: 96, 3: 72, 4: 48}  # published evaluation windows by scale, low-resolution pixels

LocalMixer = Callable[[int], nn.Module]
"""Makes, for a width, a token mixer of channels-last maps, (N, H, W, C) -> (N, H, W, C), of any size."""


class MixerBlock(nn.Module):
    """A token mixer and a feed-forward unit, each behind a norm and with a residual.

    Args:
        dim: channels in and out.
        mixer: the token mixer, (N, C, H, W) -> (N, C, H, W).
    Shape: (N, C, H, W) -> (N, C, H, W).
    """

    def __init__(self, dim: int, mixer: nn.Module) -> None:
        super().__init__()
        self.norm1 = LayerNorm2d(dim)
        self.mixer = mixer
        self.norm2 = LayerNorm2d(dim)
        self.feed_forward = GatedDepthwiseFeedForward(dim)

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output."""
        x = x + self.mixer(self.norm1(x))
        return x + self.feed_forward(self.norm2(x))


class ResidualGroup(nn.Module):
    """Pairs of a local and a global block, then a 3x3 convolution, with a residual around all (the paper's RHDTG).

    Args:
        dim: channels in and out.
        pairs: pairs of blocks.
        heads: heads of the global blocks.
        window: evaluation window of the global blocks, pixels, or None for the whole map.
        local: make the mixers of the local blocks, (N, C, H, W) -> (N, C, H, W), in turns.
    Shape: (N, C, H, W) -> (N, C, H, W).
    """

    def __init__(
        self, dim: int, pairs: int, heads: int, window: int | None, local: Sequence[Callable[[], nn.Module]]
    ) -> None:
        super().__init__()
        blocks = []
        for pair in range(pairs):
            blocks.append(MixerBlock(dim, local[pair % len(local)]()))
            blocks.append(MixerBlock(dim, ChannelAttention(dim, heads, window)))
        self.blocks = nn.Sequential(*blocks)
        self.conv = nn.Conv2d(dim, dim, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the group's output."""
        return x + self.conv(self.blocks(x))


class DLGSANet(nn.Module):
    """The network (Li et al. 2023). The defaults are DLGSANet-light x4.

    Published variants, as (dim, groups, pairs): tiny (48, 3, 3), light (48, 4, 3), full (90, 6, 4).

    Args:
        scale: output pixels per input pixel along each axis.
        dim: width, C.
        groups: residual groups.
        pairs: pairs of a local and a global block in each group.
        heads: heads of the global attention; must divide `dim`.
        channels_per_kernel: channels that share a dynamic kernel; must divide `dim`.
        kernel: side of the dynamic kernels in pixels, odd.
        in_channels: 3 for RGB, 1 for grey.
        tlc: compare channels inside windows in evaluation mode (test-time local converter).
        tlc_window: side of these windows in low-resolution pixels; None means the published one for the scale.
        local: what mixes tokens in the local blocks instead of the dynamic convolution: the class of a channels-last
            mixer that takes the width first, or several that take turns in every group, such as windows and shifted
            windows. `channels_per_kernel` and `kernel` have no meaning then.
    Shape: (N, in_channels, H, W) in 0..1 -> (N, in_channels, s H, s W), not clipped. Any H and W.

    Raises:
        ValueError: a width that `heads` or `channels_per_kernel` does not divide, or an even kernel.
    """

    size_multiple = 1
    value_range = (0.0, 1.0)

    def __init__(
        self,
        scale: int = 4,
        dim: int = 48,
        groups: int = 4,
        pairs: int = 3,
        heads: int = 6,
        channels_per_kernel: int = 6,
        kernel: int = 7,
        in_channels: int = 3,
        tlc: bool = True,
        tlc_window: int | None = None,
        local: list[LocalMixer] | LocalMixer | None = None,
    ) -> None:
        super().__init__()
        check_heads(dim, heads)
        mixers = _dynamic(dim, channels_per_kernel, kernel) if local is None else _chosen(dim, local)
        self.scale = scale
        self.in_channels = in_channels
        window = (tlc_window or TLC_WINDOW.get(scale, 48)) if tlc else None
        mean = DIV2K_MEAN if in_channels == 3 else (0.0,) * in_channels
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1), persistent=False)
        self.shallow = nn.Conv2d(in_channels, dim, 3, padding=1, bias=False)
        self.groups = nn.Sequential(*(ResidualGroup(dim, pairs, heads, window, mixers) for _ in range(groups)))
        self.fuse = nn.Conv2d(dim, dim, 3, padding=1)
        self.upsample = nn.Conv2d(dim, in_channels * scale * scale, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the enlarged image."""
        # Channels last is the faster layout of the norms and the narrow convolutions. A clone, not contiguous: whether
        # a map of one pixel needs a copy must not bind an exported program to larger ones.
        shallow = self.shallow(x.clone(memory_format=torch.channels_last) - self.mean)
        deep = shallow + self.fuse(self.groups(shallow))
        return F.pixel_shuffle(self.upsample(deep), self.scale) + self.mean


def _dynamic(dim: int, channels_per_kernel: int, kernel: int) -> list[Callable[[], nn.Module]]:
    """Return what makes the published local mixer."""
    if dim % channels_per_kernel:
        raise ValueError(f"dim {dim} must be a multiple of channels_per_kernel {channels_per_kernel}")
    if kernel % 2 == 0:
        raise ValueError(f"kernel {kernel} must be odd")
    return [partial(DynamicLocalAttention, dim, channels_per_kernel, kernel)]


def _chosen(dim: int, local: list[LocalMixer] | LocalMixer) -> list[Callable[[], nn.Module]]:
    """Return what makes the local mixers that a user chose."""
    makers = local if isinstance(local, list) else [local]
    if not makers:
        raise ValueError("local must be a mixer or a list of at least one; leave it out for the published one")
    return [lambda make=make: ChannelsLast(make(dim)) for make in makers]

"""Blocks of timm and MONAI beside ours, with the same weights: each function returns both."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from foveal.core.attention.channel_groups import ChannelGroupAttention
from foveal.core.attention.convolutional import ConvolutionalBlockAttention
from foveal.core.attention.coordinate import CoordinateAttention
from foveal.core.attention.cross_covariance import CrossCovarianceAttention
from foveal.core.attention.dense import SelfAttention
from foveal.core.attention.efficient_local import EfficientLocalAttention
from foveal.core.attention.gate import AttentionGate
from foveal.core.attention.global_query import GlobalQueryAttention, GlobalQueryBlock
from foveal.core.attention.single_head import SingleHeadAttention
from foveal.core.attention.window import WindowAttention
from foveal.core.blocks.transformer import TransformerBlock

Pair = tuple[Callable[..., Tensor], nn.Module]
"""Their block and ours."""

TRANSFORMER = {
    "attn.rel_pos.": "mixer.position.",
    "attn.": "mixer.",
    "relative_position_bias_table": "table",
    "mixer.table": "mixer.position.table",
    **{"mlp.fc1": "mlp.0", "mlp.fc2": "mlp.3", "mlp.linear1": "mlp.0", "mlp.linear2": "mlp.3"},
}
"""What their names become in a transformer block of ours, one after another."""


def copied(theirs: nn.Module, ours: nn.Module, names: Mapping[str, str]) -> Pair:
    """Give our block their weights, and to those that start at zero some values first."""
    for weight in theirs.parameters():
        if not weight.any():
            nn.init.normal_(weight, std=0.1)
    state, own = {}, ours.state_dict()
    for name, value in theirs.state_dict().items():
        for old, new in names.items():
            name = name.replace(old, new)
        if name in own:
            state[name] = value.reshape(own[name].shape)
    ours.load_state_dict(state)
    return theirs.eval(), ours.eval()


def swin(side: int, dim: int, heads: int, shift: int) -> Pair:
    """Timm's block of Swin, for a map of a size known beforehand."""
    from timm.models.swin_transformer import SwinTransformerBlock

    theirs = SwinTransformerBlock(dim, (side, side), heads, window_size=7, shift_size=shift)
    return copied(theirs, TransformerBlock(WindowAttention(dim, heads, (7, 7), shift), dim), TRANSFORMER)


def volume_swin(side: int, dim: int, heads: int, shift: int) -> Pair:
    """MONAI's block of Swin; its mask is made beforehand, as its layer does."""
    from monai.networks.nets.swin_unetr import SwinTransformerBlock, compute_mask

    window, shifts = (7, 7, 7), (shift,) * 3
    theirs = SwinTransformerBlock(dim, heads, window, shifts, qkv_bias=True)
    theirs, ours = copied(theirs, TransformerBlock(WindowAttention(dim, heads, window, shift), dim), TRANSFORMER)
    mask = compute_mask([side] * 3, window, shifts, torch.device("cpu"))
    return Masked(theirs, mask), ours


class Masked(nn.Module):
    """MONAI's block with its mask."""

    def __init__(self, block: nn.Module, mask: Tensor) -> None:
        super().__init__()
        self.block, self.mask = block, mask

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output."""
        return self.block(x, self.mask)


def grid(dim: int, head_dim: int) -> Pair:
    """Timm's block of MaxViT with the windows of a grid."""
    from timm.models.maxxvit import MaxxVitTransformerCfg, PartitionAttentionCl

    settings = MaxxVitTransformerCfg(dim_head=head_dim, head_first=False, window_size=(7, 7), grid_size=(7, 7))
    theirs = PartitionAttentionCl(dim, "grid", settings)
    mixer = WindowAttention(dim, dim // head_dim, (7, 7), dilated=True)
    return copied(theirs, TransformerBlock(mixer, dim, norm_eps=1e-6), TRANSFORMER)


def global_query(side: int, dim: int, heads: int) -> Pair:
    """Timm's block of GC ViT, of a given query."""
    from timm.models.gcvit import GlobalContextVitBlock

    theirs = GlobalContextVitBlock(dim, (side, side), heads, 7)
    return copied(theirs, GlobalQueryBlock(GlobalQueryAttention(dim, heads, (7, 7)), dim), TRANSFORMER | {"qkv": "kv"})


def dense(dim: int, heads: int) -> Pair:
    """Timm's attention between all, with PyTorch's fused form."""
    from timm.layers.attention import Attention

    return copied(Attention(dim, heads, qkv_bias=True), SelfAttention(dim, heads), {})


def cross_covariance(dim: int, heads: int) -> Pair:
    """Timm's cross-covariance attention."""
    from timm.models.xcit import XCA

    return copied(XCA(dim, heads, qkv_bias=True), CrossCovarianceAttention(dim, heads), {})


def channel_groups(dim: int, heads: int) -> Pair:
    """Timm's attention between channels of DaViT."""
    from timm.models.davit import ChannelAttention

    return copied(ChannelAttention(dim, heads, qkv_bias=True), ChannelGroupAttention(dim, heads), {})


def single_head(dim: int, attended: int) -> Pair:
    """Timm's attention of SHViT."""
    from timm.models.shvit import SHSA

    names = {"pre_norm": "norm", "proj.1": "project", ".c.": ".conv.", ".bn.": ".norm."}
    return copied(SHSA(dim, 16, attended), SingleHeadAttention(dim, attended), names)


def convolutional(dim: int) -> Pair:
    """Timm's CBAM, whose spatial gate takes the mean before the maximum."""
    from timm.layers.cbam import CbamModule

    names = {"channel.fc1": "channels.squeeze", "channel.fc2": "channels.excite"}
    names |= {"spatial.conv.conv": "positions.score.conv", "spatial.conv.bn": "positions.score.norm"}
    theirs, ours = copied(CbamModule(dim), ConvolutionalBlockAttention(dim, bias=False), names)
    kernel = ours.positions.score.conv.weight
    kernel.data = kernel.data.flip(1)
    return theirs, ours


def coordinate(dim: int) -> Pair:
    """Timm's coordinate attention."""
    from timm.layers.coord_attn import CoordAttn

    theirs = CoordAttn(dim)
    names = {"conv1": "squeeze", "bn1": "norm", "conv_h": "excite.0", "conv_w": "excite.1"}
    return copied(theirs, CoordinateAttention(dim, theirs.conv1.out_channels, bias=False), names)


def efficient_local(dim: int) -> Pair:
    """Timm's efficient local attention."""
    from timm.layers.coord_attn import EfficientLocalAttn

    names = {"conv_h": "units.0.0", "conv_w": "units.1.0", "norm_h": "units.0.1", "norm_w": "units.1.1"}
    return copied(EfficientLocalAttn(dim), EfficientLocalAttention(dim, norm_groups=1, shared=False, silu=True), names)


def gate(dim: int, hidden: int, axes: int) -> Pair:
    """MONAI's attention gate, which takes the gating signal first."""
    from monai.networks.nets.attentionunet import AttentionBlock

    names = {"W_g": "of_gate", "W_x": "of_map", "psi": "score", ".conv.": "."}
    return copied(AttentionBlock(axes, hidden, dim, dim), GateFirst(dim, dim, hidden, spatial_dims=axes), names)


class GateFirst(AttentionGate):
    """Our attention gate with MONAI's order of arguments."""

    def forward(self, gate: Tensor, x: Tensor) -> Tensor:
        """Return the weighted map."""
        return super().forward(x, gate)

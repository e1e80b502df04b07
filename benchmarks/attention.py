"""Speed and memory of the attention blocks: `python benchmarks/attention.py [ROW ...]`, best with OMP_NUM_THREADS=1.

Every row sets a block, projections included but for neighbourhoods and the rows that say so, beside its plain
formulation as papers write it, or beside timm's or MONAI's own. Both have the same weights and are first held together;
then they are timed in turns in one process. The table is printed and appended to benchmarks/RESULTS.md. Training is a
pass forward and backward to the input and all weights, with batch norms as in evaluation.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import library_blocks as library
import plain_gates as gates
import plain_regions as regions
import plain_tokens as tokens
import torch
from measure import Forms, Rows, in_use, run_forms
from plain_windows import gathered_neighborhoods, neighbors, plain_cross, plain_windows
from torch import Tensor, nn

from foveal.core.attention.adaptive_sparse import AdaptiveSparseAttention
from foveal.core.attention.adaptive_spectrum import AdaptiveSpectralMixer
from foveal.core.attention.additive import AdditiveAttention
from foveal.core.attention.agent import AgentAttention
from foveal.core.attention.bilevel import BiLevelRoutingAttention
from foveal.core.attention.channel import ChannelAttention
from foveal.core.attention.channel_affinity import ChannelAffinityAttention
from foveal.core.attention.channel_groups import ChannelGroupAttention
from foveal.core.attention.convolutional import ConvolutionalBlockAttention
from foveal.core.attention.coordinate import CoordinateAttention
from foveal.core.attention.cross_covariance import CrossCovarianceAttention
from foveal.core.attention.cross_shaped import CrossShapedAttention
from foveal.core.attention.deformable_gate import DeformableGate
from foveal.core.attention.efficient import EfficientAttention
from foveal.core.attention.efficient_local import EfficientLocalAttention
from foveal.core.attention.focused_linear import FocusedLinearAttention
from foveal.core.attention.frequency_filter import AdaptiveFrequencyFilter
from foveal.core.attention.gate import AttentionGate
from foveal.core.attention.global_filter import GlobalFilter
from foveal.core.attention.global_query import GlobalQueryAttention
from foveal.core.attention.hilo import HiLoAttention
from foveal.core.attention.instance_sparse import InstanceSparseAttention
from foveal.core.attention.large_kernel import LargeKernelAttention
from foveal.core.attention.linformer import LinformerAttention
from foveal.core.attention.mixture_of_heads import MixtureOfHeadsAttention
from foveal.core.attention.neighborhood import NeighborhoodAttention
from foveal.core.attention.nystrom import NystromAttention
from foveal.core.attention.performer import PerformerAttention
from foveal.core.attention.polarized import PolarizedAttention
from foveal.core.attention.position import PositionAttention
from foveal.core.attention.reverse import ReverseAttention
from foveal.core.attention.single_head import SingleHeadAttention
from foveal.core.attention.softmax_free import SoftmaxFreeAttention
from foveal.core.attention.subspace import SubspaceAttention
from foveal.core.attention.super_token import SuperTokenAttention
from foveal.core.attention.top_k import TopKSoftmax
from foveal.core.attention.window import WindowAttention
from foveal.kernels.window_attention import window_attention

# B batch, C channels, G windows, N tokens of a window or map, h heads, d channels of a head, K keys of a token

Size = tuple[int, ...]


def inference(plain: Callable[..., Tensor], ours: Callable[..., Tensor], *sizes: Size) -> Forms:
    """Return both forms without gradients."""
    return in_use(plain, ours, *(torch.randn(size) for size in sizes))


def training(plain: Callable[..., Tensor], ours: nn.Module, *sizes: Size) -> Forms:
    """Return both forms with the gradients of inputs and weights, one after another; of another module the inputs'."""
    inputs = [torch.randn(size, requires_grad=True) for size in sizes]
    cotangent = torch.randn(ours(*inputs).shape)
    apart = isinstance(plain, nn.Module)

    def gradients(network: Callable[..., Tensor], weights: list[nn.Parameter]) -> tuple[Tensor, ...]:
        found = torch.autograd.grad(network(*inputs), [*inputs, *weights], cotangent, materialize_grads=True)
        return found[: len(inputs) if apart else None]

    own = list(ours.parameters())
    theirs = list(plain.parameters()) if isinstance(plain, nn.Module) else own
    return lambda: gradients(plain, theirs), lambda: gradients(ours, own)


def windows(form: Callable[..., Forms], size: Size, heads: int, window: int, **options: object) -> Forms:
    """Return both forms of attention inside windows."""
    block = WindowAttention(size[-1], heads, [window] * (len(size) - 2), **options).eval()
    return form(partial(plain_windows, block), block, size)


def bare_windows(size: Size, heads: int, window: int, shift: int = 0) -> Forms:
    """Return both forms of attention inside windows for queries, keys and values."""
    block = WindowAttention(size[-1], heads, [window] * (len(size) - 2), shift).eval()
    layout, bias = block.fitted(size[1:-1]), block.position(block.window).detach()
    block.qkv = block.proj = nn.Identity()

    def ours(qkv: Tensor) -> Tensor:
        return window_attention(qkv.unflatten(-1, (3, heads, -1)), bias, layout).flatten(-2)

    return inference(partial(plain_windows, block), ours, (*size[:-1], 3 * size[-1]))


def neighborhoods(form: Callable[..., Forms], size: Size, heads: int, kernel: int, dilation: int = 1) -> Forms:
    """Return both forms of neighbourhood attention, for queries, keys and values."""
    axes, size = len(size) - 2, (*size[:-1], 3 * size[-1])
    block = NeighborhoodAttention(size[-1] // 3, heads, [kernel] * axes, dilation).eval()
    block.qkv = block.proj = nn.Identity()
    return form(partial(gathered_neighborhoods, block, neighbors(size[1:-1], kernel, dilation)), block, size)


def blocks(
    form: Callable[..., Forms], make: Callable[[], nn.Module], plain: Callable[..., Tensor], *sizes: Size
) -> Forms:
    """Return both forms of a block, in which no weights are all zero."""
    block = make().eval()
    for weight in block.parameters():
        if not weight.any():
            nn.init.normal_(weight, std=0.1)
    return form(partial(plain, block), block, *sizes)


def libraries(form: Callable[..., Forms], pair: Callable[[], library.Pair], *sizes: Size) -> Forms:
    """Return another library's block and ours."""
    return form(*pair(), *sizes)


def row(what: str, make: Callable[..., Forms], *arguments: object, **options: object) -> Callable[[], Forms]:
    """Return what makes the forms of a row, with what the table says of it."""

    def forms() -> Forms:
        return make(*arguments, **options)

    forms.__doc__ = what
    return forms


LARGE, RESTORED, VOLUME = (2, 112, 112, 96), (1, 64, 64, 180), (1, 28, 28, 28, 48)
MAP, SMALL, CUBE = (1, 56, 56, 128), (1, 28, 28, 192), (1, 16, 16, 16, 48)
STAGE, DEEP, FIRST, FEW = (2, 56, 56, 64), (4, 28, 28, 128), (4, 64, 56, 56), (4, 14, 14, 192)
WINDOWS: Rows = {
    "window": row("Windows of 7, 2 x 112 x 112 x 96, 3 heads, inference", windows, inference, LARGE, 3, 7),
    "shifted": row(
        "Shifted windows of 7, 2 x 112 x 112 x 96, 3 heads, inference", windows, inference, LARGE, 3, 7, shift=3
    ),
    "window_train": row(
        "Shifted windows of 7, 2 x 112 x 112 x 96, 3 heads, training", windows, training, LARGE, 3, 7, shift=3
    ),
    "window_bare": row(
        "Shifted windows of 7, 2 x 112 x 112 x 96, without projections", bare_windows, LARGE, 3, 7, shift=3
    ),
    "window_bare_whole": row("Windows of 7, 2 x 112 x 112 x 96, without projections", bare_windows, LARGE, 3, 7),
    "window_wide": row(
        "Shifted windows of 8, 64 x 64 x 180, 6 heads, inference", windows, inference, RESTORED, 6, 8, shift=4
    ),
    "window_wide_train": row(
        "Shifted windows of 8, 64 x 64 x 180, 6 heads, training", windows, training, RESTORED, 6, 8, shift=4
    ),
    "window_16": row(
        "Shifted windows of 16, 64 x 64 x 180, 6 heads, inference", windows, inference, RESTORED, 6, 16, shift=8
    ),
    "window_16_train": row(
        "Shifted windows of 16, 64 x 64 x 180, 6 heads, training", windows, training, RESTORED, 6, 16, shift=8
    ),
    "window_small": row(
        "Shifted windows of 7, 28 x 28 x 192, 6 heads, inference", windows, inference, SMALL, 6, 7, shift=3
    ),
    "window_small_train": row(
        "Shifted windows of 7, 28 x 28 x 192, 6 heads, training", windows, training, SMALL, 6, 7, shift=3
    ),
    "window_small_whole_train": row("Windows of 7, 28 x 28 x 192, 6 heads, training", windows, training, SMALL, 6, 7),
    "window_few_train": row("Windows of 7, 4 x 14 x 14 x 192, 6 heads, training", windows, training, FEW, 6, 7),
    "window_map_train": row("Windows of 7, 56 x 56 x 128, 4 heads, training", windows, training, MAP, 4, 7),
    "window_map_shifted_train": row(
        "Shifted windows of 7, 56 x 56 x 128, 4 heads, training", windows, training, MAP, 4, 7, shift=3
    ),
    "volume": row("Windows of 7, 28^3 x 48, 3 heads, inference", windows, inference, VOLUME, 3, 7),
    "volume_shifted": row(
        "Shifted windows of 7, 28^3 x 48, 3 heads, inference", windows, inference, VOLUME, 3, 7, shift=3
    ),
    "volume_train": row("Shifted windows of 7, 28^3 x 48, 3 heads, training", windows, training, VOLUME, 3, 7, shift=3),
    "grid": row("Grid of 7, 2 x 112 x 112 x 96, 3 heads, inference", windows, inference, LARGE, 3, 7, dilated=True),
    "grid_train": row("Grid of 7, 2 x 112 x 112 x 96, 3 heads, training", windows, training, LARGE, 3, 7, dilated=True),
}
NEIGHBORHOODS: Rows = {
    "neighborhood": row("Neighbourhoods of 7, 56 x 56 x 128, 4 heads, inference", neighborhoods, inference, MAP, 4, 7),
    "neighborhood_train": row(
        "Neighbourhoods of 7, 56 x 56 x 128, 4 heads, training", neighborhoods, training, MAP, 4, 7
    ),
    "dilated": row(
        "Neighbourhoods of 7, 4 apart, 56 x 56 x 128, 4 heads, inference", neighborhoods, inference, MAP, 4, 7, 4
    ),
    "dilated_train": row(
        "Neighbourhoods of 7, 4 apart, 56 x 56 x 128, 4 heads, training", neighborhoods, training, MAP, 4, 7, 4
    ),
    "neighborhood_13": row(
        "Neighbourhoods of 13, 56 x 56 x 128, 4 heads, inference", neighborhoods, inference, MAP, 4, 13
    ),
    "neighborhood_3": row(
        "Neighbourhoods of 3, 56 x 56 x 128, 4 heads, inference", neighborhoods, inference, MAP, 4, 3
    ),
    "neighborhood_small": row(
        "Neighbourhoods of 7, 28 x 28 x 192, 6 heads, inference", neighborhoods, inference, SMALL, 6, 7
    ),
    "neighborhood_volume": row(
        "Neighbourhoods of 5, 16^3 x 48, 3 heads, inference", neighborhoods, inference, CUBE, 3, 5
    ),
    "neighborhood_volume_train": row(
        "Neighbourhoods of 5, 16^3 x 48, 3 heads, training", neighborhoods, training, CUBE, 3, 5
    ),
    "neighborhood_line": row(
        "Neighbourhoods of 31, 4096 x 128, 4 heads, inference", neighborhoods, inference, (1, 4096, 128), 4, 31
    ),
}
BLOCKS = {
    "bilevel_56": (
        "Bi-level routing, 56x56, 64 channels, 2 heads, 7x7 regions, top 4",
        partial(BiLevelRoutingAttention, 64, 2, 7, 4),
        regions.plain_bilevel,
        (1, 56, 56, 64),
    ),
    "bilevel_112": (
        "Bi-level routing, 112x112, 64 channels, 2 heads, 14x14 regions, top 8",
        partial(BiLevelRoutingAttention, 64, 2, 14, 8),
        regions.plain_bilevel,
        (1, 112, 112, 64),
    ),
    "bilevel_28": (
        "Bi-level routing, batch 4, 28x28, 128 channels, 4 heads, 7x7 regions, top 4",
        partial(BiLevelRoutingAttention, 128, 4, 7, 4),
        regions.plain_bilevel,
        DEEP,
    ),
    "cross": (
        "Stripes of 2, 56 x 56 x 64, 2 heads",
        partial(CrossShapedAttention, 64, 2, 2),
        plain_cross,
        (1, 56, 56, 64),
    ),
    "super_tokens": (
        "Super tokens, 112x112, 64 channels, cells of 8x8",
        partial(SuperTokenAttention, 64, 2, (8, 8)),
        regions.plain_super_tokens,
        (1, 112, 112, 64),
    ),
    "cross_covariance": (
        "Cross-covariance, 56x56, 192 channels, 4 heads",
        partial(CrossCovarianceAttention, 192, 4),
        regions.plain_cross_covariance,
        (1, 56, 56, 192),
    ),
    "channel_groups": (
        "Dual attention's channel groups, 2 x 56 x 56 x 64, 2 heads",
        partial(ChannelGroupAttention, 64, 2),
        tokens.plain_channel_groups,
        STAGE,
    ),
    "agent": (
        "Agents, 2 x 56 x 56 x 64, 2 heads, 49 agents",
        partial(AgentAttention, 64, 2, (56, 56)),
        tokens.plain_agent,
        STAGE,
    ),
    "hilo": (
        "HiLo, 4 x 28 x 28 x 128, 4 heads, windows of 2",
        partial(HiLoAttention, 128, 4),
        tokens.plain_hilo,
        DEEP,
    ),
    "focused_linear": (
        "Focused linear, 2 x 56 x 56 x 64, 2 heads",
        partial(FocusedLinearAttention, 64, 2, (56, 56)),
        tokens.plain_focused,
        STAGE,
    ),
    "efficient": (
        "Efficient, 2 x 56 x 56 x 64, 2 heads",
        partial(EfficientAttention, 64, 2),
        tokens.plain_efficient,
        STAGE,
    ),
    "nystrom": (
        "Nystrom, 56 x 56 x 64, 2 heads, 49 landmarks",
        partial(NystromAttention, 64, 2, 49),
        tokens.plain_nystrom,
        (1, 56, 56, 64),
    ),
    "linformer": (
        "Linformer, 56 x 56 x 64, 2 heads, rank 256",
        partial(LinformerAttention, 64, 2, 56 * 56),
        tokens.plain_linformer,
        (1, 56, 56, 64),
    ),
    "performer": (
        "Performer, 2 x 56 x 56 x 64, 2 heads, 110 features",
        partial(PerformerAttention, 64, 2),
        tokens.plain_performer,
        STAGE,
    ),
    "softmax_free": (
        "SOFT, 56 x 56 x 64, 2 heads, 49 landmarks",
        partial(SoftmaxFreeAttention, 64, 2, 8),
        tokens.plain_softmax_free,
        (1, 56, 56, 64),
    ),
    "global_filter": (
        "Global filter, 2 x 56 x 56 x 64",
        partial(GlobalFilter, 64, (56, 56)),
        tokens.plain_global_filter,
        STAGE,
    ),
    "frequency_filter": (
        "Adaptive frequency filter, 2 x 56 x 56 x 64, 8 blocks",
        partial(AdaptiveFrequencyFilter, 64),
        tokens.plain_frequency_filter,
        STAGE,
    ),
    "spectral_mixer": (
        "FFTNet's mixer, 4 x 28 x 28 x 128, 4 heads",
        partial(AdaptiveSpectralMixer, 128, 4, 784),
        tokens.plain_spectral_mixer,
        DEEP,
    ),
    "mixture_of_heads": (
        "Mixture of heads, 4 x 14 x 14 x 192, 8 heads",
        partial(MixtureOfHeadsAttention, 192, 8, (14, 14), 2, 4),
        tokens.plain_heads_mixture,
        FEW,
    ),
    "instance_sparse": (
        "Sparsifiner, 4 x 197 x 192, 3 heads, a quarter of the keys",
        partial(InstanceSparseAttention, 192, 197, 3),
        tokens.plain_instance_sparse,
        (4, 197, 192),
    ),
    "global_query": (
        "Global queries, windows of 7, 2 x 56 x 56 x 64, 2 heads",
        partial(GlobalQueryAttention, 64, 2),
        tokens.plain_global_query,
        STAGE,
        (2, 7, 7, 64),
    ),
    "adaptive_sparse": (
        "Softmax and squared ReLU in windows of 8, 2 x 56 x 56 x 64, 2 heads",
        partial(AdaptiveSparseAttention, 64, 2),
        tokens.plain_adaptive_sparse,
        STAGE,
    ),
    "top_k": (
        "Top-k between channels, 1 x 48 x 128 x 128, 1 head",
        partial(ChannelAttention, 48, 1, weighting=TopKSoftmax()),
        gates.plain_top_k,
        (1, 48, 128, 128),
    ),
    "single_head": (
        "Single head, 4 x 192 x 14 x 14, 48 channels",
        partial(SingleHeadAttention, 192, 48),
        gates.plain_single_head,
        (4, 192, 14, 14),
    ),
    "single_head_56": (
        "Single head, 1 x 64 x 56 x 56, 16 channels",
        partial(SingleHeadAttention, 64, 16),
        gates.plain_single_head,
        (1, 64, 56, 56),
    ),
    "additive": ("Additive, 4 x 64 x 56 x 56", partial(AdditiveAttention, 64), gates.plain_additive, FIRST),
    "large_kernel": (
        "Large kernel, 4 x 64 x 56 x 56",
        partial(LargeKernelAttention, 64),
        gates.plain_large_kernel,
        FIRST,
    ),
    "convolutional": (
        "CBAM, 4 x 64 x 56 x 56",
        partial(ConvolutionalBlockAttention, 64),
        gates.plain_convolutional,
        FIRST,
    ),
    "coordinate": (
        "Coordinate attention, 4 x 64 x 56 x 56",
        partial(CoordinateAttention, 64),
        gates.plain_coordinate,
        FIRST,
    ),
    "efficient_local": (
        "Efficient local attention, 4 x 64 x 56 x 56",
        partial(EfficientLocalAttention, 64),
        gates.plain_efficient_local,
        FIRST,
    ),
    "polarized": (
        "Polarized, side by side, 4 x 64 x 56 x 56",
        partial(PolarizedAttention, 64),
        gates.plain_polarized,
        FIRST,
    ),
    "polarized_sequential": (
        "Polarized, one after the other, 4 x 64 x 56 x 56",
        partial(PolarizedAttention, 64, True),
        gates.plain_polarized,
        FIRST,
    ),
    "subspace": ("ULSAM, 4 x 64 x 56 x 56", partial(SubspaceAttention, 64), gates.plain_subspace, FIRST),
    "position": (
        "Dual attention of positions, 128 x 64 x 64",
        partial(PositionAttention, 128),
        gates.plain_position,
        (1, 128, 64, 64),
    ),
    "channel_affinity": (
        "Dual attention of channels, 128 x 64 x 64",
        ChannelAffinityAttention,
        gates.plain_channel_affinity,
        (1, 128, 64, 64),
    ),
    "reverse": (
        "Reverse attention, 256 x 44 x 44, 64 inside",
        partial(ReverseAttention, 256),
        gates.plain_reverse,
        (1, 256, 44, 44),
        (1, 1, 22, 22),
    ),
    "gate": (
        "Attention gate, 4 x 64 x 56 x 56, stride 2",
        partial(AttentionGate, 64, 128, 64, 2, False, True, spatial_dims=2),
        gates.plain_gate,
        FIRST,
        (4, 128, 28, 28),
    ),
    "deformable": (
        "Deformable gate, 1 x 64 x 56 x 56",
        partial(DeformableGate, 64),
        gates.plain_deformable,
        (1, 64, 56, 56),
    ),
    "deformable_fused": (
        "Deformable gate, 1 x 64 x 56 x 56, beside torchvision's convolution",
        partial(DeformableGate, 64),
        gates.torchvision_deformable,
        (1, 64, 56, 56),
    ),
}
LIBRARIES = {
    "timm_swin": ("Swin's block, 56 x 56 x 96, 3 heads, beside timm's", library.swin, (56, 96, 3, 0), (1, 56, 56, 96)),
    "timm_swin_shifted": (
        "Swin's block, shifted, 56 x 56 x 96, 3 heads, beside timm's",
        library.swin,
        (56, 96, 3, 3),
        (1, 56, 56, 96),
    ),
    "monai_swin": ("Swin's block, 28^3 x 48, 3 heads, beside MONAI's", library.volume_swin, (28, 48, 3, 0), VOLUME),
    "monai_swin_shifted": (
        "Swin's block, shifted, 28^3 x 48, 3 heads, beside MONAI's",
        library.volume_swin,
        (28, 48, 3, 3),
        VOLUME,
    ),
    "timm_grid": ("MaxViT's grid block, 2 x 56 x 56 x 64, beside timm's", library.grid, (64, 32), STAGE),
    "timm_global_query": (
        "GC ViT's global block, 56 x 56 x 64, 2 heads, beside timm's",
        library.global_query,
        (56, 64, 2),
        (1, 56, 56, 64),
        (1, 7, 7, 64),
    ),
    "timm_dense": ("All to all, 4 x 196 x 192, 3 heads, beside timm's", library.dense, (192, 3), (4, 196, 192)),
    "timm_cross_covariance": (
        "Cross-covariance, 3136 x 192, 4 heads, beside timm's",
        library.cross_covariance,
        (192, 4),
        (1, 3136, 192),
    ),
    "timm_channel_groups": (
        "DaViT's channels, 2 x 3136 x 96, 3 heads, beside timm's",
        library.channel_groups,
        (96, 3),
        (2, 3136, 96),
    ),
    "timm_single_head": (
        "Single head, 4 x 192 x 14 x 14, beside timm's",
        library.single_head,
        (192, 48),
        (4, 192, 14, 14),
    ),
    "timm_convolutional": ("CBAM, 4 x 64 x 56 x 56, beside timm's", library.convolutional, (64,), FIRST),
    "timm_coordinate": ("Coordinate attention, 4 x 64 x 56 x 56, beside timm's", library.coordinate, (64,), FIRST),
    "timm_efficient_local": (
        "Efficient local attention, 4 x 64 x 56 x 56, beside timm's",
        library.efficient_local,
        (64,),
        FIRST,
    ),
    "monai_gate": (
        "Attention gate, 4 x 64 x 56 x 56, beside MONAI's",
        library.gate,
        (64, 32, 2),
        FIRST,
        FIRST,
    ),
}
FORMS = (("", inference), ("_train", training))
ROWS: Rows = {
    **WINDOWS,
    **NEIGHBORHOODS,
    **{
        name + suffix: row(f"{what}, {form.__name__}", blocks, form, *rest)
        for name, (what, *rest) in BLOCKS.items()
        for suffix, form in FORMS
    },
    **{
        name + suffix: row(f"{what}, {form.__name__}", libraries, form, partial(pair, *arguments), *sizes)
        for name, (what, pair, arguments, *sizes) in LIBRARIES.items()
        for suffix, form in FORMS
    },
}

if __name__ == "__main__":
    run_forms(None, __doc__, "Attention blocks", ROWS)

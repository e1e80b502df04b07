"""Attention between channels and the units beside it: XCiT, Restormer and DRSformer."""

from collections.abc import Callable

import torch
from filled_block import filled, filled_from
from parity import Case
from token_maps import on_tokens, sizes_of, weights
from torch import Tensor, nn

from foveal.core.attention.channel import ChannelAttention
from foveal.core.attention.cross_covariance import CrossCovarianceAttention
from foveal.core.attention.top_k import TopKSoftmax
from foveal.core.blocks.channels_last import LocalPatchInteraction
from foveal.core.blocks.mlp import GatedDepthwiseFeedForward


def cross_covariance(case: Case) -> nn.Module:
    """XCiT's attention."""
    dim, heads = case.shapes["proj.weight"][0], case.shapes["temperature"][0]
    return filled(CrossCovarianceAttention(dim, heads, qkv_bias="qkv.bias" in case.shapes), case)


def local_patch_interaction(case: Case) -> Callable[[Tensor], Tensor]:
    """XCiT's convolutions."""
    dim, _, kernel, _ = case.shapes["conv1.weight"]
    block = filled(LocalPatchInteraction(dim, kernel), case, [(r"^bn\.", "norm.")])
    return on_tokens(block, sizes_of(case, case.inputs[0].shape[1]))


def transposed(case: Case) -> nn.Module:
    """Restormer's attention."""
    dim, heads = case.shapes["project_out.weight"][0], case.shapes["temperature"][0]
    block = ChannelAttention(dim, heads, weighting=nn.Softmax(-1), bias="qkv.bias" in case.shapes)
    return filled(block, case, [(r"^qkv_dwconv\.", "depthwise.")])


def top_k(case: Case) -> nn.Module:
    """DRSformer's attention; its weights of the four softmaxes are parameters of one number each."""
    dim, heads = case.shapes["project_out.weight"][0], case.shapes["temperature"][0]
    block = ChannelAttention(dim, heads, weighting=TopKSoftmax(), bias="qkv.bias" in case.shapes)
    state = weights(case)
    state["weighting.weights"] = torch.cat([state.pop(f"attn{number}") for number in range(1, 5)])
    return filled_from(block, state, [(r"^qkv_dwconv\.", "depthwise.")])


def gated_feed_forward(case: Case) -> nn.Module:
    """Restormer's feed-forward unit."""
    dim, hidden = case.shapes["project_out.weight"][:2]
    # Half a channel more keeps the whole number that the unit makes of it from rounding down.
    block = GatedDepthwiseFeedForward(dim, (hidden + 0.5) / dim, bias="project_in.bias" in case.shapes)
    return filled(block, case, [(r"^dwconv\.", "depthwise.")])


BLOCKS: dict[str, Callable[[Case], Callable[..., Tensor]]] = {
    "xca": cross_covariance,
    "xcit_lpi": local_patch_interaction,
    "mdta": transposed,
    "topk_channel": top_k,
    "gdfn": gated_feed_forward,
}

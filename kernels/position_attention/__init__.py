"""Softmax attention between positions whose queries and keys are as wide as they like; scores not scaled."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ..backend import HAS_TRITON, runs_on_cpu, runs_on_triton
from . import reference

if HAS_TRITON:
    from . import triton


def position_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Return softmax(q k^T) v without ever holding the map of many pairs; exact.

    On a GPU it is a Triton kernel. On a CPU some queries follow others, which costs what the narrow queries and keys
    cost; few positions have their map, which a processor's cache holds, as that is faster. Where neither runs it is
    PyTorch's fused attention, which wants equal widths: what is narrower gets zeros, which leave every product as it
    was.

    Args:
        q: (B, N, K). Half precision is computed in float32 on a CPU.
        k: (B, N, K).
        v: (B, N, C).

    Returns:
        (B, N, C) in the dtype of `v`.
    """
    wide = torch.promote_types(v.dtype, torch.float32)
    if torch.jit.is_scripting():
        if v.device.type == "cpu":
            q, k, wide_v = q.to(wide), k.to(wide), v.to(wide)
            few = reference.are_few(v)
            return (reference.whole(q, k, wide_v) if few else reference.position_attention(q, k, wide_v)).to(v.dtype)
        return _fused(q, k, v)
    if HAS_TRITON and runs_on_triton("position_attention", v, triton.obstacle(q, v)):
        return triton.position_attention(q.to(v.dtype), k.to(v.dtype), v)[0]
    if not runs_on_cpu(v):
        return _fused(q, k, v)
    if reference.are_few(v):
        with torch.autocast("cpu", enabled=False):
            return reference.whole(q.to(wide), k.to(wide), v.to(wide)).to(v.dtype)
    return reference.PositionAttention.apply(q.to(wide), k.to(wide), v.to(wide)).to(v.dtype)


def _fused(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    width = max(k.shape[2], v.shape[2])
    heads = [_widened(q, width), _widened(k, width), _widened(v, width)]
    return F.scaled_dot_product_attention(heads[0], heads[1], heads[2], scale=1.0).squeeze(1)[:, :, : v.shape[2]]


def _widened(x: Tensor, width: int) -> Tensor:
    """(B, N, C) -> (B, 1, N, width), with zeros behind; padding by nothing would copy."""
    return (x if x.shape[2] == width else F.pad(x, [0, width - x.shape[2]])).unsqueeze(1)

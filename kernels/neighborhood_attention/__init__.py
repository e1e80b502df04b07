"""Softmax attention of each token of a map of one to three axes to those around it."""

from collections.abc import Sequence

from torch import Tensor

from ..backend import HAS_TRITON, runs_on_triton
from ..group_attention import group_attention
from .axis import Axis
from .tiling import neighborhoods

if HAS_TRITON:
    from . import triton


def neighborhood_attention(
    qkv: Tensor,
    kernel: Sequence[int],
    dilation: Sequence[int],
    stride: Sequence[int],
    causal: Sequence[bool],
    bias: Tensor | None = None,
) -> Tensor:
    """Return softmax(q k^T / sqrt(d) + bias) v over the neighbourhood of each token.

    Along each axis a token sees `kernel` tokens around it, `dilation` apart; at a border the window moves inwards.
    Every `stride` tokens share one window. On a causal axis it ends at the token itself. A window that is longer than
    what lies on its axis, dilation counted, becomes all of that. On a GPU it is a Triton kernel.

    Args:
        qkv: (B, *spatial, 3, heads, d): queries, keys and values.
        kernel: keys along each axis.
        dilation: distance between them in tokens, along each axis.
        stride: queries that share their keys, along each axis.
        causal: for each axis, hide what comes after the query.
        bias: (heads, *offsets), 2 * kernel - 1 offsets along each axis, of the key from the query in steps of the
            dilation; None for none.

    Returns:
        (B, *spatial, heads, d) in the dtype of `qkv`.
    """
    if HAS_TRITON and runs_on_triton("neighborhood_attention", qkv, triton.obstacle(qkv)):
        return _on_triton(qkv, kernel, dilation, stride, causal, bias)
    sizes = tuple(qkv.shape[1:-3])
    axes = tuple(
        Axis(*map(int, each), bool(hidden))
        for *each, hidden in zip(sizes, kernel, dilation, stride, causal, strict=True)
    )
    groups = neighborhoods(axes, bias is not None)
    table = None if bias is None else bias.flatten(1)
    return group_attention(qkv.flatten(1, -4), groups, table).unflatten(1, sizes)


def _on_triton(
    qkv: Tensor,
    kernel: Sequence[int],
    dilation: Sequence[int],
    stride: Sequence[int],
    causal: Sequence[bool],
    bias: Tensor | None,
) -> Tensor:
    """Give the map three axes, of which those that it lacks have length 1."""
    sizes, lacking = qkv.shape[1:-3], 3 - len(kernel)
    whole = qkv.reshape(qkv.shape[:1] + (1,) * lacking + qkv.shape[1:])
    table = None if bias is None else bias.float().reshape(bias.shape[:1] + (1,) * lacking + bias.shape[1:])
    numbers = [[1] * lacking + list(each) for each in (kernel, dilation, stride)]
    mixed, _ = triton.neighborhood_attention(whole, table, *numbers, [False] * lacking + [bool(c) for c in causal])
    return mixed.view(qkv.shape[:1] + sizes + mixed.shape[-2:])

"""Softmax attention in the form that is quickest in plain PyTorch. All functions compile as TorchScript."""

import torch
import torch.nn.functional as F
from torch import Tensor


def softmax_attention(q: Tensor, k: Tensor, v: Tensor, added: Tensor | None, drop: float = 0.0) -> Tensor:
    """Return softmax(q k^T / sqrt(d) + added) v.

    It is PyTorch's fused form, but with gradients on a CPU, where writing it out is quicker, unless keys are many and
    nothing is added.

    Args:
        q: (..., n, d).
        k: (..., m, d).
        v: (..., m, d').
        added: to the scores, expands to (..., n, m); None for nothing.
        drop: rate of dropout of the weights.
    """
    if is_written_out(q, drop) and (added is not None or not is_large(k.shape[-2])):
        return written_out(q, k, v, added)
    return F.scaled_dot_product_attention(q, k, v, added, drop)


def is_large(keys: int) -> bool:
    """Tell whether keys are so many that PyTorch's fused form has the quicker gradient on a CPU, too."""
    return keys >= 128


def is_written_out(q: Tensor, drop: float = 0.0) -> bool:
    """Tell whether `softmax_attention` is written out for these queries."""
    return q.device.type == "cpu" and q.requires_grad and drop == 0.0


def written_out(q: Tensor, k: Tensor, v: Tensor, added: Tensor | None) -> Tensor:
    """Return what `softmax_attention` does through all scores."""
    return torch.matmul(softmax_weights(q, k, added), v)


def softmax_weights(q: Tensor, k: Tensor, added: Tensor | None = None, scale: float | None = None) -> Tensor:
    """Return the softmax over keys of `attention_scores`, (..., n, m)."""
    return attention_scores(q, k, added, scale).softmax(-1)


def attention_scores(q: Tensor, k: Tensor, added: Tensor | None = None, scale: float | None = None) -> Tensor:
    """Return scale q k^T + added, (..., n, m).

    Args:
        q: (..., n, d).
        k: (..., m, d).
        added: expands to (..., n, m); None for nothing.
        scale: 1 / sqrt(d) by default.
    """
    scores = torch.matmul(q * (float(q.shape[-1]) ** -0.5 if scale is None else scale), k.transpose(-2, -1))
    return scores if added is None else scores.add_(added)

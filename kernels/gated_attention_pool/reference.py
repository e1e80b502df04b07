"""Gated attention over the instances of a bag in plain PyTorch: the equation, the CPU and export path.

    z = h [V; U]^T + b,  s = (tanh(z_V) * sigmoid(z_U)) w^T + c,  y[k] = sum over n of softmax_n(s)[k, n] h[n]

(Ilse et al. 2018, arXiv 1802.04712, eq. 8 and 9). Some instances follow others, so that nothing of N x L exists whole
but the gates where a backward pass wants them: to make these again would take longer than the usual formulation.
Shapes: N instances, C their channels, L hidden channels, K branches; V, U (L, C), w (K, L).
"""

import torch
import torch.nn.functional as F
from torch import Tensor

MASKED = -1e9
"""The score of a masked instance: finite, so that a bag that is masked as a whole still has equal shares."""
AT_ONCE = 4096
"""Instances whose gates exist at the same time on a CPU: few enough for its caches, and as fast as all at once."""


def gated_attention_pool(
    patches: Tensor,
    gates: Tensor,
    gates_bias: Tensor,
    score: Tensor,
    score_bias: Tensor,
    top_k: int,
    ranks: Tensor | None,
    at_once: int = AT_ONCE,
) -> tuple[Tensor, Tensor]:
    """Return what each branch pools (K, C), and its scores (K, N), masked where they are.

    Args:
        patches: (N, C).
        gates: (2L, C), V above U.
        gates_bias: (2L,).
        score: (K, L).
        score_bias: (K,).
        top_k: among how many of the highest scores `ranks` count.
        ranks: (K, m) of the scores that are masked, 0 the highest; None masks none.
        at_once: instances whose gates exist at the same time; 0 for all.
    """
    parts: list[Tensor] = []
    for lot in [patches] if at_once == 0 else patches.split(at_once):  # an exported graph wants one of any size
        content, gate = F.linear(lot, gates, gates_bias).chunk(2, 1)
        gated = torch.tanh(content) * torch.sigmoid(gate)
        parts.append(torch.addmm(score_bias.unsqueeze(1), score, gated.t()))
    scores = torch.cat(parts, 1)
    if ranks is not None:
        scores = mask_ranks(scores, top_k, ranks)
    return pool(scores, patches), wide(scores)


def mask_ranks(scores: Tensor, top_k: int, ranks: Tensor, value: float = MASKED) -> Tensor:
    """Return the scores (..., N), in float32 at least, with a value at some ranks (..., m), 0 the highest."""
    return wide(scores).scatter(-1, ranked(scores, top_k, ranks), value)


def ranked(scores: Tensor, top_k: int, ranks: Tensor) -> Tensor:
    """Return which of the scores (..., N) have some ranks (..., m) among the highest: indices."""
    return scores.topk(min(top_k, scores.shape[-1]), dim=-1).indices.gather(-1, ranks)


def pool(scores: Tensor, patches: Tensor) -> Tensor:
    """Return the instances summed by the softmax of their scores: (..., N), (N, C) -> (..., C)."""
    shares = wide(scores).softmax(-1).to(patches.dtype)
    return (shares.flatten(0, -2) @ patches).view(shares.shape[:-1] + patches.shape[1:])


def wide(x: Tensor) -> Tensor:
    """Return the same in float32 at least, as many small numbers are summed."""
    return x.float() if x.dtype == torch.float16 or x.dtype == torch.bfloat16 else x

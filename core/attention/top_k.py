"""Attention weights of the largest scores alone."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...kernels.window_attention.softmax import attention_scores


class TopKSoftmax(nn.Module):
    """A weighted sum of softmaxes, each over the largest so many scores of a row (Chen et al. 2023, DRSformer).

    As the weighting of `channel.ChannelAttention` it makes its top-k sparse attention, arXiv 2303.11950. All softmaxes
    come from one sorting; which of equal scores are kept is open.

    Args:
        shares: for each softmax the share of a row's scores that it keeps, as numerator and denominator; rounded down,
            and at least one score.
    Shape: scores (..., L) -> weights (..., L).
    """

    def __init__(self, shares: tuple[tuple[int, int], ...] = ((1, 2), (2, 3), (3, 4), (4, 5))) -> None:
        super().__init__()
        self.shares = list(shares)
        self.weights = nn.Parameter(torch.full((len(shares),), 0.2))

    def forward(self, scores: Tensor) -> Tensor:
        """Return the weights."""
        length = scores.shape[-1]
        counts: list[int] = []
        for numerator, denominator in self.shares:
            counts.append(max(1, length * numerator // denominator))
        kept = torch.tensor(counts, device=scores.device)
        ordered, places = scores.sort(dim=-1, descending=True)
        exponentials = (ordered - ordered[..., :1].detach()).exp()
        factors = self.weights / exponentials.cumsum(-1).index_select(-1, kept - 1)  # of each softmax
        counting = torch.arange(length, device=scores.device) < kept[:, None]
        summed = exponentials * torch.matmul(factors, counting.to(factors.dtype))
        return torch.zeros_like(summed).scatter(-1, places, summed)


def largest_softmax(scores: Tensor, count: int) -> Tensor:
    """Return the softmax over the `count` largest scores of each row; of equal scores those that come first are kept.

    Args:
        scores: (..., L).
        count: scores kept of each row, at least 1; all of a row that is not longer.
    """
    kept = scores.detach().sort(dim=-1, descending=True, stable=True)[1][..., :count]
    hidden = torch.ones_like(scores, dtype=torch.bool).scatter(-1, kept, False)
    return scores.masked_fill(hidden, -float("inf")).softmax(-1)


def top_k_attention(q: Tensor, k: Tensor, v: Tensor, count: int) -> Tensor:
    """Return attention in which each query attends to the keys of its largest scores, (..., n, d).

    Args:
        q: (..., n, d).
        k: (..., m, d).
        v: (..., m, d).
        count: keys of a query, see `largest_softmax`; 0 for all.
    """
    if count == 0:
        return F.scaled_dot_product_attention(q, k, v)
    return torch.matmul(largest_softmax(attention_scores(q, k), count), v)

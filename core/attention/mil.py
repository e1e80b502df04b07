"""Attention over a bag: scores of its patches, what is pooled by them, and which of the strongest are masked.

Shapes: N patches of one bag, C their channels, G attention maps of one branch (heads, or 1), K branches. Scores are
(G, K, N), before the softmax over patches. What is linear is done after pooling, on G * K vectors, not on N.
"""

import torch
from torch import Tensor, nn

from ...kernels.gated_attention_pool import attention_pool, gated_attention_pool, mask_ranks
from ...kernels.gated_attention_pool.reference import wide
from ..blocks.linear import Linear


class GatedAttention(nn.Module):
    """Gated attention of K branches of one trunk (Ilse et al. 2018, eq. 9).

    Args:
        dim: channels of a patch.
        branches: scores of each patch.
        hidden: channels of the gates.
    Shape: (N, dim) -> what is pooled (1, branches, dim), scores (1, branches, N).
    """

    def __init__(self, dim: int, branches: int, hidden: int = 128) -> None:
        super().__init__()
        self.heads = 1
        self.content = Linear(dim, hidden)
        self.gate = Linear(dim, hidden)
        self.score = Linear(hidden, branches)

    def forward(self, patches: Tensor, top_k: int = 0, ranks: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return what is pooled and the scores; `ranks` (1, branches, m) of the `top_k` highest are masked."""
        gates = torch.cat([self.content.weight, self.gate.weight])
        bias = torch.cat([self.content.bias, self.gate.bias])
        masked = None if ranks is None else ranks[0]
        score = self.score
        pooled, scores = gated_attention_pool(patches, gates, bias, score.weight, score.bias, top_k, masked)
        return pooled[None], scores[None]


class QueryAttention(nn.Module):
    """Multi-head attention of K learned queries, each with projections of its own (ACMIL-MHA), but for the values.

    A key is never made: q . (W h + b) is (q W) . h + q . b, and q W is one vector for all patches.

    Args:
        dim: channels of a patch.
        branches: queries.
        heads: attention heads; must divide `dim`.
    Shape: (N, dim) -> what is pooled (heads, branches, dim), scores (heads, branches, N).
    """

    def __init__(self, dim: int, branches: int, heads: int = 8) -> None:
        super().__init__()
        self.heads = heads
        self.queries = nn.Parameter(torch.empty(branches, dim))
        nn.init.normal_(self.queries, std=1e-6)
        self.query = nn.ModuleList(Linear(dim, dim) for _ in range(branches))
        self.key = nn.ModuleList(Linear(dim, dim) for _ in range(branches))

    def forward(self, patches: Tensor, top_k: int = 0, ranks: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return what is pooled and the scores; `ranks` (heads, branches, m) of the `top_k` highest are masked."""
        scores = self.scores(patches)
        if ranks is not None:
            scores = mask_ranks(scores, top_k, ranks)
        return attention_pool(scores, patches), scores

    def scores(self, patches: Tensor) -> Tensor:
        """Return the scores, (heads, branches, N)."""
        directions, offsets = [], []
        for i, (query, key) in enumerate(zip(self.query, self.key)):  # noqa: B905 - TorchScript knows no strict
            q = query(self.queries[i]).view(self.heads, 1, -1)
            q = q * float(q.shape[2]) ** -0.5
            directions.append(q @ key.weight.view(self.heads, q.shape[2], -1))
            offsets.append((q * key.bias.view(self.heads, 1, -1)).sum(dim=2))
        along = torch.cat(directions, dim=1)  # (G, K, C)
        offset = torch.cat(offsets, dim=1)[:, :, None]
        return (along.flatten(0, 1) @ patches.t()).view(along.shape[0], along.shape[1], -1) + offset


class HeadMerge(nn.Module):
    """What multi-head attention makes of its pooled patches: values, heads merged, projected, normed; no residual.

    The values are projected after pooling, which is the same, as the shares of the patches add up to 1.

    Args:
        dim: channels.
        heads: attention heads; must divide `dim`.
        dropout: share of channels that are dropped in training, before the norm.
    Shape: patches pooled by each head, (heads, dim) -> (1, dim).
    """

    def __init__(self, dim: int, heads: int = 8, dropout: float = 0.1) -> None:
        super().__init__()
        self.heads = heads
        self.value = Linear(dim, dim)
        self.out = Linear(dim, dim)
        self.dropout = nn.Dropout(dropout)
        self.norm = nn.LayerNorm(dim, eps=1e-6)

    def forward(self, pooled: Tensor) -> Tensor:
        """Return the merged feature."""
        weight = self.value.weight.view(self.heads, -1, pooled.shape[1])
        merged = (weight @ pooled[:, :, None]).view(1, -1) + self.value.bias
        return self.norm(self.dropout(self.out(merged)))


def attention_shares(scores: Tensor) -> Tensor:
    """Return how a branch shares its attention among the patches: (G, K, N), each row adds up to 1.

    In float32 at least, as many small numbers are summed.
    """
    return wide(scores).softmax(dim=-1)


def slide_attention(scores: Tensor) -> Tensor:
    """Return the share of each patch in the slide's feature, mean over branches and heads: (G, K, N) -> (N,)."""
    return attention_shares(scores).mean(dim=(0, 1))


def draw_ranks(
    maps: int, branches: int, patches: Tensor, top_k: int, ratio: float, uniform: Tensor | None = None
) -> Tensor:
    """Draw what is masked of the most attended patches (STKIM, Zhang et al. 2024, sec. 3.3); each row by itself.

    Of the k = min(top_k, N) ranks of scores, 0 the highest, it is the int(k * ratio) with the smallest numbers.

    Args:
        maps: G.
        branches: K.
        patches: of the bag, (N, C).
        top_k: among how many of the highest scores are drawn.
        ratio: part of them that is masked, 0..1; rounded down.
        uniform: the random numbers, one for each rank, (G, K, k or more); None draws them.

    Returns:
        (G, K, int(k * ratio)) whole numbers.
    """
    k = min(top_k, patches.shape[0])
    if uniform is None:
        uniform = torch.rand(maps, branches, k, device=patches.device)
    return uniform[..., :k].argsort(dim=-1)[..., : int(k * ratio)]

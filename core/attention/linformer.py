"""Attention to learned mixtures of all keys and values."""

import torch
from torch import Tensor, nn

from ...kernels.heads import check_heads, join_heads, split_heads
from ..blocks.linear import Linear
from .top_k import top_k_attention

# B batch, h heads, N tokens, r mixtures


class LinformerAttention(nn.Module):
    """Linformer (Wang et al. 2020, arXiv 2006.04768, eq. 7): softmax(q (Eᵀ k)ᵀ) (Fᵀ v) with learned E and F, (N, r).

    Args:
        dim: channels in and out.
        heads: attention heads; must divide `dim`.
        length: the largest number of tokens; fewer use the first rows of E and F.
        rank: mixtures of keys and of values.
        shared: let values be the keys.
        one_head: let all heads use the same keys and values, as narrow as one head.
        top_k: how many mixtures each token attends to, those of its largest scores; 0 for all.
    Shape: channels-last, (B, *spatial, C) -> (B, *spatial, C), flattened to N tokens in between. Any axes.

    Raises:
        ValueError: heads that do not divide `dim`; in `forward`, more tokens than `length`.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        length: int,
        rank: int = 256,
        shared: bool = False,
        one_head: bool = False,
        top_k: int = 0,
    ) -> None:
        super().__init__()
        check_heads(dim, heads)
        self.heads = heads
        self.length = length
        self.top_k = top_k
        self.width = dim // heads
        self.q = Linear(dim, dim, bias=False)
        parts, width = 1 if shared else 2, self.width if one_head else dim
        self.kv = Linear(dim, parts * width, bias=False)
        self.mixing = nn.Parameter(torch.empty(parts, length, rank).uniform_(-(rank**-0.5), rank**-0.5))
        self.proj = Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Return the mixed map."""
        tokens = x.flatten(1, -2)
        if tokens.shape[1] > self.length:
            raise ValueError(f"{tokens.shape[1]} tokens are more than length {self.length}; make it larger")
        # All samples and heads at once are the columns of one product with each part of the mixing.
        kv = self.kv(tokens).unflatten(-1, (self.mixing.shape[0], -1)).permute(2, 1, 0, 3).flatten(2)
        mixed_kv = torch.bmm(self.mixing[:, : tokens.shape[1]].transpose(1, 2), kv)
        # Of the form (parts, B, heads, r, d), where the heads may be one for all.
        mixed_kv = mixed_kv.unflatten(2, (tokens.shape[0], -1, self.width)).permute(0, 2, 3, 1, 4)
        mixed_kv = mixed_kv.expand(-1, -1, self.heads, -1, -1)
        mixed = top_k_attention(split_heads(self.q(tokens), self.heads), mixed_kv[0], mixed_kv[-1], self.top_k)
        return self.proj(join_heads(mixed).reshape(x.shape))

"""Attention in which each query attends to few keys, chosen for this image by a cheap low-rank estimate."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...kernels.heads import check_heads, join_heads, split_heads
from ...kernels.window_attention.softmax import softmax_weights
from ..blocks.linear import Linear
from .token_weights import TokenWeights, between_all

# B batch, h heads, N tokens, d channels of a head, R patterns


class InstanceSparseAttention(nn.Module):
    """Attention of tokens to the keys that an estimate chooses (Wei et al. 2023, Sparsifiner, arXiv 2303.13755).

    The estimate of a query's attention map is a sum of a few learned sparse patterns over all tokens. The keys with the
    largest estimates are kept. The choice has no gradient: while the estimate learns, set `sparse` to False, attend to
    all and fit `estimate` to what `attention` returns, as the authors do.

    Args:
        dim: channels in and out.
        tokens: tokens of an image, all of them, the class token first.
        heads: attention heads; must divide `dim`.
        keep: share of the keys that each query keeps.
        patterns: learned patterns; a sixth of the tokens where None.
        active: patterns that an estimate is made of.
        threshold: entries of a pattern up to this count as zero.
        reduction: divides a head's channels for the estimate.
        qkv_bias: let queries, keys and values have biases.
    Shape: tokens, (B, N, C) -> (B, N, C). The class token attends to all.

    Raises:
        ValueError: heads that do not divide `dim`.
    """

    def __init__(
        self,
        dim: int,
        tokens: int,
        heads: int,
        keep: float = 0.25,
        patterns: int | None = None,
        active: int = 8,
        threshold: float = 0.02,
        reduction: int = 2,
        qkv_bias: bool = True,
    ) -> None:
        super().__init__()
        check_heads(dim, heads)
        patterns = patterns or tokens // 6
        narrow = dim // heads // reduction
        self.heads, self.active, self.threshold, self.sparse = heads, active, threshold, True
        self.kept = math.ceil(keep * tokens)
        self.qkv = Linear(dim, 3 * dim, qkv_bias)
        self.proj = Linear(dim, dim)
        self.narrow_query = Linear(dim // heads, narrow)
        self.narrow_key = Linear(dim // heads, narrow)
        self.gather_keys = nn.Parameter(torch.nn.init.trunc_normal_(torch.empty(tokens, patterns), std=0.02))
        self.patterns = nn.Parameter(torch.nn.init.trunc_normal_(torch.empty(tokens, patterns), std=0.02))

    def forward(self, x: Tensor) -> Tensor:
        """Return the mixed tokens; the residual is the caller's."""
        q, k, v = self._heads(x)
        mask = self._mask(self._estimate(q, k)) if self.sparse else None
        mixed_BhNd = F.scaled_dot_product_attention(q, k, v, mask)
        return self.proj(join_heads(mixed_BhNd))

    def with_weights(self, x: Tensor) -> tuple[Tensor, list[TokenWeights]]:
        """Return what `forward` does, and the weights of the tokens; see `token_weights`."""
        q, k, v = self._heads(x)
        bias = torch.zeros_like(q[:, :, :1, :1])
        if self.sparse:
            bias = bias.masked_fill(~self._mask(self._estimate(q, k)), -torch.inf)
        weights = softmax_weights(q, k, bias)
        return self.proj(join_heads(weights @ v)), [between_all(weights, x.shape[1:-1])]

    @torch.jit.export
    def estimate(self, x: Tensor) -> Tensor:
        """Return the estimated attention of all tokens but the class token, (B, h, N - 1, N)."""
        q, k, _ = self._heads(x)
        return self._estimate(q, k)

    @torch.jit.export
    def attention(self, x: Tensor) -> Tensor:
        """Return the attention to all keys, (B, h, N, N)."""
        q, k, _ = self._heads(x)
        return softmax_weights(q, k)

    @torch.jit.export
    def mask(self, x: Tensor) -> Tensor:
        """Return which keys each query keeps, (B, h, N, N) of booleans."""
        return self._mask(self.estimate(x))

    def _heads(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        q, k, v = [split_heads(each, self.heads) for each in self.qkv(x).chunk(3, -1)]
        return q, k, v

    def _estimate(self, q: Tensor, k: Tensor) -> Tensor:
        keys_BhdR = torch.matmul(self.narrow_key(k).transpose(2, 3), self.gather_keys)
        # The scale is that of the authors' code, by the number of heads.
        scores_BhNR = torch.matmul(self.narrow_query(q[:, :, 1:]), keys_BhdR) * self.heads**-0.5
        shares = torch.softmax(scores_BhNR, -1)
        largest = shares.topk(self.active, -1, sorted=False)
        few = torch.zeros_like(shares).scatter(-1, largest.indices, largest.values)
        return torch.matmul(few, F.threshold(self.patterns.abs(), self.threshold, 0.0).t())

    def _mask(self, estimate: Tensor) -> Tensor:
        B, h, rest, N = estimate.shape
        chosen = estimate.detach().topk(self.kept, -1, sorted=False).indices
        mask = torch.ones([B, h, rest + 1, N], dtype=torch.bool, device=estimate.device)
        mask[:, :, 1:] = torch.zeros_like(estimate, dtype=torch.bool).scatter(-1, chosen, True)
        return mask

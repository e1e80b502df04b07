"""Attention between all positions."""

from torch import Tensor, nn

from ...kernels.heads import check_heads, join_heads, split_heads
from ...kernels.window_attention.softmax import attention_scores
from ..blocks.linear import Linear
from .token_weights import TokenWeights, between_all
from .top_k import largest_softmax, top_k_attention


class SelfAttention(nn.Module):
    """Multi-head self-attention of all positions (Vaswani et al. 2017, sec. 3.2): softmax(q kᵀ / sqrt(d)) v.

    Args:
        dim: channels in and out.
        heads: attention heads; must divide `dim`.
        qkv_bias: let queries, keys and values have biases.
        top_k: how many positions each attends to, those of its largest scores; 0 for all.
    Shape: channels-last, (B, *spatial, C) -> (B, *spatial, C). Any axes, any size; the cost grows with its square.

    Raises:
        ValueError: heads that do not divide `dim`.
    """

    def __init__(self, dim: int, heads: int = 8, qkv_bias: bool = True, top_k: int = 0) -> None:
        super().__init__()
        check_heads(dim, heads)
        self.heads = heads
        self.top_k = top_k
        self.qkv = Linear(dim, 3 * dim, bias=qkv_bias)
        self.proj = Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Return the mixed map."""
        q, k, v = [split_heads(each, self.heads) for each in self.qkv(x.flatten(1, -2)).chunk(3, -1)]
        return self.proj(join_heads(top_k_attention(q, k, v, self.top_k)).reshape(x.shape))

    def with_weights(self, x: Tensor) -> tuple[Tensor, list[TokenWeights]]:
        """Return what `forward` does, and the weights of the tokens; see `token_weights`."""
        q, k, v = (split_heads(each, self.heads) for each in self.qkv(x.flatten(1, -2)).chunk(3, -1))
        scores = attention_scores(q, k)
        weights = largest_softmax(scores, self.top_k) if self.top_k > 0 else scores.softmax(-1)
        return self.proj(join_heads(weights @ v).reshape(x.shape)), [between_all(weights, x.shape[1:-1])]

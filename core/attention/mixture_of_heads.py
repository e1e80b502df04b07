"""Attention whose heads are experts: each token weights all heads and leaves some out."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...kernels.heads import check_heads, join_heads, split_heads
from ...kernels.window_attention.softmax import softmax_weights
from ..blocks.linear import Linear
from .offsets import offset_index
from .token_weights import TokenWeights, between_all

# B batch, N tokens, C channels, h heads, d channels of a head


class MixtureOfHeadsAttention(nn.Module):
    """Cosine attention with routed heads (Jin et al. 2024, MoH, arXiv 2410.11842, sec. 3.2; attention of TransNeXt).

    Each token adds up its heads' outputs by gates: some heads are always on, of the others those with the largest gates
    count. Positions enter by a small network of the relative coordinates, so that any size can follow.

    Args:
        dim: channels in and out.
        heads: attention heads; must divide `dim`.
        resolution: size of the map in training, one number for each axis; scores and coordinates are scaled to it.
        shared: heads that are always on, the first ones.
        active: how many of the other heads count for a token.
        qkv_bias: let queries, keys and values have biases.
        hidden: width of the network of relative coordinates.
    Shape: channels-last, (B, *spatial, C) -> the same, as many axes as `resolution` has.

    Raises:
        ValueError: heads that do not divide `dim`, or more of them than there are.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        resolution: tuple[int, ...],
        shared: int,
        active: int,
        qkv_bias: bool = True,
        hidden: int = 512,
    ) -> None:
        super().__init__()
        check_heads(dim, heads)
        if shared < 0 or not 0 < active <= heads - shared:
            raise ValueError(f"of {heads} heads, {shared} cannot be shared and {active} of the others active")
        self.heads, self.shared, self.active = heads, shared, active
        self.spans = [max(side - 1, 1) for side in resolution]
        self.log_positions = math.log(math.prod(resolution))
        self.qkv = Linear(dim, 3 * dim, qkv_bias)
        self.proj = Linear(dim, dim)
        self.temperature = nn.Parameter(torch.full((heads, 1, 1), math.log(math.expm1(1 / 0.24))))
        self.query_embedding = nn.Parameter(torch.nn.init.trunc_normal_(torch.empty(heads, 1, dim // heads), std=0.02))
        self.position = nn.Sequential(Linear(len(resolution), hidden), nn.ReLU(), Linear(hidden, heads))
        self.route = Linear(dim, heads - shared, bias=False)
        self.weigh_shared = Linear(dim, shared, bias=False) if shared > 1 else None
        self.weigh_kinds = Linear(dim, 2, bias=False) if shared > 0 else None

    def forward(self, x: Tensor) -> Tensor:
        """Return the mixed map; the residual is the caller's."""
        tokens_BNC = x.flatten(1, -2)
        q, k, v = self._heads(tokens_BNC)
        bias_1hNN = self.position_bias(x.shape[1:-1]).unsqueeze(0)
        mixed_BhNd = _attend(q, k, v, bias_1hNN)
        gated_BNhd = mixed_BhNd.transpose(1, 2) * self.gates(tokens_BNC).unsqueeze(-1)
        return self.proj(gated_BNhd.flatten(2)).view_as(x)

    def with_weights(self, x: Tensor) -> tuple[Tensor, list[TokenWeights]]:
        """Return what `forward` does, and the weights of the tokens before the gates of the heads."""
        tokens_BNC = x.flatten(1, -2)
        q, k, v = self._heads(tokens_BNC)
        weights = softmax_weights(q, k, self.position_bias(x.shape[1:-1]), scale=1.0)
        mixed_BhNd = weights @ v * self.gates(tokens_BNC).mT.unsqueeze(-1)
        return self.proj(join_heads(mixed_BhNd)).view_as(x), [between_all(weights, x.shape[1:-1])]

    def position_bias(self, sizes: list[int]) -> Tensor:
        """Return what is added to the scores of a map of these sizes, (h, N, N), queries before keys."""
        like = self.temperature
        along = [torch.arange(1 - size, size, device=like.device) for size in sizes]
        spans = torch.tensor(self.spans, dtype=like.dtype, device=like.device)
        offsets = torch.stack(torch.meshgrid(along, indexing="ij"), -1).flatten(0, -2) * (8.0 / spans)
        bias = self.position(offsets.sign() * torch.log2(offsets.abs() + 1.0) / 3.0)
        return bias[offset_index(sizes, like.device)].permute(2, 0, 1)

    def gates(self, tokens_BNC: Tensor) -> Tensor:
        """Return the weight of each head for each token, (B, N, h)."""
        routed = self._routed(tokens_BNC)
        kept = routed * self._selected(routed)
        gates = self.active * kept / kept.sum(-1, keepdim=True)
        weigh_kinds = self.weigh_kinds
        if weigh_kinds is None:
            return gates
        kinds = 2.0 * torch.softmax(weigh_kinds(tokens_BNC), -1)
        shared = torch.ones_like(kinds[..., :1])
        weigh_shared = self.weigh_shared
        if weigh_shared is not None:
            shared = self.shared * torch.softmax(weigh_shared(tokens_BNC), -1)
        return torch.cat([shared * kinds[..., :1], gates * kinds[..., 1:]], -1)

    @torch.jit.export
    def balance_loss(self, x: Tensor) -> Tensor:
        """Return what training may add, so that all routed heads are used: E sum over heads of share x mean gate.

        Args:
            x: the block's input, (B, *spatial, C).
        """
        routed = self._routed(x.flatten(1, -2))
        return routed.shape[2] * (routed.mean((0, 1)) * self._selected(routed).mean((0, 1))).sum()

    def _heads(self, tokens_BNC: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the scaled queries, the keys and the values, (B, h, N, d) each."""
        q, k, v = [split_heads(each, self.heads) for each in self.qkv(tokens_BNC).chunk(3, -1)]
        scale = F.softplus(self.temperature) * self.log_positions
        return (F.normalize(q, dim=-1) + self.query_embedding) * scale, F.normalize(k, dim=-1), v

    def _routed(self, tokens_BNC: Tensor) -> Tensor:
        return torch.softmax(self.route(tokens_BNC), -1)

    def _selected(self, routed: Tensor) -> Tensor:
        """Return 1 for the heads that count, 0 for the others."""
        return torch.zeros_like(routed).scatter(-1, routed.topk(self.active, -1, sorted=False).indices, 1.0)


def _attend(q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
    """Return softmax(q k + bias) v; written out where the bias wants a gradient, which PyTorch's fused form cannot."""
    if bias.requires_grad:
        return torch.matmul(softmax_weights(q, k, bias, 1.0), v)
    return F.scaled_dot_product_attention(q, k, v, bias, scale=1.0)

"""Attention by random features, of which softmax attention is the expectation."""

import math
from typing import Literal

import torch
from torch import Tensor, nn

from ...kernels.heads import check_heads, join_heads, split_heads
from ..blocks.linear import Linear

# B batch, h heads, N tokens, d channels of a head, m features


def softmax_features(x_BhNd: Tensor, directions_md: Tensor, keys: bool) -> Tensor:
    """Return positive random features of the softmax kernel, (B, h, N, m) (Choromanski et al. 2021, lemma 1).

    Their maximum is taken out before the exponential: of each query, or of all keys of a head, so that the weights do
    not change. It has no gradient.
    """
    width = x_BhNd.shape[-1]
    x = x_BhNd * float(width) ** -0.25
    exponents = torch.matmul(x, directions_md.t())
    top = exponents.amax([-2, -1], keepdim=True) if keys else exponents.amax(-1, keepdim=True)
    half = x.square().sum(-1, keepdim=True) / 2
    return float(directions_md.shape[0]) ** -0.5 * (torch.exp(exponents - half - top.detach()) + 1e-4)


def relu_features(x_BhNd: Tensor, directions_md: Tensor) -> Tensor:
    """Return random features of the ReLU kernel, (B, h, N, m) (Choromanski et al. 2021, sec. 2.2)."""
    x = x_BhNd * float(x_BhNd.shape[-1]) ** -0.25
    return torch.relu(torch.matmul(x, directions_md.t())) + 1e-3


def feature_attention(q_BhNm: Tensor, k_BhNm: Tensor, v_BhNd: Tensor, least: float = 0.0) -> Tensor:
    """Return q (kᵀ v) / (q Σ k + least) for features of queries and keys: (B, h, N, d)."""
    context_Bhmd = torch.matmul(k_BhNm.transpose(-2, -1), v_BhNd)
    total_BhN1 = torch.matmul(q_BhNm, k_BhNm.sum(2).unsqueeze(-1)) + least
    return torch.matmul(q_BhNm, context_Bhmd) / total_BhN1


def orthogonal_directions(features: int, width: int) -> Tensor:
    """Draw (features, width): blocks of orthogonal rows, each as long as a Gaussian vector (sec. 2.4)."""
    blocks = [torch.linalg.qr(torch.randn(width, width)).Q.t() for _ in range(math.ceil(features / width))]
    lengths = torch.linalg.vector_norm(torch.randn(features, width), dim=1, keepdim=True)
    return torch.cat(blocks)[:features] * lengths


class PerformerAttention(nn.Module):
    """FAVOR+ (Choromanski et al. 2021, Performer, arXiv 2009.14794): softmax attention, about, linear in tokens.

    The directions are a buffer, drawn when the block is made; sums are made in float32 at least.

    Args:
        dim: channels in and out.
        heads: attention heads; must divide `dim`.
        features: random features of a head, d ln d by default.
        kernel: "softmax", or "relu" for the generalised attention of sec. 2.2.
        qkv_bias: let queries, keys and values have biases.
    Shape: channels-last, (B, *spatial, C) -> (B, *spatial, C), flattened to N tokens in between. Any axes, any size.

    Raises:
        ValueError: heads that do not divide `dim`.
    """

    def __init__(
        self,
        dim: int,
        heads: int = 8,
        features: int | None = None,
        kernel: Literal["softmax", "relu"] = "softmax",
        qkv_bias: bool = False,
    ) -> None:
        super().__init__()
        check_heads(dim, heads)
        if kernel not in ("softmax", "relu"):
            raise ValueError(f"kernel must be 'softmax' or 'relu', not {kernel!r}")
        width = dim // heads
        count = max(1, int(width * math.log(width))) if features is None else features
        self.heads = heads
        self.relu = kernel == "relu"
        self.directions: Tensor
        self.register_buffer("directions", orthogonal_directions(count, width))
        self.qkv = Linear(dim, 3 * dim, bias=qkv_bias)
        self.proj = Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Return the mixed map."""
        q, k, v = [split_heads(each, self.heads) for each in self.qkv(x.flatten(1, -2)).chunk(3, -1)]
        return self.proj(join_heads(self.attend(q, k, v)).reshape(x.shape))

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Return (B, h, N, d) for queries, keys and values of this shape."""
        wide = torch.promote_types(v.dtype, torch.float32)
        q, k, directions = q.to(wide), k.to(wide), self.directions.to(wide)
        if self.relu:
            q, k = relu_features(q, directions), relu_features(k, directions)
        else:
            q, k = softmax_features(q, directions, False), softmax_features(k, directions, True)
        return feature_attention(q, k, v.to(wide)).to(v.dtype)

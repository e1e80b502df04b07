"""Attention through landmarks: the map of all pairs is rebuilt from its parts with a few mean tokens."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...kernels.heads import join_heads, split_heads
from ..blocks.linear import Linear

# B batch, h heads, N tokens, m landmarks, d channels of a head


def nystrom_attention(q: Tensor, k: Tensor, v: Tensor, landmarks: int, iterations: int = 6) -> Tensor:
    """Return softmax(q k̃ᵀ) softmax(q̃ k̃ᵀ)⁺ softmax(q̃ kᵀ) v (Xiong et al. 2021, Nystromformer, arXiv 2102.03902, eq. 14).

    q̃ and k̃ are the means of equally many tokens that follow one another. The parts with all tokens are never held.

    Args:
        q: (B, h, N, d), scaled already; N a multiple of `landmarks`.
        k: like `q`.
        v: like `q`.
        landmarks: how many.
        iterations: of `pseudo_inverse`.
    """
    q_means = q.unflatten(2, (landmarks, -1)).mean(3)
    k_means = k.unflatten(2, (landmarks, -1)).mean(3)
    between = torch.matmul(q_means, k_means.transpose(-2, -1)).softmax(-1)
    gathered_Bhmd = F.scaled_dot_product_attention(q_means, k, v, scale=1.0)
    return F.scaled_dot_product_attention(
        q, k_means, torch.matmul(pseudo_inverse(between, iterations), gathered_Bhmd), scale=1.0
    )


def masked_nystrom_attention(
    q: Tensor, k: Tensor, v: Tensor, real_BN: Tensor, landmarks: int, iterations: int = 6
) -> Tensor:
    """Return what `nystrom_attention` does of the tokens that are marked; the others are nowhere keys."""
    real = real_BN[:, None, :, None]
    q, k, v = q * real, k * real, v * real
    counts = real.unflatten(2, (landmarks, -1)).sum(3).double()  # to which half precision could add no such number
    q_means = (q.unflatten(2, (landmarks, -1)).sum(3) / (counts + 1e-8)).to(q.dtype)
    k_means = (k.unflatten(2, (landmarks, -1)).sum(3) / (counts + 1e-8)).to(k.dtype)
    seen, real_means = real, counts > 0
    reads = _masked_softmax(q, k_means, seen & real_means.transpose(2, 3))
    between = _masked_softmax(q_means, k_means, real_means & real_means.transpose(2, 3))
    gathers = _masked_softmax(q_means, k, real_means & seen.transpose(2, 3))
    return torch.matmul(reads, torch.matmul(pseudo_inverse(between, iterations), torch.matmul(gathers, v)))


def _masked_softmax(q: Tensor, k: Tensor, pairs: Tensor) -> Tensor:
    scores = torch.matmul(q, k.transpose(-2, -1))
    # Finite, so that the row of a token that is left out has equal shares, and so also in half precision.
    return scores.masked_fill(~pairs, -3e4).softmax(-1)


def pseudo_inverse(weights: Tensor, iterations: int = 6) -> Tensor:
    """Return about the Moore-Penrose inverse of matrices whose rows sum to 1, (..., m, m) (eq. 13).

    The start is Aᵀ over the largest column sum of the whole tensor, as in the authors' code: a result depends on the
    others of its batch.
    """
    one = torch.eye(weights.shape[-1], dtype=weights.dtype, device=weights.device)
    inverse = weights.transpose(-2, -1) / weights.sum(-2).max()
    for _ in range(iterations):
        product = torch.matmul(weights, inverse)
        inner = 15 * one - torch.matmul(product, 7 * one - product)
        inverse = 0.25 * torch.matmul(inverse, 13 * one - torch.matmul(product, inner))
    return inverse


class NystromAttention(nn.Module):
    """Nystrom attention of tokens with a convolution of the values (Xiong et al. 2021, sec. 3.2); linear in tokens.

    As multiple instance learning uses it (TransMIL): tokens are filled up with zeros in front to a multiple of the
    landmarks, and the zeros take part, unless a mask is given.

    Args:
        dim: channels in and out.
        heads: attention heads.
        landmarks: mean tokens.
        head_dim: channels of a head, dim / heads by default.
        iterations: of the pseudo-inverse.
        kernel: tokens under the convolution, odd, or 0 for none.
    Shape: channels-last, (B, *spatial, C) -> (B, *spatial, C), flattened to N tokens in between. Any axes, any size.
    """

    def __init__(
        self,
        dim: int,
        heads: int = 8,
        landmarks: int = 256,
        head_dim: int | None = None,
        iterations: int = 6,
        kernel: int = 33,
    ) -> None:
        super().__init__()
        width = dim // heads if head_dim is None else head_dim
        self.heads = heads
        self.landmarks = landmarks
        self.iterations = iterations
        self.qkv = Linear(dim, 3 * heads * width, bias=False)
        self.local = (
            nn.Conv2d(heads, heads, (kernel, 1), padding=(kernel // 2, 0), groups=heads, bias=False) if kernel else None
        )
        self.proj = Linear(heads * width, dim)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the mixed map; `mask` (B, N) is true for the tokens that take part, all by default."""
        tokens = x.flatten(1, -2)
        front = -tokens.shape[1] % self.landmarks
        qkv = self.qkv(F.pad(tokens, [0, 0, front, 0]))
        q, k, v = [split_heads(each, self.heads) for each in qkv.chunk(3, -1)]
        q = q * float(q.shape[-1]) ** -0.5
        if mask is None:
            mixed = nystrom_attention(q, k, v, self.landmarks, self.iterations)
        else:
            real = F.pad(mask, [front, 0])
            v = v * real[:, None, :, None]
            mixed = masked_nystrom_attention(q, k, v, real, self.landmarks, self.iterations)
        if self.local is not None:
            mixed = mixed + self.local(v)
        return F.pad(self.proj(join_heads(mixed)), [0, 0, -front, 0]).view(x.shape)

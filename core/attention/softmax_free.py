"""Attention with a Gaussian kernel instead of the softmax, through landmarks."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...kernels.heads import check_heads, join_heads, split_heads
from ..blocks.channels_last import depthwise
from ..blocks.dimensions import CONVOLUTIONS
from ..blocks.linear import Linear

# B batch, h heads, N positions, m landmarks, d channels of a head


def gaussian_kernel(a: Tensor, b: Tensor) -> Tensor:
    """Return exp(-|a - b|² / 2) for all pairs: (..., N, d) and (..., m, d) -> (..., N, m)."""
    squares = a.square().sum(-1, keepdim=True) + b.square().sum(-1).unsqueeze(-2)
    return torch.exp(torch.matmul(a, b.transpose(-2, -1)) - squares / 2)


def newton_inverse(kernel: Tensor, iterations: int = 20) -> Tensor:
    """Return about the inverse of K + 0.01 for symmetric positive kernels, (..., m, m) (Lu et al. 2021, algorithm 1).

    The gradient is that of the inverse, -Vᵀ G Vᵀ with the last iterate V, not of the iterations.
    """
    regular = kernel + 0.01 * torch.eye(kernel.shape[-1], dtype=kernel.dtype, device=kernel.device)
    fixed = regular.detach()
    largest = kernel.detach().sum(-1).amax(-1)[..., None, None]
    inverse = 1.8 / largest.square() * fixed
    for _ in range(iterations):
        inverse = 2 * inverse - torch.matmul(torch.matmul(inverse, fixed), inverse)
    if not kernel.requires_grad:
        return inverse
    # Zero, but with the gradient of the inverse.
    return inverse - torch.matmul(torch.matmul(inverse, regular - fixed), inverse)


class SoftmaxFreeAttention(nn.Module):
    """SOFT (Lu et al. 2021, arXiv 2110.11945, sec. 3): K₁ K₂⁻¹ K₁ᵀ v with Gaussian kernels of queries and landmarks.

    Queries serve as keys. Landmarks are made of them by a convolution with stride, layer norm and GELU; a depth-wise
    convolution of the values, with one kernel for each head, is added. The cost is linear in the positions.

    Args:
        dim: channels in and out.
        heads: attention heads; must divide `dim`.
        ratio: positions for each landmark along an axis.
        kernel: side of the depth-wise convolution in pixels, odd.
        iterations: of the inverse.
        bias: let queries and values have biases.
        spatial_dims: 2 for maps, 3 for volumes.
    Shape: channels-last, (B, *spatial, C) -> (B, *spatial, C). What is left at the end of an axis after whole strides
        of the landmarks makes none.

    Raises:
        ValueError: heads that do not divide `dim`.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        ratio: int = 2,
        kernel: int = 9,
        iterations: int = 20,
        bias: bool = True,
        spatial_dims: int = 2,
    ) -> None:
        super().__init__()
        check_heads(dim, heads)
        width = dim // heads
        self.heads = heads
        self.iterations = iterations
        self.q = Linear(dim, dim, bias=bias)
        self.v = Linear(dim, dim, bias=bias)
        self.landmarks = CONVOLUTIONS[spatial_dims](width, width, ratio, ratio, bias=False)
        self.norm = nn.LayerNorm(width)
        self.kernels = nn.Parameter(torch.empty(heads, 1, *[kernel] * spatial_dims))
        nn.init.kaiming_uniform_(self.kernels, a=5**0.5)
        self.proj = Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Return the mixed map."""
        v = self.v(x)
        q = self.q(x).unflatten(-1, (self.heads, -1)).movedim(-2, 1)
        q = q * float(q.shape[-1]) ** -0.25
        landmarks = self.landmarks(q.flatten(0, 1).movedim(-1, 1)).flatten(2).transpose(1, 2)
        landmarks_Bhmd = F.gelu(self.norm(landmarks)).unflatten(0, (-1, self.heads))
        values_BhNd = split_heads(v.flatten(1, -2), self.heads)
        mixed = join_heads(self.attend(q.flatten(2, -2), landmarks_Bhmd, values_BhNd)).reshape(x.shape)
        kernels = self.kernels.repeat_interleave(x.shape[-1] // self.heads, 0)
        return self.proj(mixed + depthwise(v, kernels))

    def attend(self, q_BhNd: Tensor, landmarks_Bhmd: Tensor, v_BhNd: Tensor) -> Tensor:
        """Return K₁ K₂⁻¹ K₁ᵀ v, (B, h, N, d)."""
        to_landmarks = gaussian_kernel(q_BhNd, landmarks_Bhmd)
        inverse = newton_inverse(gaussian_kernel(landmarks_Bhmd, landmarks_Bhmd), self.iterations)
        gathered_Bhmd = torch.matmul(to_landmarks.transpose(-2, -1), v_BhNd)
        return torch.matmul(to_landmarks, torch.matmul(inverse, gathered_Bhmd))

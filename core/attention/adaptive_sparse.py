"""Self-attention inside windows by weights that are partly a softmax, partly squares, which leave out what is unlike.

Zhou et al. 2024: "Adapt or Perish: Adaptive Sparse Transformer with Attentive Feature Refinement for Image
Restoration", CVPR 2024, sec. 3.2.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ...kernels.window_attention.layout import WindowLayout, cut, merge
from .token_weights import TokenWeights, in_windows, numbered
from .window import RelativePositionBias, window_scores


class AdaptiveSparseAttention(nn.Module):
    """Self-attention inside the windows of a channels-last map by softmax and squared ReLU (Zhou et al. 2024, eq. 4).

    The weights are w1 softmax(scores) + w2 relu(scores)^2; w1 and w2 are the softmax of two learned numbers. The map is
    padded at the end of each axis to whole windows with zeros before the projection, which are attended to.

    Args:
        dim: channels in and out.
        heads: attention heads; must divide `dim`.
        window: tokens along each axis.
        shift: by how many tokens the map is rolled along all axes before it is cut.
        qkv_bias: let queries, keys and values have biases.
        drop: dropout of the output, in training.
    Shape: (B, *spatial, C) -> (B, *spatial, C).

    Raises:
        ValueError: heads that do not divide `dim`.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        window: Sequence[int] = (8, 8),
        shift: int = 0,
        qkv_bias: bool = True,
        drop: float = 0.0,
    ) -> None:
        super().__init__()
        if dim % heads:
            raise ValueError(f"heads {heads} must divide dim {dim}")
        self.heads = heads
        self.window, self.shift = list(window), [shift] * len(window)
        self.qkv = nn.Linear(dim, 3 * dim, bias=qkv_bias)
        self.position = RelativePositionBias(heads, window)
        self.parts = nn.Parameter(torch.ones(2))
        self.proj = nn.Linear(dim, dim)
        self.drop = nn.Dropout(drop)

    def forward(self, x: Tensor) -> Tensor:
        """Return the map with what the tokens of each window have told one another."""
        sizes = x.shape[1:-1]
        layout = WindowLayout(self.window, self.shift)
        scores, v = window_scores(self.qkv(cut(x, layout)), self.heads, self.position(self.window), layout, sizes)
        mixed = torch.matmul(self.weights(scores), v).transpose(1, 2).flatten(2)
        return self.drop(self.proj(merge(mixed, sizes, layout)))

    def with_weights(self, x: Tensor) -> tuple[Tensor, list[TokenWeights]]:
        """Return what `forward` does, and the weights of the tokens, whose rows need not add up to 1."""
        sizes, layout = x.shape[1:-1], WindowLayout(self.window, self.shift)
        windows = self.qkv(cut(x, layout))
        bias = self.position(self.window)
        mixed, tokens = in_windows(windows, self.heads, bias, layout, numbered(sizes, x), sizes, self.weights)
        return self.proj(mixed), [tokens]

    def weights(self, scores: Tensor) -> Tensor:
        """Return the weights of the keys, the last axis of the scores; they need not sum to one."""
        dense, sparse = self.parts.softmax(0).unbind(0)
        return dense * scores.softmax(-1) + sparse * scores.relu().square()

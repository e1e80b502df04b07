"""Self-attention inside windows by weights that are partly a softmax, partly squares, which leave out what is unlike.

Zhou et al. 2024: "Adapt or Perish: Adaptive Sparse Transformer with Attentive Feature Refinement for Image
Restoration", CVPR 2024, sec. 3.2.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ...kernels.window_attention.layout import WindowLayout
from .window import WindowAttention


class AdaptiveSparseAttention(WindowAttention):
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
        super().__init__(dim, heads, window, shift, qkv_bias=qkv_bias, drop=drop)
        self.parts = nn.Parameter(torch.ones(2))

    def forward(self, x: Tensor) -> Tensor:
        """Return the map with what the tokens of each window have told one another."""
        return self.by_weights(x)

    def weights(self, scores: Tensor) -> Tensor:
        """Return the weights of the keys, the last axis of the scores; they need not sum to one."""
        dense, sparse = self.parts.softmax(0).unbind(0)
        return dense * scores.softmax(-1) + sparse * scores.relu().square()

    def fitted(self, sizes: list[int]) -> WindowLayout:
        """Return the layout, the same for all sizes."""
        return WindowLayout(self.window, self.shift)

"""A transformer block whose positions come from depth-wise convolutions before each branch.

Chu et al. 2023: "Conditional Positional Encodings for Vision Transformers", arXiv 2102.10882; so placed by Ding et al.
2022, DaViT, arXiv 2204.03645.
"""

from torch import Tensor, nn

from .dimensions import CONVOLUTIONS
from .transformer import TransformerBlock


class PositionedBlock(TransformerBlock):
    """x + convolution(x) before each of the two branches of a transformer block, on channels-first maps.

    Args:
        mixer: takes and returns channels-last maps, (B, *spatial, C).
        dim: channels in and out.
        mlp_ratio: hidden channels of the multi-layer perceptron, as a multiple of `dim`.
        drop_path: rate of stochastic depth of both branches.
        spatial_dims: 2 for maps, 3 for volumes.
    Shape: (B, C, *spatial) -> (B, C, *spatial).
    """

    def __init__(
        self, mixer: nn.Module, dim: int, mlp_ratio: float = 4.0, drop_path: float = 0.0, spatial_dims: int = 2
    ) -> None:
        super().__init__(mixer, dim, mlp_ratio, drop_path)
        convolution = CONVOLUTIONS[spatial_dims]
        self.position1 = convolution(dim, dim, 3, padding=1, groups=dim)
        self.position2 = convolution(dim, dim, 3, padding=1, groups=dim)

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output."""
        x = (x + self.position1(x)).movedim(1, -1)
        x = (x + self.drop_path(self.mixer(self.norm1(x)))).movedim(-1, 1)
        x = (x + self.position2(x)).movedim(1, -1)
        return (x + self.drop_path(self.mlp(self.norm2(x)))).movedim(-1, 1)

"""Mean and max pooling of a bag: slide classifiers without attention, to compare with."""

from typing import Literal

from torch import Tensor, nn

from .acmil import BagReduction


class PoolingClassifier(nn.Module):
    """Reduces the features of every patch, takes their mean or largest values over the bag, and classifies these.

    The reduction is that of ACMIL; the embedded form of multiple-instance pooling in Ilse et al. 2018, sec. 2.2.

    Args:
        num_classes: exclusive classes.
        in_channels: channels of a patch's features.
        dim: channels inside.
        pooling: "mean", or "max" of each channel.
    Shape: a bag (1, N, in_channels), any N from 1 -> logits (1, num_classes).

    Raises:
        ValueError: an impossible argument; in `forward`, more than one bag.
    """

    size_multiple = 1

    def __init__(
        self, num_classes: int = 2, in_channels: int = 384, dim: int = 128, pooling: Literal["mean", "max"] = "mean"
    ) -> None:
        super().__init__()
        if min(num_classes, in_channels, dim) < 1:
            raise ValueError("num_classes, in_channels and dim must be at least 1")
        if pooling not in ("mean", "max"):
            raise ValueError(f"pooling must be mean or max, not {pooling}")
        self.num_classes = num_classes
        self.in_channels = in_channels
        self.pooling = pooling
        self.reduce = BagReduction(in_channels, dim)
        self.head = nn.Linear(dim, num_classes)

    def forward(self, bag: Tensor) -> Tensor:
        """Return the logits of the bag."""
        patches = self.reduce(bag)
        pooled = patches.mean(dim=0) if self.pooling == "mean" else patches.amax(dim=0)
        return self.head(pooled)[None]

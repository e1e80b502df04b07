"""ACMIL: a slide's label from the features of its patches, by several attentions that are kept apart.

Zhang et al.: "Attention-Challenging Multiple Instance Learning for Whole Slide Image Classification", ECCV 2024,
arXiv 2311.07125; where paper and the authors' code differ, this is the code.

Shapes: N patches of one slide, C channels of their features, D channels inside, K branches, G attention maps of a
branch (1 if gated, else heads).
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from ....core.attention.mil import GatedAttention, HeadMerge, QueryAttention, draw_ranks
from ....kernels.heads import check_heads
from ....kernels.linear import linear


class BagOutputs(NamedTuple):
    """What is predicted for one slide.

    Attributes:
        branch: logits of each branch, (K, num_classes).
        slide: logits of the slide, the prediction, (1, num_classes).
        scores: of each patch, before the softmax and after masking, (G, K, N).
    """

    branch: Tensor
    slide: Tensor
    scores: Tensor


class BagReduction(nn.Linear):
    """Fewer, rectified features of the patches of one bag, by a linear layer without bias.

    Args:
        in_channels: channels of a patch's features.
        dim: channels inside.
    Shape: (1, N, in_channels) -> (N, dim).

    Raises:
        ValueError: in `forward`, more than one bag.
    """

    def __init__(self, in_channels: int, dim: int) -> None:
        super().__init__(in_channels, dim, bias=False)

    def forward(self, bag: Tensor) -> Tensor:
        """Return the patches."""
        if bag.dim() != 3 or bag.shape[0] != 1:
            raise ValueError(f"one bag (1, patches, channels) is taken at a time, not {list(bag.shape)}")
        return torch.relu_(linear(bag[0], self.weight))


class BranchMean(nn.Module):
    """The pooled patches are the features of the branches, and their mean is that of the slide.

    It is what the mean of the branches' attentions pools, as pooling is linear.
    Shape: (1, K, D) -> (K, D), (1, D).
    """

    def forward(self, pooled: Tensor) -> tuple[Tensor, Tensor]:
        """Return the features of the branches and of the slide."""
        return pooled[0], pooled.mean(dim=1)


class HeadReadout(nn.Module):
    """Each branch and the slide merge their heads; the slide pools by the mean of the branches' attentions.

    Args:
        dim: channels.
        branches: K.
        heads: attention heads; must divide `dim`.
        dropout: share of channels that are dropped in training.
    Shape: (heads, K, D) -> (K, D), (1, D).
    """

    def __init__(self, dim: int, branches: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.branches = nn.ModuleList(HeadMerge(dim, heads, dropout) for _ in range(branches))
        self.slide = HeadMerge(dim, heads, dropout)

    def forward(self, pooled: Tensor) -> tuple[Tensor, Tensor]:
        """Return the features of the branches and of the slide."""
        features = []
        for i, merge in enumerate(self.branches):
            features.append(merge(pooled[:, i]))
        return torch.cat(features), self.slide(pooled.mean(dim=1))


class BagNetwork(nn.Module):
    """What both forms of ACMIL share: reduction, scores, masking in training, one pooling, heads.

    Args:
        num_classes: exclusive classes, or values of another kind of label.
        in_channels: channels of a patch's features.
        dim: channels inside.
        branches: K.
        top_k: among how many of the most attended patches of a branch some are masked in training; 0 masks none.
        mask_ratio: part of these that is masked, 0..1.
        scorer: (N, dim), top_k, ranks -> what is pooled (G, K, dim), scores (G, K, N); G is its `heads`.
        readout: (G, K, dim) -> (K, dim), (1, dim).
    Shape: a bag (1, N, in_channels), any N from 1 -> logits (1, num_classes); in training `BagOutputs`.

    Raises:
        ValueError: an impossible argument; in `forward`, more than one bag.
    """

    size_multiple = 1

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        dim: int,
        branches: int,
        top_k: int,
        mask_ratio: float,
        scorer: nn.Module,
        readout: nn.Module,
    ) -> None:
        super().__init__()
        if min(num_classes, in_channels, dim, branches) < 1:
            raise ValueError("num_classes, in_channels, dim and branches must be at least 1")
        if top_k < 0 or not 0 <= mask_ratio <= 1:
            raise ValueError(f"top_k must be 0 or more and mask_ratio in 0..1, not {top_k} and {mask_ratio}")
        self.num_classes = num_classes
        self.in_channels = in_channels
        self.num_branches = branches
        self.top_k = top_k
        self.mask_ratio = mask_ratio
        self.reduce = BagReduction(in_channels, dim)
        self.scorer = scorer
        self.readout = readout
        self.branch_heads = nn.ModuleList(nn.Linear(dim, num_classes) for _ in range(branches))
        self.slide_head = nn.Linear(dim, num_classes)

    def forward(self, bag: Tensor, uniform: Tensor | None = None) -> Tensor | BagOutputs:
        """Return the slide's logits; in training everything, with patches masked.

        Args:
            bag: (1, N, in_channels).
            uniform: in training, the numbers that decide what is masked, see `draw_ranks`; None draws them.
        """
        if self.training:
            return self.outputs(bag, True, uniform)
        return self.outputs(bag).slide

    def outputs(self, bag: Tensor, masking: bool = False, uniform: Tensor | None = None) -> BagOutputs:
        """Return everything that is predicted; whether patches are masked does not depend on the mode."""
        branches, slide, scores = self.features(bag, masking, uniform)
        logits = []
        for i, head in enumerate(self.branch_heads):
            logits.append(head(branches[i : i + 1]))
        return BagOutputs(torch.cat(logits), self.slide_head(slide), scores)

    def features(
        self, bag: Tensor, masking: bool = False, uniform: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the features of the branches (K, D) and of the slide (1, D), and the scores (G, K, N)."""
        patches = self.reduce(bag)
        ranks: Tensor | None = None
        if masking:
            maps = self.scorer.heads
            ranks = draw_ranks(maps, self.num_branches, patches, self.top_k, self.mask_ratio, uniform)
        pooled, scores = self.scorer(patches, self.top_k, ranks)
        branches, slide = self.readout(pooled)
        return branches, slide, scores


class ACMIL(BagNetwork):
    """ACMIL with gated attention, the published default. One branch without masking is ABMIL (Ilse et al. 2018).

    Args:
        num_classes: exclusive classes, or values of another kind of label.
        in_channels: channels of a patch's features: 384 for ViT-S, 512 for ResNet-18, 1024 for UNI.
        dim: channels inside: 128, 256 and 512 for these.
        branches: attentions.
        top_k: among how many of the most attended patches of a branch some are masked in training; 0 masks none.
        mask_ratio: part of these that is masked, 0..1.
        hidden: channels of the gates.
    Shape: a bag (1, N, in_channels), any N from 1 -> logits (1, num_classes); in training `BagOutputs`.

    Raises:
        ValueError: an impossible argument; in `forward`, more than one bag.
    """

    def __init__(
        self,
        num_classes: int = 2,
        in_channels: int = 384,
        dim: int = 128,
        branches: int = 5,
        top_k: int = 10,
        mask_ratio: float = 0.6,
        hidden: int = 128,
    ) -> None:
        scorer = GatedAttention(dim, branches, hidden)
        super().__init__(num_classes, in_channels, dim, branches, top_k, mask_ratio, scorer, BranchMean())


class MultiHeadACMIL(BagNetwork):
    """ACMIL with multi-head attention of learned queries.

    Args:
        num_classes: exclusive classes, or values of another kind of label.
        in_channels: channels of a patch's features.
        dim: channels inside, a multiple of `heads`.
        branches: queries, each with an attention of its own.
        top_k: among how many of the most attended patches of a head some are masked in training; 0 masks none.
        mask_ratio: part of these that is masked, 0..1.
        heads: attention heads.
        dropout: share of a branch's channels that are dropped in training.
    Shape: a bag (1, N, in_channels), any N from 1 -> logits (1, num_classes); in training `BagOutputs`.

    Raises:
        ValueError: an impossible argument; in `forward`, more than one bag.
    """

    def __init__(
        self,
        num_classes: int = 2,
        in_channels: int = 384,
        dim: int = 128,
        branches: int = 5,
        top_k: int = 10,
        mask_ratio: float = 0.6,
        heads: int = 8,
        dropout: float = 0.1,
    ) -> None:
        check_heads(dim, heads)
        scorer, readout = QueryAttention(dim, branches, heads), HeadReadout(dim, branches, heads, dropout)
        super().__init__(num_classes, in_channels, dim, branches, top_k, mask_ratio, scorer, readout)

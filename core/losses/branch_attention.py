"""The loss of several attention branches over one bag: each shall be right, and they shall look at different patches.

Zhang et al. 2024 (ACMIL), sec. 3.2, with the weights of the authors' code, all 1.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..attention.mil import attention_shares


class BranchAttentionTerms(NamedTuple):
    """The parts of the loss, scalars, whose sum it is.

    Attributes:
        slide: cross entropy of the slide's logits.
        branch: mean cross entropy of the branches (the paper's semantic loss); 0 for one branch.
        diversity: mean similarity of two branches' attentions, 0..1; 0 for one branch.
    """

    slide: Tensor
    branch: Tensor
    diversity: Tensor


class BranchAttentionLoss(nn.Module):
    """Cross entropy of slide and branches, and the similarity of the branches' attentions.

    Args:
        class_weights: one for each class, in the cross entropies; None weighs all alike, as published.
    """

    def __init__(self, class_weights: Tensor | None = None) -> None:
        super().__init__()
        self.register_buffer("class_weights", class_weights, persistent=False)

    def forward(self, outputs: Tensor | tuple[Tensor, Tensor, Tensor], label: Tensor) -> Tensor:
        """Return the loss, a scalar.

        Args:
            outputs: logits of the branches (K, C), of the slide (1, C), and scores (G, K, N), masked where they were;
                or of the slide alone, where a network has no attention.
            label: the slide's class, (1,), whole number.
        """
        if isinstance(outputs, Tensor):
            return self._entropy(outputs, label)
        return torch.stack(self.terms(*outputs, label)).sum()

    def terms(self, branch: Tensor, slide: Tensor, scores: Tensor, label: Tensor) -> BranchAttentionTerms:
        """Return the parts of the loss, from what `forward` takes."""
        of_slide = self._entropy(slide, label)
        if len(branch) == 1:
            nothing = torch.zeros_like(of_slide)
            return BranchAttentionTerms(of_slide, nothing, nothing)
        of_branches = torch.stack([self._entropy(each[None], label) for each in branch]).mean()
        return BranchAttentionTerms(of_slide, of_branches, attention_similarity(scores).to(of_slide.dtype))

    def _entropy(self, logits: Tensor, label: Tensor) -> Tensor:
        """Return the cross entropy of one bag, in float32 at least; its class weighs, so nothing is divided out."""
        wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
        entropy = F.cross_entropy(wide, label, reduction="none")
        return (entropy if self.class_weights is None else self.class_weights[label] * entropy).mean()


def attention_similarity(scores: Tensor) -> Tensor:
    """Return the mean cosine similarity of the attentions of all pairs of branches, and over heads.

    Args:
        scores: (G, K, N) of two or more branches, before the softmax.

    Returns:
        A scalar in 0..1.
    """
    directions = F.normalize(attention_shares(scores), dim=-1, eps=1e-8)
    similarities = directions @ directions.mT
    first, second = torch.triu_indices(scores.shape[1], scores.shape[1], offset=1)
    return similarities[:, first, second].mean()

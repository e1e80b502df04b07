"""How concentrated an attention is: on few patches, or spread over the bag.

The diagnostic of Zhang et al. 2024 (ACMIL), sec. 3.3: attention-based networks that overfit give almost all attention
to a few patches. Shares are of the N patches of one bag, (N,), each from 0, together 1.
"""

import math

import torch
from torch import Tensor


def cumulative_share(shares: Tensor) -> Tensor:
    """Return the attention that the k most attended patches have together, for k = 1..N: (N,) float64, rising to 1."""
    return shares.double().sort(descending=True).values.cumsum(0)


def relative_entropy(shares: Tensor) -> float:
    """Return the entropy of the attention over its largest value, log N.

    It is 1 where all patches have the same share and 0 where one has all; not-a-number for a single patch.
    """
    if len(shares) < 2:
        return math.nan
    return torch.special.entr(shares.double()).sum().item() / math.log(len(shares))

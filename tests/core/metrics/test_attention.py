import math

import numpy as np
import pytest
import torch
from scipy.stats import entropy

from foveal.core.metrics.attention import cumulative_share, relative_entropy


def test_shares_add_up_from_the_most_attended():
    assert cumulative_share(torch.tensor([0.1, 0.6, 0.3])).tolist() == pytest.approx([0.6, 0.9, 1])


def test_entropy_is_that_of_scipy():
    shares = torch.rand(50, generator=torch.Generator().manual_seed(0)).softmax(0)
    assert relative_entropy(shares) == pytest.approx(entropy(shares.numpy().astype(np.float64)) / math.log(50))


def test_entropy_of_extremes():
    assert relative_entropy(torch.full((7,), 1 / 7)) == pytest.approx(1)
    assert relative_entropy(torch.tensor([0.0, 1.0, 0.0])) == 0
    assert math.isnan(relative_entropy(torch.ones(1)))

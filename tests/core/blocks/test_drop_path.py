import pytest
import torch

from foveal.core.blocks.drop_path import DropPath


def test_samples_are_dropped_whole_and_the_mean_stays():
    torch.manual_seed(0)
    left = DropPath(0.25)(torch.ones(4000, 2, 3))
    assert ((left == left[:, :1, :1]).all(dim=2)).all()
    assert left.unique().tolist() == pytest.approx([0, 4 / 3])
    assert left.mean().item() == pytest.approx(1, abs=0.05)


def test_nothing_is_dropped_in_evaluation():
    x = torch.ones(8, 3)
    assert torch.equal(DropPath(0.9).eval()(x), x)


@pytest.mark.parametrize("rate", [1.0, -0.1])
def test_impossible_rates_are_refused(rate):
    with pytest.raises(ValueError, match="rate"):
        DropPath(rate)

"""Rollout by hand and by brute force."""

import pytest
import torch

from foveal.core.explain.maps import attention_maps
from foveal.core.explain.rollout import rollout
from foveal.tests.fixtures.transformers import transformer


def test_two_layers_by_hand() -> None:
    first = torch.tensor([[[0.0, 1.0], [1.0, 0.0]]])
    second = torch.tensor([[[1.0, 0.0], [1.0, 0.0]]])
    # layer 1 with half of the identity: [[1/2, 1/2], [1/2, 1/2]]; layer 2: [[1, 0], [1/2, 1/2]]
    torch.testing.assert_close(rollout([first, second]), torch.tensor([[[0.5, 0.5], [0.5, 0.5]]]))
    torch.testing.assert_close(rollout([first, second], residual=0.0), torch.tensor([[[0.0, 1.0], [0.0, 1.0]]]))
    torch.testing.assert_close(rollout([first], residual=1.0), torch.eye(2)[None])


def test_every_path_through_the_layers_is_counted() -> None:
    maps = list(attention_maps(transformer(3), torch.randn(1, 4, 8).double()).values())
    mixed = [0.3 * torch.eye(4).double() + 0.7 * each[0].mean(0) for each in maps]
    wanted = torch.zeros(4, 4).double()
    for end in range(4):
        for start in range(4):
            for a in range(4):
                for b in range(4):
                    wanted[end, start] += mixed[2][end, a] * mixed[1][a, b] * mixed[0][b, start]
    found = rollout(maps, residual=0.3)
    torch.testing.assert_close(found[0], wanted)
    torch.testing.assert_close(found.sum(-1), torch.ones(1, 4).double())


def test_rows_that_went_to_padding_are_filled_up() -> None:
    leaking = torch.tensor([[[0.2, 0.2], [0.0, 0.0]]])
    torch.testing.assert_close(rollout([leaking], residual=0.0), torch.tensor([[[0.5, 0.5], [0.0, 0.0]]]))
    assert rollout([leaking]).sum(-1).allclose(torch.ones(2))


def test_wrong_maps_are_refused() -> None:
    with pytest.raises(ValueError, match="one resolution"):
        rollout([torch.eye(2)[None], torch.eye(3)[None]])
    with pytest.raises(ValueError, match="at least"):
        rollout([])
    with pytest.raises(ValueError, match="residual"):
        rollout([torch.eye(2)[None]], residual=1.5)

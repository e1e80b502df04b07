from types import SimpleNamespace

import pytest
import torch
from torch import nn

from foveal.core.blocks.norm import BatchNorm2d
from foveal.core.frozen_norm import FrozenBatchNorm


def frozen(callback, step, steps=30):
    """Whether the norms keep their statistics in a step of a training, and the other layers train."""
    net = nn.Sequential(BatchNorm2d(2), nn.Dropout(), nn.BatchNorm2d(2)).train()
    trainer = SimpleNamespace(global_step=step, estimated_stepping_batches=steps)
    callback.on_train_batch_start(trainer, net, None, 0)
    net(torch.randn(2, 2, 3, 3) + 5)
    assert net[1].training
    states = {bool((norm.running_mean == 0).all()) for norm in (net[0], net[2])}
    assert len(states) == 1
    return states.pop()


@pytest.mark.parametrize(("step", "expected"), [(0, False), (19, False), (20, True), (29, True)])
def test_the_last_third_is_frozen(step, expected):
    assert frozen(FrozenBatchNorm(1 / 3), step) is expected


@pytest.mark.parametrize(("step", "expected"), [(0, True), (9, True), (10, False), (29, False)])
def test_the_first_third_is_frozen_where_asked_for(step, expected):
    assert frozen(FrozenBatchNorm(1 / 3, "begin"), step) is expected


def test_the_weights_of_frozen_norms_go_on_learning():
    norm = BatchNorm2d(2)
    trainer = SimpleNamespace(global_step=0, estimated_stepping_batches=1)
    FrozenBatchNorm(1).on_train_batch_start(trainer, norm, None, 0)
    norm(torch.randn(2, 2, 3, 3)).square().sum().backward()
    assert norm.weight.grad.any()

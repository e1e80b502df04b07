"""The measures that are of all frames together."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from foveal.apps.polyp.task import PolypSegmentation
from foveal.core.losses.structure import StructureLoss
from foveal.core.metrics.saliency import pooled_scores


class Net(nn.Conv2d):
    """One convolution."""

    size_multiple, num_classes = 4, 1

    def __init__(self):
        super().__init__(3, 1, 3, padding=1)


def share(seeds):
    """Return a process's cases and their curves, and where it logs."""
    task = PolypSegmentation(Net(), loss=StructureLoss(), classes=["polyp"])
    for seed in seeds:
        frame = torch.rand(1, 1, 20, 24, generator=torch.Generator().manual_seed(seed))
        mask = (frame[0] + torch.rand(1, 20, 24, generator=torch.Generator().manual_seed(seed + 50)) > 1.2).long()
        task.cases.append({"set": "a", "name": str(seed), **task.scores(frame, mask, None)})
    logged = {}
    task.log = lambda name, value, **_: logged.update({name: value})
    task.log_dict = lambda values, **_: logged.update(values)
    task._trainer = SimpleNamespace(is_global_zero=False, sanity_checking=False, default_root_dir="")
    return task, logged


@pytest.mark.parametrize("own", [(0, 2), ()])
def test_the_pooled_measure_is_of_the_frames_of_all_processes(own, monkeypatch):
    (here, logged), (there, _) = share(own), share((1, 3))
    expected = pooled_scores([*here.saliency, *there.saliency])
    others = {id(here.cases): there.cases, id(here.saliency): there.saliency}

    def gather(shares, values):
        shares[:] = [values, others.get(id(values), [])]

    monkeypatch.setattr("torch.distributed.is_initialized", lambda: True)
    monkeypatch.setattr("torch.distributed.get_world_size", lambda: 2)
    monkeypatch.setattr("torch.distributed.all_gather_object", gather)
    here._report("val")
    assert logged["val/max_e_pooled"] == pytest.approx(expected["max_e"].mean)

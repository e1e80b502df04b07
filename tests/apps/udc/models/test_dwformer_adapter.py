import pytest
import torch

import foveal
from foveal.apps.udc.models.dwformer import DWFormer
from foveal.core.errors import UserError
from foveal.core.weights.adapters import recognise


def theirs():
    """A state by the authors' names, of a tiny network."""
    widths, depths, ratios = (4, 8, 12, 8, 4), (1, 2, 1, 1, 1), (2, 4, 4, 2, 2)
    shapes = {"downproj1": (4, 3, 3, 3), "downproj2": (8, 4, 2, 2), "downproj3": (12, 8, 2, 2)}
    shapes |= {"upproj4.0": (32, 12, 1, 1), "upproj5.0": (16, 8, 1, 1)}
    shapes |= {"fuse1.0": (8, 16, 3, 3), "fuse2.0": (4, 8, 3, 3), "out": (3, 4, 3, 3)}
    norms = []
    for stage, (c, depth, r) in enumerate(zip(widths, depths, ratios, strict=True), start=1):
        for i in range(depth):
            block = f"block{stage}.blocks.{i}"
            norms += [(f"{block}.inter.0", c), (f"{block}.intra.0", c)]
            shapes |= {f"{block}.inter.1": (c, c, 1, 1), f"{block}.inter.2": (c, 1, 5, 5)}
            shapes |= {f"{block}.inter.4.pwconv": (1, c, 1, 1), f"{block}.inter.5": (c, c, 1, 1)}
            shapes |= {f"{block}.intra.1": (r * c, c, 1, 1), f"{block}.intra.3": (c, r * c, 1, 1)}
    state = {}
    for name, shape in shapes.items():
        state |= {f"{name}.weight": torch.randn(shape), f"{name}.bias": torch.randn(shape[0])}
    for name, c in norms:
        state |= {f"{name}.{leaf}": torch.rand(c) for leaf in ("weight", "bias", "running_mean", "running_var")}
        gate = name.replace("inter.0", "inter.4.mlp")
        state |= {f"{gate}.{i}.weight": torch.randn(c, c) for i in (0, 2) if "inter" in name}
    return {f"module.{name}": value for name, value in state.items()}


def test_names_are_recognised_and_shapes_tell_the_options(tmp_path):
    path = tmp_path / "theirs.pth"
    torch.save({"state_dict": theirs()}, path)
    net = foveal.load_model(path)
    assert isinstance(net, DWFormer)
    assert [len(stage) for stage in net.stages] == [1, 2, 1, 1, 1]
    assert net.stages[0][0].gate.score is None
    assert (net.card.app, net.card.size_multiple) == ("udc", 4)
    assert net(torch.rand(1, 3, 12, 16)).shape == (1, 3, 12, 16)


def test_other_names_are_not_recognised():
    assert recognise(["downproj1.weight", "something.else"]) is None


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"layers": 3}, "unknown DWFormer option 'layers'"),
        ({"se_ratio": 2}, "se_ratio is 2, the weights are those of 1"),
    ],
)
def test_wrong_options_are_refused(config, words):
    state = {name.removeprefix("module."): value for name, value in theirs().items()}
    with pytest.raises(UserError, match=words):
        foveal.load_reference("dwformer", state, config)


def test_missing_weights_are_named():
    state = {name.removeprefix("module."): value for name, value in theirs().items()}
    del state["out.bias"]
    with pytest.raises(UserError, match=r"missing head\.bias"):
        foveal.load_reference("dwformer", state)

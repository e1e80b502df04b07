"""The command `export` for the networks of the app: each program labels a volume as its checkpoint does."""

import numpy as np
import pytest
import torch

from foveal.apps.volseg.models.dformer import DFormer
from foveal.apps.volseg.models.dynunet import DynUNet
from foveal.apps.volseg.models.mpunet import MPUNet
from foveal.core.errors import UserError
from foveal.core.export.command import export
from foveal.core.inference.engine import Engine
from foveal.core.weights.card import Card
from foveal.core.weights.load import load_program, save_weights

SUFFIXES = {"torchscript": ".pt", "pt2": ".pt2", "onnx": ".onnx"}
SMALL = {
    DFormer: {
        "dim": 8,
        "depths": (2, 2),
        "heads": (1, 2),
        "patch": (1, 2, 2),
        "group": (2, 4, 4),
        "intervals": (2, 1),
        "supervised": 1,
    },
    MPUNet: {"dim": 2},
    DynUNet: {"dim": 4, "patch": (8, 32, 24), "spacing": (2.5, 1.0, 1.0)},
}
SIZES = [(5, 13, 11), (11, 40, 37)]
"""Less than a tile, and several tiles, none a multiple of anything."""


def written(kind, folder, **facts):
    """Write small weights of a network for CT, in tiles of 8x32x24."""
    torch.manual_seed(0)
    arguments = {"num_classes": 3, **SMALL[kind]}
    net = kind(**arguments)
    for parameter in net.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    card = {
        "network": {"class_path": f"{kind.__module__}.{kind.__name__}", "init_args": arguments},
        "dimensions": 3,
        "channels": ("CT",),
        "value_range": (-160.0, 240.0),
        "mean": (40.0,),
        "std": (100.0,),
        "size_multiple": net.size_multiple,
        "fixed_tile": getattr(net, "fixed_tile", False),
        "tile": (8, 32, 24),
        "overlap": (4, 16, 8),
        "outputs": ("background", "liver", "tumour"),
        "activation": "argmax",
        "probabilities": getattr(net, "gives_probabilities", False),
    }
    save_weights(net, Card(name="small", app="volseg", **card | facts), folder / "weights.safetensors")
    return folder / "weights.safetensors"


def labels(path, size):
    program = load_program(path)
    volume = np.random.default_rng(0).uniform(-160, 240, (1, *size)).astype(np.float32)
    return Engine(program, program.card).array(volume)


@pytest.mark.parametrize(
    ("kind", "format"),
    [
        pytest.param(kind, format, marks=() if (kind, format) == (DFormer, "torchscript") else pytest.mark.slow)
        for kind in SMALL
        for format in SUFFIXES
    ],
)
def test_an_exported_program_labels_as_its_checkpoint(kind, format, tmp_path, capsys):
    if format == "onnx":
        pytest.importorskip("onnxscript")
    weights, program = written(kind, tmp_path), (tmp_path / "program").with_suffix(SUFFIXES[format])
    export(str(weights), program, format)
    assert " at 8x32x24, " in capsys.readouterr().out
    for size in SIZES:
        expected, found = labels(weights, size), labels(program, size)
        assert found.shape == (1, *size)
        assert sorted(np.bincount(expected.ravel()))[-2] > 0.02 * expected.size
        assert (found != expected).mean() < 1e-3  # other run times round otherwise, which may settle a tie


def test_a_network_of_fixed_tiles_is_not_loaded_with_a_card_that_says_otherwise(tmp_path):
    with pytest.raises(UserError, match="says fixed_tile False, but its network has True"):
        load_program(written(DFormer, tmp_path, fixed_tile=False))

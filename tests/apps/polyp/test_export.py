"""The command `export` for the networks of the app: each program does on a picture what its checkpoint does."""

import numpy as np
import pytest
import torch
from PIL import Image

from foveal.apps.polyp.models.pranet import PraNet
from foveal.apps.polyp.task import PolypSegmentation
from foveal.core.baselines.unet import Unet
from foveal.core.cli import main
from foveal.core.weights.load import save_weights
from foveal.tests.fixtures.small_runs import LIGHT

SUFFIXES = {"torchscript": ".pt", "pt2": ".pt2", "onnx": ".onnx"}


def written(kind, folder):
    """Write tiny weights of a network with the card that its task gives them."""
    torch.manual_seed(0)
    arguments = LIGHT[kind.__name__]
    net = kind(**arguments)
    normal = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
    task = PolypSegmentation(net, torch.nn.Identity(), ["polyp"], frame=(96, 64), tile=64, **normal)
    task.network = {"class_path": f"{kind.__module__}.{kind.__name__}", "init_args": arguments}
    save_weights(net, task.card(), folder / "weights.safetensors")
    return folder / "weights.safetensors"


def inferred(weights, image, output):
    where = ["--input", str(image), "--output", str(output), "--device", "cpu", "--quiet", "--probabilities"]
    assert main(["polyp", "infer", "--weights", str(weights), *where]) == 0
    return np.asarray(Image.open(output), int)


@pytest.mark.slow
@pytest.mark.parametrize("format", SUFFIXES)
@pytest.mark.parametrize("kind", [PraNet, Unet])
def test_an_exported_program_segments_as_its_checkpoint(kind, format, tmp_path, capsys):
    weights = written(kind, tmp_path)
    program = (tmp_path / "program").with_suffix(SUFFIXES[format])
    assert main(["polyp", "export", "--weights", str(weights), "--format", format, "--output", str(program)]) == 0
    assert " at 64x64, " in capsys.readouterr().out
    pixels = np.random.default_rng(0).integers(0, 256, (83, 131, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "frame.png")
    first, second = (
        inferred(each, tmp_path / "frame.png", tmp_path / f"{each.stem}.png") for each in (weights, program)
    )
    assert first.shape == (83, 131)
    assert first.std() > 0
    assert abs(first - second).max() <= 1

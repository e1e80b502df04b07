"""The command `export` for every network of the app: each program does on a file what its checkpoint does."""

import csv

import numpy as np
import pytest
import torch
from PIL import Image

from foveal.apps.medseg.classification_task import Classification
from foveal.apps.medseg.models.medusa import MEDUSA
from foveal.apps.medseg.models.msga import MSGA
from foveal.apps.medseg.models.timm_classifier import TimmClassifier
from foveal.apps.medseg.task import MedicalSegmentation
from foveal.core.baselines.unet import Unet
from foveal.core.cli import main
from foveal.core.weights.load import save_weights
from foveal.tests.fixtures.small_runs import LIGHT

SUFFIXES = {"torchscript": ".pt", "pt2": ".pt2", "onnx": ".onnx"}
QUICK = {(Unet, "torchscript"), (MEDUSA, "torchscript"), (TimmClassifier, "torchscript"), (TimmClassifier, "pt2")}


def each(*kinds):
    """Every network in every format."""
    pairs = [(kind, format) for kind in kinds for format in SUFFIXES]
    return [pytest.param(*pair, marks=() if pair in QUICK else pytest.mark.slow) for pair in pairs]


def written(kind, folder):
    """Write tiny weights of a network with the card that its task gives them."""
    torch.manual_seed(0)
    classifies = kind in (MEDUSA, TimmClassifier)
    arguments = {**LIGHT[kind.__name__], "in_channels": 1, "num_classes": 3}
    net = kind(**arguments)
    if classifies:
        task = Classification(net)
        task.size = 64
    else:
        task = MedicalSegmentation(net, torch.nn.Identity(), ["liver", "spleen"], tile=64)
    task.network = {"class_path": f"{kind.__module__}.{kind.__name__}", "init_args": arguments}
    save_weights(net, task.card(), folder / "weights.safetensors")
    return folder / "weights.safetensors"


def exported(weights, format):
    program = weights.with_name("program").with_suffix(SUFFIXES[format])
    assert main(["medseg", "export", "--weights", str(weights), "--format", format, "--output", str(program)]) == 0
    return program


def inferred(weights, image, output, *options):
    where = ["--input", str(image), "--output", str(output), "--device", "cpu", "--quiet"]
    assert main(["medseg", "infer", "--weights", str(weights), *where, *options]) == 0
    return output


@pytest.fixture
def image(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (83, 131), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "slice.png")
    return tmp_path / "slice.png"


@pytest.mark.parametrize(("kind", "format"), each(MSGA, Unet))
def test_an_exported_program_segments_as_its_checkpoint(kind, format, image, tmp_path, capsys):
    weights = written(kind, tmp_path)
    program = exported(weights, format)
    assert "relative difference" in capsys.readouterr().out
    found = [
        np.asarray(Image.open(inferred(source, image, tmp_path / f"{source.stem}.png", "--probabilities")), int)
        for source in (weights, program)
    ]
    assert found[0].shape == (83, 131, 3)
    assert found[0].std() > 0
    assert abs(found[0] - found[1]).max() <= 1


@pytest.mark.parametrize(("kind", "format"), each(MEDUSA, TimmClassifier))
def test_an_exported_program_classifies_as_its_checkpoint(kind, format, image, tmp_path, capsys):
    weights = written(kind, tmp_path)
    program = exported(weights, format)
    assert "relative difference" in capsys.readouterr().out
    rows = []
    for source in (weights, program):
        with inferred(source, image, tmp_path / f"{source.stem}.csv").open() as file:
            rows += csv.DictReader(file)
    chances = [[float(row[f"probability_class {k}"]) for k in range(3)] for row in rows]
    assert sum(chances[0]) == pytest.approx(1, abs=1e-4)
    assert chances[1] == pytest.approx(chances[0], abs=1e-4)

"""The commands `export` and `infer` together: an exported program enlarges as its checkpoint does."""

import numpy as np
import pytest
import torch
from PIL import Image

from foveal.apps.superres.models.dlgsanet import DLGSANet
from foveal.core.cli import run_app
from foveal.core.weights.card import Card
from foveal.core.weights.load import save_weights


@pytest.fixture
def weights(tmp_path):
    arguments = {"scale": 2, "dim": 12, "groups": 1, "pairs": 1, "heads": 3, "kernel": 3, "tlc_window": 8}
    network = {"class_path": "foveal.apps.superres.models.dlgsanet.DLGSANet", "init_args": arguments}
    torch.manual_seed(0)
    card = Card(name="tiny", app="superres", network=network, scale=2, tile=20, overlap=4)
    save_weights(DLGSANet(**arguments), card, tmp_path / "tiny.safetensors")
    return tmp_path / "tiny.safetensors"


def test_exported_program_gives_the_same_file_as_its_checkpoint(weights, tmp_path):
    program = tmp_path / "tiny.pt"
    run_app("superres", ["export", "--weights", str(weights), "--format", "torchscript", "--output", str(program)])
    pixels = np.random.default_rng(0).integers(0, 256, (27, 33, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    written = []
    for source in (weights, program):
        output = tmp_path / f"{source.suffix[1:]}.png"
        options = ["--input", str(tmp_path / "photo.png"), "--output", str(output), "--device", "cpu", "--quiet"]
        assert run_app("superres", ["infer", "--weights", str(source), *options]) == 0
        written.append(output.read_bytes())
    assert written[0] == written[1]

"""The command `export` for bags: each program scores a bag of any length as its checkpoint does."""

import pytest
import torch

from foveal.apps.wsi.models.acmil import ACMIL, MultiHeadACMIL
from foveal.core.errors import UserError
from foveal.core.export.command import export
from foveal.core.inference.engine import Engine
from foveal.core.weights.card import Card
from foveal.core.weights.load import load_program, save_weights

SUFFIXES = {"torchscript": ".pt", "pt2": ".pt2", "onnx": ".onnx"}
CHANNELS = 24


@pytest.fixture(params=[ACMIL, MultiHeadACMIL])
def weights(request, tmp_path):
    torch.manual_seed(0)
    kind, arguments = request.param, {"num_classes": 3, "in_channels": CHANNELS, "dim": 16}
    card = Card(
        name="small",
        app="wsi",
        network={"class_path": f"{kind.__module__}.{kind.__name__}", "init_args": arguments},
        kind="bag",
        channels=tuple(f"feature {i}" for i in range(CHANNELS)),
        tile=1,
        overlap=0,
        outputs=("a", "b", "c"),
        activation="softmax",
    )
    save_weights(kind(**arguments), card, tmp_path / "weights.safetensors")
    return tmp_path / "weights.safetensors"


@pytest.mark.parametrize(
    "format", [pytest.param(each, marks=() if each == "torchscript" else pytest.mark.slow) for each in SUFFIXES]
)
def test_an_exported_program_scores_as_its_checkpoint(format, weights, capsys):
    if format == "onnx":
        pytest.importorskip("onnxscript")
    path = weights.with_name("program").with_suffix(SUFFIXES[format])
    export(str(weights), path, format)
    assert " at 300 instances, " in capsys.readouterr().out
    net, program = load_program(weights), load_program(path)
    assert program.card == net.card
    for length in (1, 2, 51, 400):
        bag = torch.randn(1, length, CHANNELS, generator=torch.Generator().manual_seed(length))
        with torch.inference_mode():
            torch.testing.assert_close(program(bag), net(bag))


def test_the_engine_of_images_refuses_bags(weights):
    program = load_program(weights)
    with pytest.raises(UserError, match="gives one answer for a whole bag; run `foveal wsi infer`"):
        Engine(program, program.card)

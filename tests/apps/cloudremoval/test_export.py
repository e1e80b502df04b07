"""The command `export`: each program makes of dated GeoTIFFs what its checkpoint does, by both commands that run it."""

import numpy as np
import pytest
import torch

from foveal.apps.cloudremoval.models.pmaa import PMAA
from foveal.apps.cloudremoval.task import CloudRemoval
from foveal.core.cli import main
from foveal.core.weights.files import save_weights
from foveal.tests.fixtures.dated import write_place
from foveal.tests.fixtures.geotiff import read_raster

SUFFIXES = {"torchscript": ".pt", "pt2": ".pt2", "onnx": ".onnx"}


def written(folder):
    """Write tiny weights with the card that their task gives them, for tiles of 32 pixels."""
    torch.manual_seed(0)
    arguments = {"dates": 3, "dim": 2}
    task = CloudRemoval(PMAA(**arguments), discriminator_widths=(), tile=32, overlap=8)
    task.network = {"class_path": f"{PMAA.__module__}.PMAA", "init_args": arguments}
    save_weights(task.net, task.card(), folder / "weights.safetensors")
    return folder / "weights.safetensors"


def cleared(place, weights, output):
    """Return the stored numbers that the app and the general command write."""
    options = ["--weights", str(weights), "--device", "cpu", "--quiet"]
    app, general = (output.with_name(f"{output.name}-{name}.tif") for name in ("app", "general"))
    assert main(["cloudremoval", "infer", *options, "--input", str(place), "--output", str(app)]) == 0
    assert main(["infer", "--dates", *options, "--input", str(place / "image"), "--output", str(general)]) == 0
    return [read_raster(path)[0].astype(int) for path in (app, general)]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")
@pytest.mark.parametrize("format", SUFFIXES)
def test_an_exported_program_clears_a_place_as_its_checkpoint(format, tmp_path, capsys):
    if format == "onnx":
        pytest.importorskip("onnxscript")
    weights, program = written(tmp_path), (tmp_path / "program").with_suffix(SUFFIXES[format])
    options = ["--weights", str(weights), "--format", format, "--output", str(program)]
    assert main(["cloudremoval", "export", *options]) == 0
    assert " at 32x32, " in capsys.readouterr().out
    place = write_place(tmp_path / "place")
    expected, general = cleared(place, weights, tmp_path / "weights")
    assert np.array_equal(expected, general)
    assert expected.shape == (4, 50, 61)
    assert expected.std() > 100
    assert expected.max() <= 10_000
    for found in cleared(place, program, tmp_path / "program"):
        assert abs(found - expected).max() <= 5  # of 10,000: other run times sum in another order

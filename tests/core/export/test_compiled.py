"""AOTInductor and ONNX files: the same output at any size."""

import shutil

import pytest

from foveal.core.export.command import export
from foveal.core.weights.load import load_program


@pytest.mark.slow
def test_onnx_gives_the_same_at_any_size(weights, net, assert_same, tmp_path, capfd, caplog):
    pytest.importorskip("onnxscript")
    export(str(weights), tmp_path / "tiny.onnx", "onnx")
    assert capfd.readouterr().out.count("\n") == 1
    assert not [record for record in caplog.records if record.name.startswith("onnx")]
    assert b"dlgsanet.DLGSANet/" not in (tmp_path / "tiny.onnx").read_bytes()
    program = load_program(tmp_path / "tiny.onnx")
    assert program.card == net.card
    assert_same(program)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="compiles C++")
def test_compiled_network_gives_the_same_at_any_size(weights, net, assert_same, tmp_path):
    export(str(weights), tmp_path / "tiny.pt2", "aoti")
    program = load_program(tmp_path / "tiny.pt2")
    assert program.card == net.card
    assert_same(program)

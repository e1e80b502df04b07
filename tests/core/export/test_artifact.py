"""Opening artefacts: each format is told by its content, and what cannot be opened is told in one line."""

import sys
import zipfile

import pytest
import torch

from foveal.core.errors import UserError
from foveal.core.export import onnx, torchscript
from foveal.core.export.artifact import open_artifact
from foveal.core.weights.load import load_model, load_program


@pytest.fixture
def program(net, tmp_path):
    path = tmp_path / "tiny.pt"
    torchscript.save(net, net.card, path)
    return path


def compiled(path, device="cpu"):
    """Write what looks like a compiled network, without machine code."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x/data/aotinductor/model/x.wrapper_metadata.json", f'{{"AOTI_DEVICE_KEY": "{device}"}}')
        archive.writestr("x/data/aotinductor/model/x.wrapper.so", b"")


def add_card(path, card):
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("x/extra/card.json", card.to_json())


def test_load_program_opens_an_artefact_whatever_its_suffix(program, net):
    renamed = program.rename(program.with_suffix(".weights"))
    artifact = load_program(renamed)
    assert artifact.card == net.card
    image = torch.rand(1, 3, 6, 5, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(artifact(image), net(image))


def test_load_model_refuses_an_artefact(program):
    with pytest.raises(UserError, match=r"tiny\.pt: is an exported program \(torchscript\)"):
        load_model(program)


def test_artefact_without_card_is_refused(net, tmp_path):
    with zipfile.ZipFile(tmp_path / "bare.pt", "w") as archive:
        archive.writestr("bare/constants.pkl", b"")
    with pytest.raises(UserError, match=r"bare\.pt: has no weights card"):
        open_artifact(tmp_path / "bare.pt")


def test_damaged_card_and_damaged_archive_are_refused(program):
    content = program.read_bytes()
    assert b'"scale": 2' in content
    program.write_bytes(content.replace(b'"scale": 2', b'"scale": 0'))
    with pytest.raises(UserError, match=r"tiny\.pt: "):
        open_artifact(program)
    program.write_bytes(content[:-2000])
    with pytest.raises(UserError, match=r"tiny\.pt: .*Copy or write it again"):
        open_artifact(program)


def test_machine_code_is_only_run_under_its_own_suffix_and_for_its_device(net, tmp_path):
    for name, device, words in [
        ("weights.ckpt", "cpu", "holds native code"),
        ("gpu.pt2", "cuda", "is compiled for cuda; give --device cuda"),
        ("empty.pt2", "cpu", "this aoti file cannot be opened"),
    ]:
        compiled(tmp_path / name, device)
        add_card(tmp_path / name, net.card)
        with pytest.raises(UserError, match=words):
            open_artifact(tmp_path / name)


def test_onnx_without_its_packages_tells_how_to_install_them(net, tmp_path, monkeypatch):
    for name in ("onnxscript", "onnxruntime"):
        monkeypatch.setitem(sys.modules, name, None)
    (tmp_path / "tiny.onnx").write_bytes(b"\x08\x0a\x12\x07pytorch")
    for action in (
        lambda: onnx.save(net, net.card, tmp_path / "new.onnx"),
        lambda: open_artifact(tmp_path / "tiny.onnx"),
    ):
        with pytest.raises(UserError, match=r"pip install foveal\[onnx\]"):
            action()


def test_damaged_onnx_is_refused(tmp_path):
    pytest.importorskip("onnxruntime")
    (tmp_path / "tiny.onnx").write_bytes(b"\x08\x0a\x12\x07pytorch\xff\xff")
    with pytest.raises(UserError, match=r"tiny\.onnx: this onnx file cannot be opened"):
        open_artifact(tmp_path / "tiny.onnx")

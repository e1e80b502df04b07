"""The command `export`: keeps a program only if it does what its network does."""

import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from foveal.core.errors import UserError
from foveal.core.export import pt2, torchscript
from foveal.core.export.artifact import open_artifact
from foveal.core.export.command import _shapes, compare, export
from foveal.core.weights.card import Card
from foveal.core.weights.load import load_program


def test_export_writes_a_program_that_was_checked_at_two_sizes(weights, net, tmp_path, capsys):
    export(str(weights), tmp_path / "out" / "tiny.pt", "torchscript")
    assert load_program(tmp_path / "out" / "tiny.pt").card == net.card
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["tiny.pt"]
    told, news = capsys.readouterr()
    assert "torchscript" in told
    assert " at 27x27, " in told
    assert " at 19x8\n" in told
    begun, written = news.splitlines()
    assert begun == f"{tmp_path}/out/tiny.pt: writing {weights} as torchscript"
    assert written.startswith(f"{tmp_path}/out/tiny.pt: ")
    assert written.endswith(" MB, running beside the network at 27x27 and 19x8")


@pytest.mark.parametrize("tool", [torchscript, pt2])
def test_a_network_of_several_dates_is_written_for_all_their_channels(tool, tmp_path):
    facts = {"channels": ("red", "nir"), "dates": 3, "unit": "reflectance", "mean": (0.5, 0.2), "std": (0.5, 0.1)}
    card = Card(name="dates", app="toy", network={"class_path": "toy"}, tile=16, overlap=4, **facts)
    torch.manual_seed(0)
    net = torch.nn.Conv2d(6, 2, 3, padding=1).requires_grad_(False)
    tool.save(net, card, tmp_path / "dates.pt2")
    program = open_artifact(tmp_path / "dates.pt2")
    assert program.card == card
    assert max(compare(program, net, card).values()) < 1e-6
    assert list(_shapes(card).values()) == [(1, 3, 2, 16, 16), (1, 3, 2, 11, 4)]


def test_weights_alone_can_be_written_and_read_again(weights, net, tmp_path):
    export(str(weights), tmp_path / "copy.safetensors", "safetensors")
    again = load_program(tmp_path / "copy.safetensors")
    assert again.card == net.card
    assert all(torch.equal(value, net.state_dict()[name]) for name, value in again.state_dict().items())


@pytest.mark.parametrize("damage", [lambda weight: weight.mul_(1.01), lambda weight: weight.fill_(torch.nan)])
def test_a_program_that_differs_is_not_kept(damage, weights, tmp_path, monkeypatch):
    output = tmp_path / "tiny.pt"
    output.write_text("older")
    save = torchscript.save

    def save_damaged(net, card, path):
        backup = net.fuse.weight.clone()
        damage(net.fuse.weight)
        save(net, card, path)
        net.fuse.weight.copy_(backup)

    monkeypatch.setattr(torchscript, "save", save_damaged)
    with pytest.raises(UserError, match=r"tiny\.pt: not written, because the torchscript program differs"):
        export(str(weights), output, "torchscript", overwrite=True)
    assert output.read_text() == "older"
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.pt"]


def test_a_network_that_a_tool_does_not_know_is_told_in_one_line(weights, tmp_path, monkeypatch):
    def save(net, card, path):
        raise RuntimeError("\nno such operator\nat line 3")

    monkeypatch.setattr(torchscript, "save", save)
    with pytest.raises(UserError, match=r"--format torchscript cannot express DLGSANet \(no such operator\); use"):
        export(str(weights), tmp_path / "tiny.pt", "torchscript")
    assert list(tmp_path.iterdir()) == []


def test_difference_is_relative(net):
    class Scaled:
        card = net.card

        def __call__(self, x):
            return net(x) * 1.5

    for difference in compare(Scaled(), net, net.card).values():
        assert difference == pytest.approx(0.5, rel=1e-5)


@pytest.mark.parametrize(("format", "suffix"), [("onnx", ".pt"), ("pt2", ".onnx"), ("aoti", ".so")])
def test_wrong_suffix_is_refused_before_any_work(format, suffix, tmp_path):
    with pytest.raises(UserError, match=f"a file of format {format} is named"):
        export("absent", tmp_path / f"tiny{suffix}", format)


def test_the_weights_are_not_overwritten(weights):
    before = weights.read_bytes()
    with pytest.raises(UserError, match="is the weights file itself"):
        export(str(weights), weights, "torchscript", overwrite=True)
    assert weights.read_bytes() == before


def test_another_file_is_overwritten_only_if_that_is_meant(weights, tmp_path):
    output = tmp_path / "tiny.safetensors"
    output.write_text("older")
    with pytest.raises(UserError, match=r"tiny\.safetensors: exists already; give --overwrite to replace it"):
        export("absent", output, "safetensors")
    assert output.read_text() == "older"
    export(str(weights), output, "safetensors", overwrite=True)
    assert load_program(output).card == load_program(weights).card


def test_compiling_without_a_compiler_is_refused(weights, tmp_path, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(UserError, match="there is no compiler 'no-such-compiler' here"):
        export(str(weights), tmp_path / "tiny.pt2", "aoti")
    assert not list(tmp_path.iterdir())


def card_of(**facts):
    return Card(**{"name": "x", "app": "superres", "network": {"class_path": "foveal.none.Net"}, "overlap": 0} | facts)


@pytest.mark.parametrize(("tile", "multiple", "smallest"), [(192, 1, 1), (192, 16, 1), (9, 3, 1), (64, 1, 17)])
def test_checked_sizes_differ_and_suit_the_network(tile, multiple, smallest):
    shapes = _shapes(card_of(tile=tile, size_multiple=multiple, smallest_size=smallest))
    first, second = shapes.values()
    assert first == (1, 3, tile, tile)
    assert second[:2] == (1, 3)
    assert second != first
    assert all(side >= smallest and side % multiple == 0 for side in second[2:])


@pytest.mark.parametrize("multiple", [1, 8])
def test_the_only_size_that_a_tile_leaves_is_checked(multiple):
    assert _shapes(card_of(tile=multiple, size_multiple=multiple)) == {
        f"{multiple}x{multiple}": (1, 3, *[multiple] * 2)
    }


def test_checked_sizes_of_volumes_fixed_tiles_and_bags():
    volume = {"dimensions": 3, "channels": ("CT",), "tile": (8, 96, 64), "size_multiple": (2, 16, 16)}
    assert _shapes(card_of(**volume)) == {"8x96x64": (1, 1, 8, 96, 64), "2x80x32": (1, 1, 2, 80, 32)}
    fixed = {"8x96x64": (1, 1, 8, 96, 64), "2 of 8x96x64": (2, 1, 8, 96, 64)}
    assert _shapes(card_of(**volume, fixed_tile=True)) == fixed
    bag = card_of(kind="bag", channels=("a", "b"), outputs=("c", "d"), activation="softmax", tile=1)
    assert _shapes(bag) == {"300 instances": (1, 300, 2), "7 instances": (1, 7, 2)}


def test_the_network_is_checked_with_values_as_it_gets_them(net):
    seen = []

    class Seeing:
        card = replace(net.card, value_range=(-160.0, 240.0), mean=(40.0,) * 3, std=(100.0,) * 3)

        def __call__(self, x):
            seen.append(x)
            return net(x)

    compare(Seeing(), net, Seeing.card)
    assert all(-2 <= x.min() < -1.9 and 1.9 < x.max() <= 2 for x in seen)


def test_help_needs_no_torch():
    code = "import sys, foveal.core.export.command; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

"""torch.export files: the same output at any size, and refusal of files that would run code."""

import io
import json
import os
import pickle
import zipfile
from pathlib import Path

import pytest
import torch

from foveal.core.errors import UserError
from foveal.core.export import pt2
from foveal.core.export.archive import read_members
from foveal.core.export.artifact import open_artifact
from foveal.core.export.guard import is_size
from foveal.core.weights.card import Card


@pytest.fixture(scope="module")
def program(net, tmp_path_factory):
    path = tmp_path_factory.mktemp("pt2") / "tiny.pt2"
    pt2.save(net, net.card, path)
    return path


def test_program_gives_the_same_at_any_size(program, net, assert_same):
    artifact = open_artifact(program)
    assert artifact.card == net.card
    assert_same(artifact)


def test_file_tells_nothing_of_the_machine_that_wrote_it(program):
    folder = os.fsencode(os.path.dirname(torch.__file__))
    assert not any(folder in content or b"dlgsanet.py" in content for content in read_members(program).values())


class Halver(torch.nn.Module):
    """Needs even sizes, as networks with strided stages do."""

    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(1, 1, 2, stride=2)

    def forward(self, x):
        return torch.nn.functional.interpolate(self.conv(x), scale_factor=2)


def test_size_multiple_of_the_card_is_kept(tmp_path):
    network = {"class_path": "foveal.none.Halver"}
    card = Card(name="h", app="superres", network=network, channels=("grey",), size_multiple=2, tile=16, overlap=0)
    net = Halver().requires_grad_(False)
    pt2.save(net, card, tmp_path / "halver.pt2")
    artifact = open_artifact(tmp_path / "halver.pt2")
    for height, width in [(4, 2), (6, 20)]:
        image = torch.rand(1, 1, height, width)
        torch.testing.assert_close(artifact(image), net(image))


class Needing(torch.nn.Module):
    """Needs 5 samples along each axis, and combines conditions."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))

    def forward(self, x):
        if min(x.shape[2:]) < 5:
            raise ValueError("too small")
        return torch.where((x > 0.2) & (x < 0.6) | (x > 0.9), self.weight * x, -x)


@pytest.mark.parametrize("dimensions", [2, 3])
def test_smallest_size_of_the_card_is_kept(dimensions, tmp_path):
    network = {"class_path": "foveal.none.Needing"}
    facts = {"channels": ("grey",), "dimensions": dimensions, "smallest_size": 5, "tile": 16, "overlap": 0}
    net = Needing().requires_grad_(False)
    pt2.save(net, Card(name="n", app="volseg", network=network, **facts), tmp_path / "needing.pt2")
    for sizes in ((5, 9, 5), (21, 6, 17)):
        image = torch.rand(1, 1, *sizes[:dimensions], generator=torch.Generator().manual_seed(0))
        torch.testing.assert_close(open_artifact(tmp_path / "needing.pt2")(image), net(image))


class Harm:
    def __init__(self, marker):
        self.marker = str(marker)

    def __reduce__(self):
        return os.mkdir, (self.marker,)


def pickled(marker) -> bytes:
    buffer = io.BytesIO()
    torch.save(Harm(marker), buffer)
    return buffer.getvalue()


def graph_with(change):
    """Return an edit of the archive's graph."""

    def edit(members, marker):
        model = json.loads(members["models/model.json"])
        change(model, f"__import__('os').mkdir({str(marker)!r})")
        members["models/model.json"] = json.dumps(model).encode()

    return edit


def set_target(model, code):
    model["graph_module"]["graph"]["nodes"][0]["target"] = "torch.os.mkdir"


def set_private_target(model, code):
    model["graph_module"]["graph"]["nodes"][0]["target"] = "torch.ops.aten.__init__.__globals__"


def set_size(model, code):
    values = model["graph_module"]["graph"]["tensor_values"]
    values["x"]["sizes"][0]["as_expr"]["expr_str"] = code


def set_guard(model, code):
    model["guards_code"] = [code]


def set_value_name(model, code):
    values = model["graph_module"]["graph"]["tensor_values"]
    values[f"x = {code}"] = values["x"]


def set_spec(model, code):
    call = model["graph_module"]["module_call_graph"][0]["signature"]
    call["in_spec"] = call["in_spec"].replace("builtins.tuple", "collections.defaultdict")


def set_sample(members, marker):
    members["data/sample_inputs/model.pt"] = pickled(marker)


def add_object(members, marker):
    members["data/constants/custom_obj_0"] = pickle.dumps(Harm(marker))


def use_pickle(members, marker):
    name = "data/weights/model_weights_config.json"
    config = json.loads(members[name])
    first = next(iter(config["config"].values()))
    first["use_pickle"] = True
    members[name] = json.dumps(config).encode()
    members[f"data/weights/{first['path_name']}"] = pickled(marker)


GRAPH_EDITS = [
    graph_with(change) for change in (set_target, set_private_target, set_size, set_guard, set_value_name, set_spec)
]


@pytest.mark.parametrize("edit", [*GRAPH_EDITS, set_sample, add_object, use_pickle])
def test_a_file_that_would_run_code_is_refused_and_does_not_run(edit, program, tmp_path):
    members, marker = read_members(program), tmp_path / "marker"
    edit(members, marker)
    with zipfile.ZipFile(tmp_path / "evil.pt2", "w") as archive:
        for name, content in members.items():
            archive.writestr(f"evil/{name}", content)
    with pytest.raises(UserError, match=r"evil\.pt2: refused, because opening it could run code"):
        open_artifact(tmp_path / "evil.pt2")
    assert not marker.exists()


def test_two_members_of_one_name_are_refused(program, tmp_path):
    path = tmp_path / "twice.pt2"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in [*read_members(program).items(), ("MODELS/model.json", b"{}")]:
            archive.writestr(f"twice/{name}", content)
    with pytest.raises(UserError, match="two files of one name"):
        open_artifact(path)


@pytest.mark.parametrize(
    "text",
    [
        "Symbol('s77', positive=True, integer=True)",
        "Add(Integer(-1), Mul(Integer(2), Symbol('s0', positive=True, integer=True)))",
        "FloorDiv(Add(s0, -1), Min(8, s0))",
        "2*s0 + 1",
    ],
)
def test_arithmetic_on_sizes_is_recognised(text):
    assert is_size(text)


@pytest.mark.parametrize(
    "text", ["exit()", "exec(chr(105))", "Symbol.__class__", "'a'", "s0.x", "lambda: 0", "open(s0)"]
)
def test_anything_else_is_no_size(text):
    assert not is_size(text)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no device that is always full")
def test_a_full_disk_is_an_error_and_not_the_end_of_the_process(net):
    with pytest.raises(OSError, match="No space left"):
        pt2.save(net, net.card, Path("/dev/full"))

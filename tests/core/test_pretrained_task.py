"""Weights to begin with: of a new training, before a run is begun."""

from pathlib import Path

import pytest
import torch

from foveal.core.errors import UserError
from foveal.core.fit import main
from foveal.core.pretrained_task import PretrainedTask
from foveal.tests.fixtures.tiny_task import TinyNet, TinyTask
from foveal.tests.fixtures.training import CONFIG


class LoadingNet(TinyNet):
    """Takes its first layer from a file."""

    def load_pretrained(self, source=None):
        if not Path(source).is_file():
            raise UserError(f"{source}: there is no such file.")
        self.inside.load_state_dict(torch.load(source))


class Begun(PretrainedTask, TinyTask):
    """The tiny task with an option for weights to begin with."""

    def __init__(self, *args, pretrained: str | None = None, **kwargs):
        super().__init__(*args, **kwargs)
        self.pretrained = pretrained


@pytest.fixture(autouse=True)
def inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def fit(net, *options):
    kind = [f"--model={__name__}.Begun", f"--model.init_args.net={__name__}.{net}"]
    assert main("superres", "fit", ["--config", CONFIG, *kind, "--trainer.max_epochs", "1", *options]) == 0


def first_layer(run):
    return torch.load(f"{run}/last.ckpt", weights_only=True)["state_dict"]["net.inside.weight"]


def test_a_new_training_begins_with_them_and_a_continued_one_with_its_own():
    torch.manual_seed(0)
    layer = torch.nn.Linear(2, 4)
    layer.weight.data.fill_(50.0)
    torch.save(layer.state_dict(), "layer.pth")
    fit("LoadingNet", "--model.init_args.pretrained", "layer.pth", "--output", "run")
    assert (first_layer("run") > 40).all()
    Path("layer.pth").unlink()  # a run that goes on does not look for it
    again = ["--model.init_args.pretrained", "layer.pth", "--output", "run", "--ckpt_path", "last"]
    fit("LoadingNet", *again, "--trainer.max_epochs", "2")
    assert (first_layer("run") > 40).all()


@pytest.mark.parametrize("output", [[], ["--output", "mine/run"]])
@pytest.mark.parametrize(
    ("net", "words"),
    [
        ("LoadingNet", r"gone\.pth: there is no such file"),
        ("TinyNet", "TinyNet cannot load such weights; leave it out"),
    ],
)
def test_weights_that_cannot_be_had_are_told_and_leave_no_run(net, words, output):
    with pytest.raises(UserError, match=rf"^model\.pretrained: {words}"):
        fit(net, "--model.init_args.pretrained", "gone.pth", *output)
    assert not list(Path().rglob("tensorboard"))
    assert not Path("mine/run").exists()


def test_a_folder_that_was_there_stays():
    Path("mine").mkdir()
    Path("mine/notes.txt").write_text("keep")
    with pytest.raises(UserError, match="gone"):
        fit("LoadingNet", "--model.init_args.pretrained", "gone.pth", "--output", "mine")
    assert Path("mine/notes.txt").read_text() == "keep"

"""One-line messages for mistakes in options and configs."""

import sys
from argparse import ArgumentError
from types import ModuleType
from typing import Literal

import pytest
import yaml
from jsonargparse import ArgumentParser

from foveal.core.messages import config_files, counted, explain, nearest, suggestion


class Net:
    """A stand-in for a network."""

    def __init__(
        self,
        dim: int = 48,
        mode: Literal["dense", "sparse"] = "dense",
        size: Literal["tiny", "small", "large", "huge", "full"] = "tiny",
    ):
        self.dim, self.mode, self.size = dim, mode, size


class Wide(Net):
    """A stand-in whose own arguments and its parent's are known."""

    def __init__(self, width: int = 2, **kwargs):
        super().__init__(**kwargs)


class Task:
    """A stand-in for a task that takes a network."""

    def __init__(self, net: Net, lr: float = 1e-3):
        self.net, self.lr = net, lr


@pytest.fixture
def parser(monkeypatch):
    module = ModuleType("stand_in")
    vars(module).update(Net=Net, Wide=Wide, Task=Task)
    monkeypatch.setitem(sys.modules, "stand_in", module)
    for each in (Net, Wide, Task):
        monkeypatch.setattr(each, "__module__", "stand_in")
    parser = ArgumentParser(exit_on_error=False, allow_abbrev=False)
    parser.add_argument("--config", action="config")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--trainer.max_epochs", type=int, default=1)
    parser.add_argument("--trainer.precision", type=Literal["32", "bf16"] | None, default=None)
    parser.add_subclass_arguments(Task, "model")
    return parser


def told(parser: ArgumentParser, arguments: list[str]) -> str:
    with pytest.raises(ArgumentError) as caught:
        parser.parse_args(arguments)
    return explain(caught.value, parser, arguments)


def model(net="stand_in.Net", net_args=None, **task_args):
    network = {"class_path": net, "init_args": net_args or {}}
    return {"model": {"class_path": "stand_in.Task", "init_args": {"net": network, **task_args}}}


@pytest.mark.parametrize(
    ("config", "line"),
    [
        ({"modell": 1}, "unknown key 'modell'; did you mean 'model'?"),
        ({"trainer": {"max_epoch": 3}}, "unknown key 'max_epoch' in trainer; did you mean 'max_epochs'?"),
        ({"trainer": {"max_epochs": "many"}}, "trainer.max_epochs: expected a whole number, got many"),
        ({"trainer": {"precision": "bf61"}}, "trainer.precision: expected 32 or bf16, got bf61; did you mean 'bf16'?"),
        (model(lrr=1.0), "unknown key 'lrr' in model (Task); did you mean 'lr'?"),
        (model(speed={"fast": {"very": 1}}), "unknown key 'speed' in model (Task); there is net, lr"),
        (model(net_args={"dims": 4}), "unknown key 'dims' in model.net (Net); did you mean 'dim'?"),
        (model("stand_in.Wide", {"dims": 4}), "unknown key 'dims' in model.net (Wide); did you mean 'dim'?"),
        (model(net_args={"zzz": 4}), "unknown key 'zzz' in model.net (Net); there is dim, mode, size"),
        (model(net_args={"dim": "four"}), "model.net.dim: expected a whole number, got four"),
        (
            model(net_args={"mode": "spars"}),
            "model.net.mode: expected dense or sparse, got spars; did you mean 'sparse'?",
        ),
        (model(net_args={"size": "hgue"}), "model.net.size: unknown value hgue; did you mean 'huge'?"),
        (model("stand_in.Nett"), "model.net: there is no stand_in.Nett; did you mean 'Net'?"),
        (
            model("foveal.core.mesages.Net"),
            "model.net: there is no foveal.core.mesages; did you mean 'messages'?",
        ),
    ],
)
def test_a_fault_in_a_config_names_file_key_and_remedy(parser, tmp_path, config, line):
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(config))
    assert told(parser, ["--config", str(path)]) == f"{path}: {line}"


def test_the_faulty_one_of_several_configs_is_named(parser, tmp_path):
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text(yaml.safe_dump(model() | {"trainer": {"max_epochs": 3}}))
    bad.write_text("trainer: {max_epoch: 3}")
    assert told(parser, ["--config", str(bad), f"--config={good}"]).startswith(f"{bad}: unknown key 'max_epoch'")


def test_broken_yaml_names_file_and_line(parser, tmp_path):
    path = tmp_path / "broken.yaml"
    path.write_text("model:\n  net: [1, 2\nseed: 3\n")
    line = told(parser, ["--config", str(path)])
    assert line.startswith(f"{path}: not valid YAML near line 3")
    assert "\n" not in line


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--sede", "3"], "unknown option --sede; did you mean '--seed'?"),
        (["--seed", "three"], "--seed: expected a whole number, got three"),
        (["--seed"], "--seed needs a value"),
        (["--trainer.max_epoch=3"], "unknown option --trainer.max_epoch; did you mean '--trainer.max_epochs'?"),
        (["--model", "stand_in.Task", "--model.lrr", "3"], "unknown key 'lrr' in model (Task); did you mean 'lr'?"),
        (["--model", "Tsk"], "--model: expected a class path such as package.module.Class, got Tsk"),
        (["photo.png"], "unexpected argument 'photo.png': every value follows its option, as in --config photo.png"),
    ],
)
def test_a_fault_on_the_command_line_names_the_option(parser, arguments, line):
    assert told(parser, arguments) == line


def test_a_missing_option_is_named():
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--input", required=True)
    assert told(parser, []) == "--input must be given"


def test_subcommands_know_the_keys_of_their_parsers():
    inner = ArgumentParser(exit_on_error=False)
    inner.add_argument("--ckpt_path", type=str)
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subcommands().add_subcommand("fit", inner)
    assert told(parser, ["fit", "--ckpt-path", "x"]) == "unknown option --ckpt-path; did you mean '--ckpt_path'?"
    assert told(parser, ["fti"]) == "unknown command 'fti'; did you mean 'fit'?"


def test_an_error_of_unknown_shape_is_told_in_one_line(parser):
    assert explain(ValueError("two\n  lines"), parser) == "two lines"


def test_nearest_ignores_case_and_dashes_and_refuses_what_is_far():
    assert nearest("CKPT-path", ["ckpt_path", "config"]) == "ckpt_path"
    assert nearest("adan", ["Adam", "adam"]) == "Adam"
    assert nearest("zebra", ["ckpt_path", "config"]) is None


def test_suggestion_lists_what_there_is_where_nothing_is_near():
    assert suggestion("zebra", ["one", "two"]) == "; there is one, two"
    assert suggestion("zebra", [str(number) for number in range(20)]).endswith("11, ...")
    assert suggestion("zebra", []) == ""


def test_config_files_are_found_in_every_spelling():
    assert config_files(["--config", "a.yaml", "--config=b.yaml", "-c", "c.yaml", "--seed", "1"]) == [
        "a.yaml",
        "c.yaml",
        "b.yaml",
    ]


def test_things_are_counted_in_singular_and_plural():
    assert [counted(number, "file") for number in (0, 1, 2)] == ["0 files", "1 file", "2 files"]

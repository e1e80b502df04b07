"""Run folders: names, numbers, and what the manifest tells."""

import json
import subprocess
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from foveal.core import run
from foveal.core.errors import UserError
from foveal.core.weights.card import Card
from foveal.core.weights.files import save_weights


def test_folders_are_numbered(tmp_path: Path) -> None:
    made = [run.create_folder("light", tmp_path) for _ in range(3)]
    assert [each.name for each in made] == ["light", "light-2", "light-3"]
    assert all(each.is_dir() for each in made)


def begun(folder: Path) -> Path:
    run.write_json(folder / run.MANIFEST, {})
    return folder


def test_newest_folder_counts_numbers_and_ignores_other_names(tmp_path: Path) -> None:
    for name in ("light", "light-2", "light-10", "light_x2", "light-x4", "lighter-11"):
        begun(tmp_path / "app" / name)
    (tmp_path / "app/light-98").mkdir()  # nothing began here
    (tmp_path / "app/light-99").write_text("a file, not a folder")
    assert run.newest_folder([], "app/light", tmp_path) == tmp_path / "app/light-10"
    assert run.newest_folder([], "app/tiny", tmp_path) is None


def test_a_folder_in_which_nothing_began_is_removed(tmp_path: Path) -> None:
    empty, kept = run.create_folder("light", tmp_path), begun(run.create_folder("light", tmp_path))
    (empty / "tensorboard").mkdir()
    for folder in (empty, kept, tmp_path / "never made"):
        run.remove_unbegun(folder)
    assert list(tmp_path.iterdir()) == [kept]


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (["--config", "configs/superres/quickstart_dlgsanet.yaml", "-c", "more.yaml"], "superres/quickstart_dlgsanet"),
        (["--trainer.max_epochs", "3", "--config=light.yaml"], "superres/light"),
        (["--trainer.max_epochs", "3"], "superres/superres"),
    ],
)
def test_runs_are_named_after_the_first_config(arguments: list[str], name: str) -> None:
    assert run.run_name("superres", arguments) == name


def test_configs_of_one_name_have_a_folder_for_each_app() -> None:
    words = ["--config", "quickstart_unet.yaml"]
    assert [run.run_name(app, words) for app in ("udc", "medseg")] == ["udc/quickstart_unet", "medseg/quickstart_unet"]


def test_config_of_a_run_stands_for_that_run(tmp_path: Path) -> None:
    folder = tmp_path / "light"
    arguments = ["--config", str(folder / "config.yaml")]
    assert run.run_name("superres", arguments) == "superres/config"
    begun(folder)
    begun(tmp_path / "light-2")
    assert run.run_name("superres", arguments) == "superres/light"
    assert run.newest_folder(arguments, "superres/light", tmp_path) == folder


def test_manifest_tells_how_to_repeat_the_run(tmp_path: Path) -> None:
    told = run.manifest(["foveal", "superres", "fit", "--config", "a file.yaml"], seed=3)
    run.write_json(tmp_path / run.MANIFEST, told)
    read = json.loads((tmp_path / run.MANIFEST).read_text())
    assert read == told
    assert read["command"] == "foveal superres fit --config 'a file.yaml'"
    assert read["seed"] == 3
    assert set(read["versions"]) == {"python", "foveal", "torch", "lightning", "numpy"}
    assert read["start"].endswith("+00:00")
    assert read["end"] is None


def test_the_command_line_can_be_given_again(monkeypatch: pytest.MonkeyPatch) -> None:
    module = SimpleNamespace(__spec__=ModuleSpec("foveal.apps.superres.__main__", None))
    monkeypatch.setattr(sys, "argv", ["/somewhere/foveal/apps/superres/__main__.py", "fit"])
    monkeypatch.setitem(sys.modules, "__main__", module)
    assert run.command_line() == ["python", "-m", "foveal.apps.superres", "fit"]
    monkeypatch.setattr(sys, "argv", ["/somewhere/bin/foveal", "superres", "fit"])
    module.__spec__ = None
    assert run.command_line() == ["foveal", "superres", "fit"]


def test_commit_and_whether_files_were_changed(tmp_path: Path) -> None:
    assert run.commit(tmp_path) is None
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b.c"]
    (tmp_path / "code.py").write_text("a = 1\n")
    for arguments in (["init", "-q"], ["add", "code.py"], ["commit", "-q", "-m", "One"]):
        subprocess.run([*git, *arguments], check=True)
    clean = run.commit(tmp_path)
    assert clean is not None
    assert len(clean["commit"]) == 40
    assert not clean["dirty"]
    (tmp_path / "installed").mkdir()
    assert run.commit(tmp_path / "installed") is None
    (tmp_path / "code.py").write_text("a = 2\n")
    assert run.commit(tmp_path) == {"commit": clean["commit"], "dirty": True}


def place(tmp_path: Path, command: str, checkpoint: str | None, output: Path | None = None) -> run.Place:
    return run.find_place("superres", command, ["--config", "light.yaml"], output, checkpoint, tmp_path)


def test_a_command_finds_its_checkpoint_and_its_folder(tmp_path: Path) -> None:
    old, new = begun(tmp_path / "superres/light"), begun(tmp_path / "superres/light-2")
    last, best, other = new / "last.ckpt", new / "best.ckpt", tmp_path / "other.ckpt"
    for path in (old / "last.ckpt", last, best, other):
        path.touch()
    assert place(tmp_path, "fit", None) == run.Place("superres/light", None, None)
    assert place(tmp_path, "fit", "last") == run.Place("superres/light", new, last)
    assert place(tmp_path, "fit", str(last)) == run.Place("superres/light", new, last)
    assert place(tmp_path, "fit", "last", old) == run.Place("superres/light", old, old / "last.ckpt")
    assert place(tmp_path, "fit", "best") == run.Place("superres/light", None, best)
    assert place(tmp_path, "fit", str(other)) == run.Place("superres/light", None, other)
    assert place(tmp_path, "test", "best") == run.Place("superres/light-test", new, best)
    assert place(tmp_path, "test", str(other)) == run.Place("superres/light-test", None, other)
    assert place(tmp_path, "test", "best", new) == run.Place("superres/light-test", new, best)
    assert place(tmp_path, "test", str(best), tmp_path / "here") == run.Place(
        "superres/light-test", tmp_path / "here", best
    )


def test_a_training_killed_before_its_first_checkpoint_begins_again_in_its_folder(tmp_path: Path) -> None:
    (begun(tmp_path / "superres/light") / "last.ckpt").touch()
    killed = begun(tmp_path / "superres/light-2")
    assert place(tmp_path, "fit", "last") == run.Place("superres/light", killed, None)


def test_what_is_missing_or_would_be_overwritten_is_told(tmp_path: Path) -> None:
    taken = begun(tmp_path / "superres/light")
    for command, checkpoint in (("test", "last"), ("fit", "best"), ("test", "gone.ckpt")):
        with pytest.raises(UserError, match=f"^--ckpt_path {checkpoint}: there is no "):
            place(tmp_path, command, checkpoint)
    with pytest.raises(UserError, match=r"light: holds a run\. Continue it"):
        place(tmp_path, "fit", None, taken)
    (taken / "last.ckpt").touch()
    with pytest.raises(UserError, match=r"no best\.ckpt in .*light\. Give last or a file\."):
        place(tmp_path, "test", "best")


def test_weights_alone_can_be_measured_but_not_trained_further(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    card = Card(name="w", app="tiny", network={"class_path": "foveal.Net"}, tile=8, overlap=0)
    save_weights(torch.nn.Linear(2, 2), card, path)
    assert place(tmp_path, "test", str(path)).checkpoint == path
    with pytest.raises(UserError, match="holds weights alone"):
        place(tmp_path, "fit", str(path))


def test_an_output_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("keep")
    with pytest.raises(UserError, match=r"notes\.txt: is a file; give a folder"):
        run.find_place("superres", "fit", [], tmp_path / "notes.txt", None)

"""Run folders: names, numbers, and what the manifest tells."""

import json
import subprocess
from pathlib import Path

import pytest

from foveal.core import run


def test_folders_are_numbered(tmp_path: Path) -> None:
    made = [run.create_folder("light", tmp_path) for _ in range(3)]
    assert [each.name for each in made] == ["light", "light-2", "light-3"]
    assert all(each.is_dir() for each in made)


def test_newest_folder_counts_numbers_and_ignores_other_names(tmp_path: Path) -> None:
    for name in ("light", "light-2", "light-10", "light_x2", "light-x4", "lighter-11"):
        (tmp_path / name).mkdir()
    (tmp_path / "light-99").write_text("a file, not a folder")
    assert run.newest_folder([], "light", tmp_path) == tmp_path / "light-10"
    assert run.newest_folder([], "tiny", tmp_path) is None


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (["--config", "configs/superres/quickstart.yaml", "--config", "more.yaml"], "quickstart"),
        (["--trainer.max_epochs", "3", "--config=light.yaml"], "light"),
        (["--trainer.max_epochs", "3"], "superres"),
    ],
)
def test_runs_are_named_after_the_first_config(arguments: list[str], name: str) -> None:
    assert run.run_name("superres", arguments) == name


def test_config_of_a_run_stands_for_that_run(tmp_path: Path) -> None:
    folder = run.create_folder("light", tmp_path)
    arguments = ["--config", str(folder / "config.yaml")]
    assert run.run_name("superres", arguments) == "config"
    run.write_json(folder / run.MANIFEST, {})
    run.create_folder("light", tmp_path)
    assert run.run_name("superres", arguments) == "light"
    assert run.newest_folder(arguments, "light", tmp_path) == folder


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

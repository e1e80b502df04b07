"""What the installation holds."""

import pytest
from safetensors.numpy import save_file

from foveal.core import catalogue
from foveal.core.catalogue import (
    apps,
    commands,
    configs,
    find_app,
    find_config,
    networks,
    settle_configs,
    summary,
    with_bases,
)
from foveal.core.errors import UserError
from foveal.core.weights.card import Card


def test_apps_have_a_summary_and_networks():
    assert apps()["superres"].startswith("Super-resolution")
    assert all(networks(app) for app in apps())
    assert not any(name.endswith("_adapter") for name in networks("superres"))


def test_an_app_is_found_by_folder_and_refused_elsewhere():
    assert find_app("apps/superres/") == "superres"
    with pytest.raises(UserError, match="no app 'core/superres'"):
        find_app("core/superres")


def test_a_config_of_the_working_directory_comes_before_the_shipped_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = "configs/superres/quickstart_dlgsanet.yaml"
    assert find_config(name) == configs()[name]
    (tmp_path / "configs/superres").mkdir(parents=True)
    (tmp_path / name).write_text("seed_everything: 1\n")
    assert find_config(name).samefile(tmp_path / name)


def test_a_missing_config_suggests_its_neighbours(tmp_path):
    (tmp_path / "mine.yaml").touch()
    with pytest.raises(UserError, match=r"mien.yaml: no such config file; did you mean '.*mine.yaml'"):
        find_config(str(tmp_path / "mien.yaml"))
    with pytest.raises(UserError, match="is a folder"):
        find_config(str(tmp_path))


def test_configs_of_a_command_line_are_settled_in_every_spelling(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = "configs/superres/quickstart_dlgsanet.yaml"
    shipped = str(configs()[name])
    line = ["--config", name, f"--config={name}", "-c", name, "--name", name]
    assert settle_configs(line) == ["--config", shipped, f"--config={shipped}", "-c", shipped, "--name", name]


def test_cards_are_read_without_the_tensors(tmp_path, monkeypatch):
    network = {"class_path": "foveal.apps.superres.models.dlgsanet.DLGSANet", "init_args": {}}
    card = Card(name="tiny", app="superres", network=network, tile=64, overlap=8)
    path = tmp_path / "tiny.safetensors"
    save_file({}, path, metadata={"card": card.to_json()})
    monkeypatch.setattr(catalogue, "shipped_weights", lambda: {"tiny": path})
    assert catalogue.cards() == [card]


def test_a_summary_is_the_first_line_of_a_docstring(tmp_path):
    path = tmp_path / "module.py"
    path.write_text('"""One idea.\n\nMore.\n"""\n')
    assert summary(path) == "One idea"
    path.write_text("")
    assert summary(path) == ""


def test_commands_of_an_app_alone_are_those_that_it_names():
    assert commands("superres") == {}
    assert {"tissue", "tile", "features"} <= commands("wsi").keys()


def test_a_config_builds_on_one_beside_it_or_on_one_of_the_package(tmp_path):
    name = "configs/superres/demo_x2.yaml"
    mine = tmp_path / "mine.yaml"
    mine.write_text(f"base: {name}\n")
    assert with_bases(["--config", str(mine)]) == ["--config", str(configs()[name]), "--config", str(mine)]
    beside = tmp_path / name
    beside.parent.mkdir(parents=True)
    beside.write_text("seed_everything: 1\n")
    assert with_bases(["--config", str(mine)]) == ["--config", str(beside), "--config", str(mine)]
    mine.write_text("base: other.yaml\n")
    with pytest.raises(UserError, match=r"base other\.yaml is not there; give a path from the folder of mine\.yaml"):
        with_bases(["--config", str(mine)])


def test_what_is_no_text_is_no_config(tmp_path):
    (tmp_path / "last.ckpt").write_bytes(b"PK\x03\x04\xe9")
    with pytest.raises(UserError, match=r"last\.ckpt: is no text in UTF-8; a config is a YAML file\."):
        with_bases(["--config", str(tmp_path / "last.ckpt")])
    (tmp_path / "no_day.yaml").write_text("when: 2024-13-45\n")
    words = ["--config", str(tmp_path / "no_day.yaml")]
    assert with_bases(words) == words


def test_a_config_that_builds_on_itself_is_refused(tmp_path):
    for name, base in (("own", "own"), ("one", "two"), ("two", "one"), ("over", "one")):
        (tmp_path / f"{name}.yaml").write_text(f"base: {base}.yaml\n")
    for name, told in (("own", r"own\.yaml: base own\.yaml"), ("over", r"two\.yaml: base one\.yaml")):
        with pytest.raises(UserError, match=f"{told} is this config itself, or builds on it; give another"):
            with_bases(["--config", str(tmp_path / f"{name}.yaml")])

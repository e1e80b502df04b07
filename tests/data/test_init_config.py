"""What `init` writes and prints, whatever the app."""

import shlex

from foveal.data.init_config import places_of, write_config
from foveal.data.init_size import Size


def test_the_next_commands_can_be_given_as_they_are_printed(tmp_path, capsys):
    folder = tmp_path / "my cohort"
    folder.mkdir()
    places = places_of(folder, tmp_path / "own data.yaml", False)
    base, check = "configs/wsi/acmil_folder.yaml", ["--features", folder]
    write_config(places, "wsi", folder, base, Size(True, "light"), ["8 slides"], {}, [], check, "--input SLIDE")
    printed = capsys.readouterr().out.partition("next:\n")[2].splitlines()
    assert [shlex.split(line) for line in printed] == [
        ["foveal", "wsi", "check", "--features", str(folder)],
        ["foveal", "wsi", "fit", "--config", str(places.config)],
        ["foveal", "wsi", "infer", "--weights", "runs/wsi/own data/best.ckpt", "--input", "SLIDE"],
    ]
    written = places.config.read_text(encoding="utf-8")
    assert all(f"# {line}\n" in written for line in printed)

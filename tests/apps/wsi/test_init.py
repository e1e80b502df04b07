"""The command `init` on features of slides."""

import shlex
import shutil
from pathlib import Path

import h5py
import pytest
import yaml

from foveal.core.cli import main
from foveal.tests.fixtures import slide
from foveal.tests.fixtures.bags import write_folder
from foveal.tests.fixtures.own_data import scored, split_of, train_a_step


@pytest.fixture(autouse=True)
def inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_the_config_trains_on_features_with_patients_apart(capsys):
    write_folder(Path("cohort"), 16, per_patient=2)
    assert main(["init", "wsi", "cohort"]) == 0
    out = capsys.readouterr().out
    assert "features of bags 16" in out
    assert "columns of labels.csv: slide (slides), label (class), patient (patient)" in out
    rows = split_of("cohort_split.csv")
    net = yaml.safe_load(Path("cohort.yaml").read_text())["model"]["init_args"]["net"]["init_args"]
    assert net == {"num_classes": 2, "in_channels": 8, "dim": 4}
    run = train_a_step("wsi", "cohort.yaml")
    assert scored(run) == {row["slide"] for row in rows if row["split"] == "validation"}


def test_init_again_in_the_folder_of_the_data_takes_the_same_table(monkeypatch, capsys):
    _, table = write_folder(Path("cohort"), 16)
    table.write_text(table.read_text().rstrip() + "\nlost,tumour\n")
    monkeypatch.chdir("cohort")
    assert main(["wsi", "init", ".", "--output", "first.yaml"]) == 0
    assert main(["wsi", "init", ".", "--output", "second.yaml"]) == 0
    assert Path("first_split.csv").read_text() == Path("second_split.csv").read_text()
    assert "1 of 17 lines of labels.csv name none of the slides, such as lost" in capsys.readouterr().out


def test_the_parts_of_a_table_are_kept():
    _, table = write_folder(Path("cohort"), 12)
    lines = table.read_text().splitlines()
    parts = ["split", *["train"] * 6, *["val"] * 3, *["test"] * 3]
    table.write_text("\n".join(f"{line},{part}" for line, part in zip(lines, parts, strict=True)))
    assert main(["wsi", "init", "cohort"]) == 0
    rows = split_of("cohort_split.csv")
    assert [row["slide"] for row in rows if row["split"] == "validation"] == ["s6", "s7", "s8"]


def test_what_is_missing_is_told(capsys):
    Path("cohort").mkdir()
    assert main(["wsi", "init", "cohort"]) == 2
    assert capsys.readouterr().err.startswith(
        "error: cohort: holds neither features nor slides. Expected:\n  FOLDER/features/<slide>.h5"
    )
    for name in ("a", "b c"):
        slide.write_tiff(Path("cohort", f"{name}.svs"), slide.stained(600, 640), levels=2)
    assert main(["wsi", "init", "cohort"]) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: cohort: holds slides (2), but no features, which a training reads. Give these two")
    make, again = (shlex.split(line) for line in told.splitlines()[1:])
    assert " ".join(make) == "foveal wsi features --input cohort --output cohort/features --encoder resnet50"
    assert again == ["foveal", "init", "wsi", "cohort"]
    assert main([*make[1:-1], "colour-texture", "--quiet"]) == 0
    assert main(again[1:]) == 2
    assert "cohort: holds no CSV file of the classes" in capsys.readouterr().err
    shutil.rmtree("cohort")
    _, table = write_folder(Path("cohort"), 4)
    table.write_text("name,label\nother,tumour\n")
    assert main(["wsi", "init", "cohort"]) == 2
    assert "no column names the slides, such as s0; its columns are name, label" in capsys.readouterr().err
    table.unlink()
    assert main(["wsi", "init", "cohort"]) == 2
    assert "cohort: holds no CSV file of the classes. Expected:" in capsys.readouterr().err


def test_features_made_by_hand_are_standardised_and_slides_are_shown():
    features_folder, _ = write_folder(Path("cohort"), 16)
    for each in features_folder.glob("*.h5"):
        with h5py.File(each, "r+") as file:
            file["features"].attrs["encoder"] = "colour-texture"
    for place in ("cohort/slides/s0.svs", "cohort/predicted/s0_heatmap.tif"):
        Path(place).parent.mkdir()
        Path(place).touch()
    assert main(["wsi", "init", "cohort"]) == 0
    config = yaml.safe_load(Path("cohort.yaml").read_text())
    assert config["model"]["init_args"]["standardise"] is True
    assert config["data"]["init_args"]["train"][0]["init_args"]["slides"] == str(Path("cohort/slides").resolve())

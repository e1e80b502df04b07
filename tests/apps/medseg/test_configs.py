"""Every config of the app builds its network, trains, is tested, and segments or classifies a file of its data."""

import csv
from inspect import signature
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image

from foveal.core.catalogue import configs
from foveal.core.cli import main
from foveal.tests.fixtures.datasets_2d import merged, write_datasets
from foveal.tests.fixtures.small_runs import class_of, shipped, small, whole_network

CONFIGS = sorted(name for name in configs() if name.startswith("configs/medseg/"))

SLOW = ("configs/medseg/medusa_covidx.yaml", "configs/medseg/medusa_rsna.yaml")
TIMED = [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in CONFIGS]


@pytest.fixture(autouse=True)
def inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.mark.parametrize("config", CONFIGS)
def test_every_config_builds_its_whole_network(config, capsys):
    content = shipped("medseg", config, capsys)
    net, model = whole_network(content), content["model"]["init_args"]
    size = content["data"]["init_args"]["size"]
    sides = [*(size if isinstance(size, list) else [size]), *(model.get("frame") or ())]
    assert all(side % net.size_multiple == 0 for side in sides)
    if model["scheduler"]:
        assert model["scheduler"]["init_args"]["total_steps"] == content["trainer"]["max_steps"]


@pytest.mark.parametrize("config", CONFIGS)
def test_a_config_takes_nothing_from_the_data_of_the_one_it_builds_on(config, capsys):
    own, read = (each["data"]["init_args"] for each in (merged(config), shipped("medseg", config, capsys)))
    for part in ("train", "validation"):
        for given, whole in zip(own.get(part) or [], read[part] or [], strict=True):
            defaults = signature(class_of(given)).parameters
            for name, value in whole["init_args"].items():
                expected = given["init_args"].get(name, defaults[name].default)
                assert value == (list(expected) if isinstance(expected, tuple) else expected), (part, name)


def test_weights_from_images_of_ones_own_have_no_licence_of_others(capsys):
    assert not shipped("medseg", "configs/medseg/msga_folder.yaml", capsys)["model"]["init_args"]["licence"]


@pytest.mark.parametrize("config", TIMED)
def test_every_config_trains_and_its_weights_are_used(config):
    content = merged(config)
    image = write_datasets(content)
    options = ["--config", config, *small(content)]
    assert main(["medseg", "fit", *options]) == 0
    assert main(["medseg", "test", *options, "--ckpt_path", "best"]) == 0
    assert main(["medseg", "predict", *options, "--ckpt_path", "best", "--trainer.limit_predict_batches", "1"]) == 0
    folder = Path("runs", Path(config).stem)
    assert {"best.ckpt", "last.ckpt", "cases_val.csv", "cases_test.csv"} <= {each.name for each in folder.iterdir()}
    classifies = "Classification" in content["model"]["class_path"]
    output = Path("answer.csv" if classifies else f"answer{''.join(image.suffixes)}")
    weights = ["--weights", str(folder / "best.ckpt"), "--device", "cpu", "--quiet"]
    assert main(["medseg", "infer", *weights, "--input", str(image), "--output", str(output)]) == 0
    if classifies:
        assert_probabilities(output, image)
    else:
        assert_same_place(
            output, image, content["model"]["init_args"]["net"].get("init_args", {}).get("num_classes", 5)
        )


def assert_probabilities(table, image):
    (row,) = csv.DictReader(table.open())
    chances = {name.removeprefix("probability_"): float(each) for name, each in row.items() if "probability" in name}
    assert row["input"] == str(image)
    assert not row["error"]
    assert sum(chances.values()) == pytest.approx(1, abs=1e-4)
    assert row["predicted"] == max(chances, key=chances.get)


def assert_same_place(output, image, classes):
    if image.suffix == ".png":
        found, given = (np.asarray(Image.open(each)) for each in (output, image))
        assert found.shape == given.shape[:2]
    else:
        found, given = nibabel.load(output), nibabel.load(image)
        assert found.shape == given.shape
        assert np.allclose(found.affine, given.affine)
        found = np.asarray(found.dataobj)
    assert set(np.unique(found)) <= set(range(classes))

"""`foveal medseg infer` with classifiers."""

import csv
import json

import numpy as np
import pytest
import torch

from foveal.apps.medseg import classify
from foveal.apps.medseg.infer import infer
from foveal.apps.medseg.models.medusa import MEDUSA
from foveal.apps.medseg.models.timm_classifier import TimmClassifier
from foveal.core.cli import main
from foveal.core.errors import FailedInputs, UserError
from foveal.core.weights.card import Card
from foveal.core.weights.load import save_weights
from foveal.data.io.image import read_image, write_image
from foveal.tests.fixtures import dicom
from foveal.tests.fixtures.pixelwise import Contrast, save_program

FACTS = {"app": "medseg", "kind": "classes", "outputs": ("dark", "bright"), "activation": "softmax", "frame": (32, 32)}


def run(weights, paths, output, **options):
    infer(output, list(paths), str(weights), quiet=True, **options)


@pytest.fixture
def contrast(tmp_path):
    return save_program(tmp_path / "contrast.pt", Contrast(), **FACTS)


@pytest.fixture
def folder(tmp_path):
    """Images of which the left half decides: dark, bright, and one of 12 bits."""
    left = np.zeros((1, 40, 60), np.uint8)
    left[..., 30:] = 255
    write_image(tmp_path / "in" / "a.png", np.repeat(left, 3, axis=0))
    write_image(tmp_path / "in" / "b.png", 255 - left)
    dicom.save(tmp_path / "in" / "c", dicom.image_dataset((4095 - 16 * left[0].astype(np.uint16)), bits=12))
    return tmp_path / "in"


def table(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_table_has_one_line_for_each_input(folder, contrast, tmp_path):
    run(contrast, [folder], tmp_path / "out.csv")
    rows = table(tmp_path / "out.csv")
    assert list(rows[0]) == ["input", "predicted", "probability_dark", "probability_bright", "error"]
    assert [each["input"] for each in rows] == [str(folder / name) for name in ("a.png", "b.png", "c")]
    assert [each["predicted"] for each in rows] == ["dark", "bright", "bright"]
    certain = 1 / (1 + np.exp(-8))
    for row in rows:
        assert float(row[f"probability_{row['predicted']}"]) == pytest.approx(certain, abs=1e-3)
        assert float(row["probability_dark"]) + float(row["probability_bright"]) == pytest.approx(1, abs=1e-5)


def test_json_has_the_same_in_one_object_a_line(folder, contrast, tmp_path):
    run(contrast, [folder], tmp_path / "out.json", batch=2)
    rows = json.loads((tmp_path / "out.json").read_text())
    assert [each["predicted"] for each in rows] == ["dark", "bright", "bright"]
    assert set(rows[0]["probabilities"]) == {"dark", "bright"}
    assert len((tmp_path / "out.json").read_text().splitlines()) == 5


def test_an_image_and_its_mirror_image_are_averaged(folder, contrast, tmp_path):
    run(contrast, [folder / "a.png"], tmp_path / "out.json", tta=True)
    (row,) = json.loads((tmp_path / "out.json").read_text())
    assert row["probabilities"]["dark"] == pytest.approx(0.5, abs=1e-3)


def test_independent_classes_are_named_where_they_are_likely(folder, tmp_path):
    weights = save_program(tmp_path / "p.pt", Contrast(), **FACTS | {"activation": "sigmoid"})
    run(weights, [folder], tmp_path / "out.csv")
    rows = table(tmp_path / "out.csv")
    assert [each["predicted"] for each in rows] == ["dark", "bright", "bright"]
    assert float(rows[0]["probability_dark"]) == pytest.approx(1 / (1 + np.exp(-4)), abs=2e-3)


def test_images_go_in_as_in_training(folder, tmp_path):
    seen = []

    class Spy(torch.nn.Module):
        def forward(self, x):
            seen.append(x)
            return x.mean(dim=[2, 3])[:, :2]

    spy = Spy()
    spy.card = Card(
        name="spy", network={"class_path": "x"}, tile=32, overlap=0, mean=(0.5,) * 3, std=(0.2,) * 3, **FACTS
    )
    classify.classify(spy, {}, [folder / "a.png"], tmp_path / "out.csv", quiet=True)
    pixels = seen[0].numpy()
    assert pixels.shape == (1, 3, 32, 32)
    assert pixels.min() == pytest.approx(-2.5)
    assert pixels.max() == pytest.approx(2.5)


def test_a_bad_input_has_its_error_in_its_line(folder, contrast, tmp_path):
    (folder / "b.png").write_bytes(b"no image")
    with pytest.raises(FailedInputs, match=r"1 of 3 inputs failed, the others are done:\n.*b\.png"):
        run(contrast, [folder], tmp_path / "out.csv")
    rows = table(tmp_path / "out.csv")
    assert [each["predicted"] for each in rows] == ["dark", "", "bright"]
    assert "b.png" in rows[1]["error"]
    assert "\n" not in rows[1]["error"]


class Failing(Contrast):
    """Gives no number for dark images, and nothing at all for those of a width."""

    def __init__(self, width=0):
        super().__init__()
        self.width = width
        self.card = Card(name="f", network={"class_path": "x"}, tile=32, overlap=0, **{**FACTS, "frame": ()})

    def forward(self, x):
        if x.shape[-1] == self.width:
            raise RuntimeError("too narrow")
        logits = super().forward(x)
        return torch.where(logits[:, :1] > 0, torch.inf, logits)


@pytest.mark.parametrize("tta", [False, True])
def test_an_image_whose_output_is_not_finite_does_not_stop_the_others(folder, tmp_path, tta):
    write_image(folder / "b.png", np.full((3, 40, 60), 255, np.uint8))
    files = [folder / "a.png", folder / "b.png"]
    with pytest.raises(FailedInputs, match=r"1 of 2 inputs failed, the others are done:\n.*a\.png: the network's"):
        classify.classify(Failing(), {}, files, tmp_path / "out.csv", batch=2, tta=tta, quiet=True)
    rows = table(tmp_path / "out.csv")
    assert [each["predicted"] for each in rows] == ["", "bright"]
    assert "a.png: the network's output is not finite" in rows[0]["error"]


def test_images_of_a_size_that_cannot_be_computed_do_not_stop_the_others(folder, tmp_path):
    write_image(folder / "narrow.png", np.full((3, 40, 2), 255, np.uint8))
    files = [folder / "narrow.png", folder / "b.png"]
    with pytest.raises(FailedInputs, match=r"narrow\.png: too narrow"):
        classify.classify(Failing(2), {}, files, tmp_path / "out.csv", batch=2, quiet=True)
    assert [each["predicted"] for each in table(tmp_path / "out.csv")] == ["", "bright"]


def test_finished_rows_are_not_computed_again(folder, contrast, tmp_path, monkeypatch):
    answers, done = classify.Classifier.answers, []

    def stop(self, files):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.extend(file.name for file in files)
        return answers(self, files)

    monkeypatch.setattr(classify.Classifier, "answers", stop)
    with pytest.raises(KeyboardInterrupt):
        run(contrast, [folder], tmp_path / "out.csv")
    assert not (tmp_path / "out.csv").exists()
    done.clear()
    run(contrast, [folder], tmp_path / "out.csv")
    assert done == ["c"]
    assert [each["predicted"] for each in table(tmp_path / "out.csv")] == ["dark", "bright", "bright"]
    assert not (tmp_path / ".out.csv.rows").exists()
    before = (tmp_path / "out.csv").stat().st_mtime_ns
    run(contrast, [folder], tmp_path / "out.csv")
    assert (tmp_path / "out.csv").stat().st_mtime_ns == before


def test_inputs_that_failed_are_tried_again_and_they_alone(folder, contrast, tmp_path, monkeypatch):
    whole = (folder / "b.png").read_bytes()
    (folder / "b.png").write_bytes(b"no image")
    answers, done = classify.Classifier.answers, []

    def spied(self, files):
        done.extend(file.name for file in files)
        return answers(self, files)

    monkeypatch.setattr(classify.Classifier, "answers", spied)
    for expected in (["a.png", "b.png", "c"], ["b.png"]):
        done.clear()
        with pytest.raises(FailedInputs, match=r"b\.png"):
            run(contrast, [folder], tmp_path / "out.csv")
        assert done == expected
    (folder / "b.png").write_bytes(whole)
    run(contrast, [folder], tmp_path / "out.csv")
    assert [each["predicted"] for each in table(tmp_path / "out.csv")] == ["dark", "bright", "bright"]


def test_a_table_of_others_is_replaced_only_when_told(folder, contrast, tmp_path):
    (tmp_path / "out.csv").write_text("precious")
    with pytest.raises(UserError, match="exists already; give --overwrite"):
        run(contrast, [folder], tmp_path / "out.csv")
    run(contrast, [folder], tmp_path / "out.csv", overwrite=True)
    assert len(table(tmp_path / "out.csv")) == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"output": "out.png"}, "classes go into a table; end the name in .csv or .json"),
        ({"explain": "see.png"}, "pictures go to a folder"),
        ({"explain": "see"}, "was exported without its attention; give its checkpoint"),
        ({"batch": 0}, "--batch 0: give at least 1"),
        ({"twice": True}, "names a file twice"),
    ],
)
def test_impossible_options_are_told(folder, contrast, tmp_path, options, message):
    output = tmp_path / options.pop("output", "out.csv")
    if "explain" in options:
        options["explain"] = tmp_path / options["explain"]
    inputs = [folder / "a.png"] * (1 + options.pop("twice", False))
    with pytest.raises(UserError, match=message):
        run(contrast, inputs, output, **options)
    assert not output.exists()


def test_options_of_segmentation_and_of_networks_are_told_to_be_useless(folder, contrast, tmp_path, caplog):
    useless = {"probabilities": True, "axis": 0, "overlap": 0, "batch": 2, "precision": "bfloat16"}
    run(contrast, [folder], tmp_path / "out.csv", **useless)
    assert [each.getMessage().partition(" has no effect")[0].split()[0] for each in caplog.records] == [
        "--axis",
        "--probabilities",
        "--overlap",
        "--precision",
        "--batch",
    ]


def test_the_command_for_any_weights_names_the_right_one(folder, contrast, tmp_path, capsys):
    arguments = ["--weights", str(contrast), "--input", str(folder / "a.png"), "--output", str(tmp_path / "o.png")]
    assert main(["infer", *arguments]) == 2
    assert "gives one answer for a whole image; run `foveal medseg infer`" in capsys.readouterr().err


def save_network(path, net, class_path, **arguments):
    facts = {**FACTS, "channels": ("grey",)}
    card = Card(name="net", network={"class_path": class_path, "init_args": arguments}, tile=32, overlap=0, **facts)
    save_weights(net, card, path)
    return path


def test_pictures_show_where_medusa_looks(folder, tmp_path, monkeypatch):
    options = {"num_classes": 2, "in_channels": 1, "backbone": "resnet18", "widths": (2, 2), "body_size": 32}
    net = MEDUSA(**options).eval()
    weights = save_network(
        tmp_path / "m.safetensors", net, "foveal.apps.medseg.models.medusa.MEDUSA", **options | {"widths": [2, 2]}
    )
    run(weights, [folder], tmp_path / "out.csv", explain=tmp_path / "see")
    names = [f"{name}_explain.png" for name in "abc"]
    assert sorted(each.name for each in (tmp_path / "see").iterdir()) == names
    assert read_image(tmp_path / "see" / names[0]).shape[2] > 1000
    image = torch.from_numpy(classify.fit(classify.read_unit_image(folder / "b.png"), 32, 1))[None] / 255
    row = table(tmp_path / "out.csv")[1]
    with torch.no_grad():
        expected = net(image).softmax(1)[0].tolist()
    assert [float(row[f"probability_{name}"]) for name in FACTS["outputs"]] == pytest.approx(expected, abs=1e-5)
    old = (tmp_path / "see" / names[0]).stat().st_mtime_ns
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(classify, "write_rows", interrupted)
        run(weights, [folder], tmp_path / "out.csv", tta=True)
    run(weights, [folder], tmp_path / "out.csv", tta=True, explain=tmp_path / "see")
    assert (tmp_path / "see" / names[0]).stat().st_mtime_ns > old  # not the picture of the other result


def interrupted(*_):
    raise KeyboardInterrupt


def test_a_network_without_attention_has_no_pictures(folder, tmp_path):
    options = {"name": "resnet18", "num_classes": 2, "in_channels": 1}
    path = "foveal.apps.medseg.models.timm_classifier.TimmClassifier"
    weights = save_network(tmp_path / "r.safetensors", TimmClassifier(**options).eval(), path, **options)
    with pytest.raises(UserError, match="has no attention to show; leave it out"):
        run(weights, [folder], tmp_path / "out.csv", explain=tmp_path / "see")
    run(weights, [folder], tmp_path / "out.csv")
    assert len(table(tmp_path / "out.csv")) == 3

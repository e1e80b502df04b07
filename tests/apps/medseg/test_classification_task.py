import csv
import json

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from foveal.apps.medseg.classification_task import Classification
from foveal.apps.medseg.models.medusa import MEDUSA
from foveal.core.errors import UserError
from foveal.core.fit import main
from foveal.core.weights.load import load_model


class Brightness(nn.Module):
    """Takes bright images for the second class."""

    num_classes, in_channels, size_multiple = 2, 1, 1

    def __init__(self):
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(4.0))

    def forward(self, x):
        bright = self.slope * (x.mean((1, 2, 3)) - 0.5)
        return torch.stack([-bright, bright], 1)


def task(net=None, **options):
    made = Classification(net or Brightness(), **options)
    made.classes = ("dark", "bright")
    return made


def batch(values=(0.1, 0.9, 0.7), labels=(0, 1, 0)):
    image = torch.tensor(values).view(-1, 1, 1, 1).expand(-1, 1, 32, 32).contiguous()
    names = [f"{value}" for value in values]
    facts = {"set": ["s"] * len(values), "name": names, "patient": names}
    return facts | {"image": image, "label": torch.tensor(labels)}


def test_every_case_of_a_batch_is_scored():
    made = task()
    made._score(batch())
    assert [case["accuracy"] for case in made.cases] == [1, 1, 0]
    assert [(case["truth"], case["predicted"]) for case in made.cases][2] == ("dark", "bright")
    expected = torch.sigmoid(torch.tensor(8 * 0.2)).item()
    assert float(made.cases[2]["probability_bright"]) == pytest.approx(expected, rel=1e-6)
    assert made.cases[2]["nll"] == pytest.approx(-np.log(1 - expected), rel=1e-5)
    assert len(made.pictures) == 3
    scores, pictures = made.evaluate(batch())
    assert scores["name"] == "0.1"
    assert [picture.shape for picture in pictures] == [(32, 32, 3)]


def test_the_results_have_intervals_of_every_score():
    made = task()
    made._score(batch([0.1, 0.2, 0.9, 0.8, 0.7, 0.3], [0, 0, 1, 1, 0, 1]))
    lines = made.results().splitlines()
    assert lines[0].split() == ["set", "cases", "metric", "value"]
    found = {line.split()[2]: line for line in lines[1:]}
    assert {"auc_bright", "ece", "ppv_dark", "sensitivity_bright", "balanced_accuracy"} <= set(found)
    assert "0.6667 [" in found["sensitivity_bright"]


def test_a_score_that_nothing_tells_the_sureness_of_has_no_interval():
    made = task()
    made._score(batch([0.1, 0.9], [0, 1]))
    found = {line.split()[2]: line.split()[3:] for line in made.results().splitlines()[1:]}
    assert found["auc_bright"] == ["1"]


def test_pictures_of_a_network_with_attention_show_every_scale():
    made = task(MEDUSA(2, 1, "resnet18", body_size=32, widths=(4, 8)).eval())
    made._score(batch())
    assert [title for title, _ in made.sample_pictures()] == [
        "image", "attention", "scale 1", "scale 2", "scale 3", "scale 4",
    ]  # fmt: skip
    assert all(picture.shape == (32, 32, 3) for _, column in made.sample_pictures() for picture in column)


def test_the_loss_has_weights_and_smoothing():
    made = task(class_weights=[1.0, 3.0], label_smoothing=0.1)
    made.classes = ("dark", "bright")
    made.weights = made._weights([5, 5])
    logits = made.net(batch()["image"])
    expected = nn.functional.cross_entropy(logits, batch()["label"], torch.tensor([1.0, 3.0]), label_smoothing=0.1)
    assert made.training_loss(batch()).item() == pytest.approx(expected.item())
    assert not expected.allclose(nn.functional.cross_entropy(logits, batch()["label"]))
    assert task(class_weights="balanced")._weights([30, 10]).tolist() == pytest.approx([2 / 3, 2])
    with pytest.raises(UserError, match="one number from 0 for each of the 2 classes"):
        task(class_weights=[1.0])._weights([5, 5])


def test_the_body_is_shown_the_original_where_there_is_one():
    net = MEDUSA(2, 1, "resnet18", body_size=32, widths=(4, 8))
    seen = []
    net.body.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    x, original = torch.rand(2, 1, 32, 32), torch.rand(2, 1, 32, 32)
    task(net).training_loss({"image": x, "label": torch.tensor([0, 1]), "original": original})
    assert torch.equal(seen[0], net.body_image(original))


def test_learning_rates_follow_the_names_of_the_parameters():
    net = MEDUSA(2, 1, "resnet18", body_size=32, widths=(4, 8))
    made = task(net, optimizer=lambda groups: torch.optim.SGD(groups, lr=0.1), lr_factors={"heads": 10.0})
    groups = made.configure_optimizers().param_groups
    rates = {id(each): group["lr"] for group in groups for each in group["params"]}
    assert len(rates) == len(list(net.parameters()))
    assert rates[id(net.heads[0].to_gate.weight)] == pytest.approx(1.0)
    assert rates[id(net.body.to_map.weight)] == pytest.approx(0.1)
    with pytest.raises(UserError, match="begins with 'haeds'; they begin with backbone, body, heads"):
        task(net, lr_factors={"haeds": 2.0})


def test_the_card_tells_classes_and_frame():
    made = task(licence="CC0-1.0")
    made.network = {"class_path": "foveal.m", "init_args": {}}
    card = made.card()
    assert (card.outputs, card.activation, card.frame) == (("dark", "bright"), "softmax", (480, 480))
    assert (card.channels, card.licence) == (("grey",), "CC0-1.0")


NETWORKS = {
    "medusa": ("medusa.MEDUSA", {"backbone": "resnet10t", "widths": [4, 8], "body_size": 32}),
    "plain": ("timm_classifier.TimmClassifier", {"name": "resnet10t"}),
}


def config(tmp_path, name):
    """A run of two epochs on class folders of bright and dark noise."""
    for label, low in (("bright", 100), ("dark", 0)):
        (tmp_path / "images" / label).mkdir(parents=True, exist_ok=True)
        for number in range(10):
            noise = np.random.default_rng([low, number]).integers(low, low + 150, (40, 36), dtype=np.uint8)
            Image.fromarray(noise).save(tmp_path / "images" / label / f"{number}.png")
    path, arguments = NETWORKS[name]
    content = {
        "model": {
            "class_path": "foveal.apps.medseg.classification_task.Classification",
            "init_args": {
                "net": {
                    "class_path": f"foveal.apps.medseg.models.{path}",
                    "init_args": {"num_classes": 2, "in_channels": 1} | arguments,
                },
                "class_weights": "balanced",
            },
        },
        "data": {
            "class_path": "foveal.apps.medseg.classification_data.ClassificationData",
            "init_args": {
                "train": [
                    {
                        "class_path": "foveal.data.datasets.class_folders.ClassFolders",
                        "init_args": {"folder": str(tmp_path / "images")},
                    }
                ],
                "validation_share": 0.3,
                "size": 32,
                "batch_size": 4,
                "sampling": "balanced",
                "augment": [{"class_path": "albumentations.HorizontalFlip", "init_args": {"p": 0.5}}],
                "workers": 0,
                "cache": str(tmp_path / "cache"),
            },
        },
        "trainer": {"max_epochs": 2, "accelerator": "cpu", "logger": False},
    }
    (tmp_path / "run.yaml").write_text(json.dumps(content))
    return str(tmp_path / "run.yaml")


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_both_networks_train_and_test_by_config_alone(tmp_path, name, capsys):
    path, run = config(tmp_path, name), tmp_path / "run"
    assert main("medseg", "fit", ["--config", path, "--output", str(run)]) == 0
    drawn = {"confusion_val.png", "reliability_val.png", "roc_val.png", "scores_val.csv", "samples.png", "curves.png"}
    assert drawn <= {each.name for each in run.iterdir()}
    assert main("medseg", "test", ["--config", path, "--ckpt_path", str(run / "best.ckpt"), "--output", str(run)]) == 0
    assert "auc_bright" in capsys.readouterr().out
    with (run / "scores_test.csv").open() as file:
        scores = {row["metric"]: row for row in csv.DictReader(file)}
    assert float(scores["accuracy"]["low"]) <= float(scores["accuracy"]["value"]) <= float(scores["accuracy"]["high"])
    with (run / "cases_test.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 6
    assert len(list(run.glob("attention_test_*.png"))) == (3 if name == "medusa" else 0)
    net = load_model(run / "best.ckpt")
    assert net.card.outputs == ("bright", "dark")
    assert net(torch.rand(1, 1, 32, 32)).shape == (1, 2)
    assert (
        main("medseg", "predict", ["--config", path, "--ckpt_path", str(run / "best.ckpt"), "--output", str(run)]) == 0
    )
    predicted = [np.load(each) for each in (run / "predictions").rglob("*.npy")]
    assert len(predicted) == 6
    assert all(each.sum() == pytest.approx(1, abs=1e-5) for each in predicted)

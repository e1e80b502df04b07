import csv
import json
import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml

from foveal.apps.wsi.models.acmil import ACMIL
from foveal.apps.wsi.models.pooling import PoolingClassifier
from foveal.apps.wsi.task import BagClassification
from foveal.core.attention.mil import slide_attention
from foveal.core.fit import main
from foveal.core.losses.branch_attention import BranchAttentionLoss
from foveal.core.metrics.attention import relative_entropy
from foveal.core.weights.load import load_model
from foveal.data.datasets.bag import Bag
from foveal.data.io.features import Features
from foveal.tests.fixtures.bags import write_folder


def batch(label=1, tiles=7, seed=0):
    x = torch.randn(1, tiles, 8, generator=torch.Generator().manual_seed(seed))
    return {"set": ["s"], "name": ["b"], "patient": ["p"], "features": x, "label": torch.tensor([label]), "number": 0}


def network(kind=ACMIL):
    torch.manual_seed(0)
    return kind(num_classes=2, in_channels=8, dim=16)


def task(net, **options):
    made = BagClassification(net, **options)
    made._trainer = SimpleNamespace(
        global_step=0,
        datamodule=SimpleNamespace(
            classes=("no", "yes"),
            class_counts=[3, 1],
            fingerprint=lambda: {"features": {"encoder": "uni"}, "train": {}},
            moments=lambda: (torch.full((8,), 2.0), torch.full((8,), 4.0)),
        ),
    )
    made.setup("fit")
    return made


def test_the_loss_of_attention_is_acmils():
    net = network().train()
    net.mask_ratio = 0
    expected = BranchAttentionLoss()(net(batch()["features"]), torch.tensor([1]))
    assert task(net).training_loss(batch()).item() == pytest.approx(expected.item())


def test_the_loss_without_attention_is_the_cross_entropy_with_weights():
    net = network(PoolingClassifier)
    expected = torch.nn.functional.cross_entropy(net(batch()["features"]), torch.tensor([1]))
    assert task(net).training_loss(batch()).item() == pytest.approx(expected.item())
    weighted = task(net, class_weights="balanced").training_loss(batch())
    assert weighted.item() == pytest.approx(2 * expected.item(), rel=1e-5)


def test_a_case_tells_what_was_predicted_and_attended_to():
    net = network().eval()
    made = task(net)
    case, pictures = made.evaluate(batch())
    found = net.outputs(batch()["features"])
    assert pictures == []
    assert float(case["probability_yes"]) == pytest.approx(found.slide.softmax(1)[0, 1].item(), rel=1e-5)
    assert case["attention_entropy"] == pytest.approx(relative_entropy(slide_attention(found.scores)), rel=1e-6)
    assert made.attention[0]["patches"] == 7
    assert "attention_entropy" not in task(network(PoolingClassifier)).evaluate(batch())[0]


def test_features_are_standardised_wherever_the_network_sees_them():
    net = network().eval()
    made = task(net, standardise=True)
    scaled = batch() | {"features": batch()["features"] * 4 + 2}
    plain = task(net)
    assert torch.allclose(made.predict_step(scaled, 0), plain.predict_step(batch(), 0), atol=1e-5)
    assert made.evaluate(scaled)[0]["nll"] == pytest.approx(plain.evaluate(batch())[0]["nll"], abs=1e-5)
    net.train()
    net.mask_ratio = 0
    assert made.training_loss(scaled).item() == pytest.approx(plain.training_loss(batch()).item(), abs=1e-5)


def test_the_card_tells_classes_features_and_how_they_are_standardised():
    made = task(network(), standardise=True, licence="CC0-1.0")
    made.network = {"class_path": "foveal.m", "init_args": {}}
    card = made.card()
    assert (card.kind, card.outputs, card.activation) == ("bag", ("no", "yes"), "softmax")
    assert (card.channels, card.mean, card.std) == (("feature",) * 8, (2.0,) * 8, (4.0,) * 8)
    assert card.training["features"] == {"encoder": "uni"}
    made.moments = None
    made.on_load_checkpoint({"card": card.to_json()})
    assert [each.tolist() for each in made.moments] == [[2.0] * 8, [4.0] * 8]


def test_the_rate_falls_along_half_a_cosine():
    made = task(network(), optimizer=lambda groups: torch.optim.SGD(groups, lr=0.2))
    made._trainer.estimated_stepping_batches = 10
    (optimizer,), (plan,) = made.configure_optimizers()
    rates = []
    for _ in range(11):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        plan["scheduler"].step()
    assert plan["interval"] == "step"
    assert rates == pytest.approx([0.1 * (1 + math.cos(math.pi * step / 10)) for step in range(11)])
    made._trainer.estimated_stepping_batches = math.inf
    assert isinstance(made.configure_optimizers(), torch.optim.SGD)


NETWORKS = {
    "acmil": ("acmil.ACMIL", {"top_k": 2}),
    "abmil": ("acmil.ACMIL", {"branches": 1, "top_k": 0}),
    "heads": ("acmil.MultiHeadACMIL", {"heads": 2}),
    "mean": ("pooling.PoolingClassifier", {}),
    "max": ("pooling.PoolingClassifier", {"pooling": "max"}),
}


def config(tmp_path, name):
    """A run of a few epochs on generated bags."""
    place, labels = write_folder(tmp_path, bags=20)
    path, arguments = NETWORKS[name]
    content = {
        "model": {
            "class_path": "foveal.apps.wsi.task.BagClassification",
            "init_args": {
                "net": {
                    "class_path": f"foveal.apps.wsi.models.{path}",
                    "init_args": {"num_classes": 2, "in_channels": 8, "dim": 16} | arguments,
                },
                "optimizer": {"class_path": "torch.optim.AdamW", "init_args": {"lr": 0.01}},
                "standardise": True,
            },
        },
        "data": {
            "class_path": "foveal.apps.wsi.data.BagData",
            "init_args": {
                "train": [
                    {
                        "class_path": "foveal.data.datasets.feature_bags.FeatureBags",
                        "init_args": {"features": str(place), "labels": str(labels)},
                    }
                ],
                "fold": 0,
                "workers": 0,
            },
        },
        "trainer": {"max_epochs": 8, "accelerator": "cpu", "enable_progress_bar": False},
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(content))
    return ["--config", str(tmp_path / "config.yaml"), "--output", str(tmp_path / "run")]


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow) for name in NETWORKS])
def test_training_learns_and_leaves_scores_and_attention(tmp_path, name, capsys):
    options = config(tmp_path, name)
    assert main("wsi", "fit", options) == 0
    run = tmp_path / "run"
    assert "auc_macro" in (run / "scores_val.csv").read_text()
    assert "ranked by nll" in (run / "report.html").read_text()
    assert main("wsi", "validate", [*options, "--ckpt_path", "last"]) == 0
    assert "auc_macro" in capsys.readouterr().out
    scores = {row["metric"]: row for row in csv.DictReader((run / "scores_val.csv").open())}
    assert {"f1_micro", "f1_macro", "balanced_accuracy", "ece", "auc_tumour"} <= set(scores)
    if name != "mean":
        assert float(scores["auc_macro"]["value"]) > 0.9
    assert (run / "attention_val.csv").exists() == (run / "attention_val.png").exists() == (name not in ("mean", "max"))
    network = load_model(run / "best.ckpt")
    assert network.card.kind == "bag"
    assert len(network.card.mean) == 8
    assert network(torch.zeros(1, 3, 8)).shape == (1, 2)


def test_a_checkpoint_keeps_the_moments_of_its_training(tmp_path, capsys):
    options = config(tmp_path, "acmil")
    assert main("wsi", "fit", options) == 0
    fitted = (tmp_path / "run" / "cases_val.csv").read_text()
    assert main("wsi", "validate", [*options, "--ckpt_path", "last"]) == 0
    assert (tmp_path / "run" / "cases_val.csv").read_text() == fitted
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert manifest["data"]["train"]["bags"] == 16


@pytest.mark.parametrize("kind", [ACMIL, PoolingClassifier])
def test_the_report_shows_the_bag_that_was_evaluated(kind):
    made, coords = task(network(kind).eval()), np.stack([16 * np.arange(7), np.zeros(7, int)], axis=1)
    bag = Bag("b", "yes", Path("b.h5"), features=Features(np.zeros((7, 8)), coords))
    made.trainer.datamodule.evaluation = SimpleNamespace(cases=[("s", bag)])
    found = made.exhibit(made.evaluate(batch())[1])
    assert found.kind == "heatmap"
    assert ("attention" in found.pictures) == (kind is ACMIL)
    assert found.facts["truth"] == "yes"
    assert sum(found.facts["probabilities"].values()) == pytest.approx(1)

"""ACMIL beside ABMIL and pooling on small bags, by repeated folds.

Every network has the same bags, steps, rate and seeds; nothing is chosen by the scored bags: the last weights of a
fixed training are taken. Scores are of all bags out of fold together, intervals by drawing whole bags, with all their
repetitions.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from quality import line, shown
from torch import Tensor, nn

from foveal.apps.wsi.encoders import open_encoder
from foveal.apps.wsi.models.acmil import ACMIL
from foveal.apps.wsi.models.pooling import PoolingClassifier
from foveal.core.attention.mil import slide_attention
from foveal.core.losses.branch_attention import BranchAttentionLoss
from foveal.core.metrics.attention import cumulative_share, relative_entropy
from foveal.core.metrics.classification import auc, classification_scores, point_scores
from foveal.core.metrics.interval import Interval, bootstrap, bootstrap_mean
from foveal.data.datasets.bag import Bag
from foveal.data.datasets.bag_table import BagTable
from foveal.data.datasets.patient_split import fold_of_patients
from foveal.data.io.features import Features

EPOCHS, RATE, DECAY, REPEATS = 30, 5e-4, 1e-3, 3
CLASSES = ("negative", "positive")
NETWORKS: dict[str, Callable[[int], nn.Module]] = {
    "ACMIL": lambda channels: ACMIL(2, channels, 64, hidden=64),
    "ABMIL": lambda channels: ACMIL(2, channels, 64, branches=1, top_k=0, hidden=64),
    "mean pooling": lambda channels: PoolingClassifier(2, channels, 64),
    "max pooling": lambda channels: PoolingClassifier(2, channels, 64, pooling="max"),
}


class Bags(NamedTuple):
    """A set of bags.

    Attributes:
        bags: the bags.
        tumour: {name of a bag: which of its instances are tumour, (N,) bool}, where that is known.
    """

    bags: list[Bag]
    tumour: dict[str, Tensor]


class Prediction(NamedTuple):
    """What a network says of a bag that it was not trained on.

    Attributes:
        bag: which.
        probability: of the second class.
        shares: of the attention, (N,); None without attention.
    """

    bag: Bag
    probability: float
    shares: Tensor | None


def trained(make: Callable[[int], nn.Module], bags: Sequence[tuple[Tensor, int]], seed: int) -> nn.Module:
    """Train a network on bags, one at a time, with ACMIL's loss and schedule."""
    torch.manual_seed(seed)
    net, loss = make(bags[0][0].shape[2]).train(), BranchAttentionLoss()
    optimizer = torch.optim.AdamW(net.parameters(), lr=RATE, weight_decay=DECAY)
    steps = EPOCHS * len(bags)
    for step in range(steps):
        if step % len(bags) == 0:
            order = torch.randperm(len(bags)).tolist()
        optimizer.param_groups[0]["lr"] = RATE * (1 + math.cos(math.pi * step / steps)) / 2
        features, label = bags[order[step % len(bags)]]
        optimizer.zero_grad()
        loss(net(features), torch.tensor([label])).backward()
        optimizer.step()
    return net.eval()


def predictions(make: Callable[[int], nn.Module], bags: Sequence[Bag], folds: int, repeats: int) -> list[Prediction]:
    """Return what networks say of the bags outside of their training, `repeats` times each."""
    found = []
    for seed in range(repeats):
        for fold in range(folds):
            outside, inside = fold_of_patients(bags, fold, folds, seed)
            rows = np.concatenate([bag.read().values for bag in outside]).astype(np.float64)
            mean, deviation = rows.mean(0), np.where(rows.std(0) > 1e-6, rows.std(0), 1)

            def scaled(bag: Bag, mean: np.ndarray = mean, deviation: np.ndarray = deviation) -> Tensor:
                return torch.from_numpy(((bag.read().values - mean) / deviation)[None]).float()

            net = trained(make, [(scaled(bag), CLASSES.index(bag.label)) for bag in outside], seed)
            with torch.inference_mode():
                for bag in inside:
                    probability = net(scaled(bag)).softmax(dim=1)[0, 1].item()
                    looked = hasattr(net, "outputs")
                    shares = slide_attention(net.outputs(scaled(bag)).scores) if looked else None
                    found.append(Prediction(bag, probability, shares))
    return found


def musk1(folder: Path) -> Bags:
    """The bags of MUSK1."""
    return Bags(BagTable(folder / "musk1.csv", names=dict(enumerate(CLASSES))).bags(), {})


def idc(folder: Path, by_slide: bool = False) -> Bags:
    """Windows of 250 x 250 pixels of two slides, of patches of 50 x 50."""
    encoder = open_encoder("colour-texture")
    labels = {row["bag"]: row for row in csv.DictReader((folder / "bags.csv").open())}
    members: dict[str, list[dict[str, str]]] = {name: [] for name in labels}
    for row in csv.DictReader((folder / "patches.csv").open()):
        if row["bag"] in members:
            members[row["bag"]].append(row)
    bags, tumour = [], {}
    for name, rows in members.items():
        pixels = np.stack([np.asarray(Image.open(folder / row["file"]).convert("RGB")) for row in rows])
        with torch.inference_mode():
            values = encoder(torch.from_numpy(pixels)).numpy()
        tumour[name] = torch.tensor([row["idc"] == "1" for row in rows])
        patient = labels[name]["slide"] if by_slide else ""
        label = CLASSES[int(labels[name]["label"])]
        bags.append(Bag(name, label, folder, patient, features=Features(values)))
    return Bags(bags, tumour)


def scores(found: Sequence[Prediction]) -> dict[str, Interval]:
    """Return AUC, F1, balanced accuracy and calibration of all predictions."""
    truth, probabilities = _answers(found)
    return classification_scores(truth, probabilities, CLASSES, [each.bag.name for each in found])


def difference(first: Sequence[Prediction], second: Sequence[Prediction]) -> Interval:
    """Return by how much the AUC of one network is above that of another, of the same bags."""
    (truth, ours), (_, others) = _answers(first), _answers(second)

    def statistic(cases: Tensor) -> Tensor:
        areas = [point_scores(truth[cases], each[cases], CLASSES)["auc_macro"] for each in (ours, others)]
        return torch.tensor([areas[0] - areas[1]])

    return bootstrap(statistic, len(first), [each.bag.name for each in first])[0]


def attention_auc(found: Sequence[Prediction], tumour: dict[str, Tensor]) -> Interval:
    """Return how well attention tells tumour patches from others within a positive bag, mean over such bags."""
    areas: dict[str, list[float]] = {}
    for each in found:
        if each.shares is not None and each.bag.label == CLASSES[1] and each.bag.name in tumour:
            areas.setdefault(each.bag.name, []).append(auc(tumour[each.bag.name], each.shares).mean)
    return bootstrap_mean([fmean(each) for each in areas.values()])


def _answers(found: Sequence[Prediction]) -> tuple[Tensor, Tensor]:
    truth = torch.tensor([CLASSES.index(each.bag.label) for each in found])
    positive = torch.tensor([each.probability for each in found], dtype=torch.float64)
    return truth, torch.stack([1 - positive, positive], dim=1)


DATA = Path("datasets/whole_slide")
SETS: dict[str, tuple[str, Callable[[], Bags], int]] = {
    "musk1": ("MUSK1, 5 folds", lambda: musk1(DATA / "mil_musk1"), 5),
    "idc": ("IDC windows, 5 folds by window, both slides in training", lambda: idc(DATA / "idc_patches"), 5),
    "idc_slides": ("IDC windows, one slide trained on, the other scored", lambda: idc(DATA / "idc_patches", True), 2),
}


def lines(name: str) -> str:
    """Train and score all networks on one set, and return the lines of the table."""
    title, read, folds = SETS[name]
    bags, tumour = read()
    found = {each: predictions(make, bags, folds, REPEATS) for each, make in NETWORKS.items()}
    return "\n".join(
        line(title, len(bags), network, shown("AUC", scores(members)["auc_macro"]), others(network, found, tumour))
        for network, members in found.items()
    )


def others(network: str, found: dict[str, list[Prediction]], tumour: dict[str, Tensor]) -> list[str]:
    """Return what else is told of a network."""
    members = found[network]
    measured = scores(members)
    told = [] if network == "ACMIL" else [shown("ACMIL's AUC less this", difference(found["ACMIL"], members))]
    told += [shown(each.replace("_", " "), measured[each]) for each in ("f1_macro", "balanced_accuracy", "ece")]
    shares = [each.shares for each in members if each.shares is not None]
    if shares:
        told.append(f"entropy {np.nanmean([relative_entropy(each) for each in shares]):.3f}")
        told.append(f"most attended {fmean(cumulative_share(each)[0].item() for each in shares):.2f}")
    if shares and tumour:
        told.append(shown("attention to tumour", attention_auc(members, tumour)))
    return told

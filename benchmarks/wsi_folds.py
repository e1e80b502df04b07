"""ACMIL beside ABMIL and pooling on small bags, by repeated folds: `python benchmarks/wsi_folds.py SET FOLDER`.

SET is `musk1` (FOLDER: of musk1.csv), `idc` (FOLDER: idc_patches with patches.csv and bags.csv), or `idc_slides`, the
same with one slide trained on and the other scored. Every network has the same bags, steps, rate and seeds; nothing is
chosen by the scored bags: the last weights of a fixed training are taken. Scores are of all bags out of fold together,
intervals by drawing whole bags, with all their repetitions. The table is printed and appended to benchmarks/RESULTS.md.
"""

from __future__ import annotations

import argparse
import csv
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

import numpy as np
import torch
from measure import record
from PIL import Image
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

EPOCHS, RATE, DECAY = 30, 5e-4, 1e-3
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
        found = net(features)
        found = (found, found, found.new_zeros(1, 1, 1)) if isinstance(found, Tensor) else found
        optimizer.zero_grad()
        loss(found, torch.tensor([label])).backward()
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


SETS: dict[str, tuple[str, Callable[[Path], Bags], int]] = {
    "musk1": ("MUSK1", musk1, 5),
    "idc": ("IDC windows, folds by window, both slides in training", idc, 5),
    "idc_slides": ("IDC windows, one slide trained on, the other scored", lambda folder: idc(folder, True), 2),
}


def rows(name: str, folder: Path, repeats: int) -> list[str]:
    """Return the lines of the table of one set."""
    title, read, folds = SETS[name]
    bags, tumour = read(folder)
    found = {each: predictions(make, bags, folds, repeats) for each, make in NETWORKS.items()}
    positive = sum(bag.label == CLASSES[1] for bag in bags)
    lines = [
        f"{title}: {len(bags)} bags, {positive} positive, {sum(len(bag.read().values) for bag in bags)} instances;"
    ]
    lines += [f"{folds} folds, {repeats} times, {EPOCHS} epochs each.", ""]
    head = ["network", "AUC", "ACMIL's less this", "F1 macro", "F1 micro", "balanced accuracy", "ECE", "entropy"]
    head += ["attention to tumour"] if tumour else []
    lines += [f"| {' | '.join(head)} |", "|" + " --- |" * len(head)]
    for network, members in found.items():
        measured = scores(members)
        cells = [network, _shown(measured["auc_macro"])]
        cells.append("" if network == "ACMIL" else _shown(difference(found["ACMIL"], members)))
        cells += [_shown(measured[each]) for each in ("f1_macro", "f1_micro", "balanced_accuracy", "ece")]
        entropies = [relative_entropy(each.shares) for each in members if each.shares is not None]
        cells.append(f"{np.nanmean(entropies):.3f}" if entropies else "")
        if tumour:
            cells.append(_shown(attention_auc(members, tumour)) if entropies else "")
        lines.append(f"| {' | '.join(cells)} |")
    first = {
        network: [cumulative_share(each.shares)[0].item() for each in members if each.shares is not None]
        for network, members in found.items()
    }
    told = ", ".join(f"{network} {fmean(each):.2f}" for network, each in first.items() if each)
    return [*lines, "", f"Mean share of the most attended instance: {told}."]


def _shown(found: Interval) -> str:
    return f"{found.mean:.3f} [{found.low:.3f}, {found.high:.3f}]"


def main() -> None:
    """Train and score one set."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("set", choices=SETS)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    record(f"Bags by folds: {options.set}", rows(options.set, options.folder, options.repeats))


if __name__ == "__main__":
    main()

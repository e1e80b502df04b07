"""Clouds by their colours against masks that somebody else made.

    python benchmarks/cloudremoval_clouds.py --index FOLDER/index.csv

The index has a line for each image: set, id, date, cloudy (the image: red, green, blue and near infrared, reflectance
times 10000) and cloud_mask (band 1: 1 where there is cloud), with paths from its folder. Pixels of a set are counted
together; the cover is that of each image. The table goes into benchmarks/RESULTS.md.
"""

from __future__ import annotations

import argparse
import csv
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import rasterio
import torch
from measure import record

from foveal.apps.cloudremoval.clouds import cloud_mask

HEAD = "| images | n | cloud | agreement | of their cloud | of ours | IoU | cover |"
NOTE = (
    'By pixels: their share of cloud; agreement; how much of their cloud is found ("of their cloud") and how much of '
    'ours is theirs ("of ours"); what both have of what either has (IoU). "cover" is the mean absolute difference of '
    "the cloud cover of an image. They agree least on"
)


class Pair(NamedTuple):
    """What is cloud in an image, bool (H, W).

    Attributes:
        name: the set, and the image in it.
        ours: by its colours.
        theirs: by the mask.
    """

    name: tuple[str, str]
    ours: np.ndarray
    theirs: np.ndarray


def pairs(index: Path) -> Iterator[Pair]:
    """Yield the images of an index that have a mask."""
    with index.open(newline="") as lines:
        for line in csv.DictReader(lines):
            if not line["cloud_mask"]:
                continue
            with rasterio.open(index.parent / line["cloudy"]) as file:
                image = torch.from_numpy(file.read([1, 2, 3, 4]).astype(np.float32) / 10_000)
            with rasterio.open(index.parent / line["cloud_mask"]) as file:
                theirs = file.read(1) > 0
            yield Pair((line["set"], line["date"] or line["id"]), cloud_mask(image)[0].numpy(), theirs)


def row(name: str, images: Iterable[Pair]) -> str:
    """Return a line of the table."""
    images = list(images)
    ours, theirs = (np.stack([getattr(each, who) for each in images]) for who in ("ours", "theirs"))
    both = (ours & theirs).sum()
    cover = np.abs(ours.mean(axis=(1, 2)) - theirs.mean(axis=(1, 2))).mean()
    found, right, shared = (f"{both / max(each.sum(), 1):.3f}" for each in (theirs, ours, ours | theirs))
    agreed = (ours == theirs).mean()
    return (
        f"| {name} | {len(images)} | {theirs.mean():.3f} | {agreed:.3f} | {found} | {right} | {shared} | {cover:.3f} |"
    )


def main() -> None:
    """Compare, and record the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--index", type=Path, required=True, help="the CSV file")
    groups: dict[str, list[Pair]] = defaultdict(list)
    every: list[Pair] = []
    for pair in pairs(parser.parse_args().index):
        groups[pair.name[0]].append(pair)
        every.append(pair)
    every.sort(key=lambda pair: (pair.ours != pair.theirs).mean())
    lines = [row(name, images) for name, images in groups.items()]
    lines.append(row("all", every))
    worst = ", ".join(f"{group} {name} ({(ours == theirs).mean():.2f})" for (group, name), ours, theirs in every[-4:])
    record(
        "Cloud removal: clouds by colours",
        [HEAD, "|" + " --- |" * (HEAD.count("|") - 1), *lines, "", f"{NOTE} {worst}."],
    )


if __name__ == "__main__":
    main()

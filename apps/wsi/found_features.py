"""What `init` finds of the features of slides."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ...core.errors import UserError
from ...data.check import with_progress
from ...data.datasets.feature_bags import stem_of
from ...data.init_folders import expected, folder_named
from ...data.io.features import SUFFIXES
from ...data.io.formats import SLIDE_SUFFIXES, TIFF_SUFFIXES
from .dataset_checks import check_dataset
from .encoders import COLOUR_TEXTURE

NAMES = ("features", "feats", "h5_files", "h5", "pt_files", "pt", "embeddings", "bags")
NARROW = {384: 128}  # ViT-S, as published; other networks are half as wide as their features


@dataclass(frozen=True)
class FoundFeatures:
    """Features of slides.

    Attributes:
        path: their folder, or the file of all.
        names: of the slides.
        channels: of the features.
        dim: of a network for them.
        encoder: what made them; "" where they do not tell.
        told: sentences about them.
    """

    path: Path
    names: list[str]
    channels: int
    dim: int
    encoder: str
    told: list[str]


def find_features(input: Path, given: Path | None, layout: str) -> FoundFeatures:
    """Find features and read all of them.

    Args:
        input: the folder that was given.
        given: that of the features, if it was given.
        layout: what is expected, for errors.

    Raises:
        UserError: there are none, or some cannot be used; where there are slides, says how features are made.
    """
    path = given or _place(input, layout)
    report = with_progress(lambda tell: check_dataset(None, path, None, None, tell))
    if wrong := [f"{each.item.name}: {text}" for each in report.findings for text in each.errors]:
        raise UserError(
            f"{path}: the features of {len(wrong)} of {len(report.findings)} slides cannot be used, the first are "
            f"{wrong[0]}; `foveal wsi check --features {path}` lists all."
        )
    about = report.more["features"]
    channels = about["channels"]
    told = "features of " + ", ".join(f"{name} {value}" for name, value in about.items() if name != "encoder_digest")
    names = [each.item.name for each in report.findings]
    dim = NARROW.get(channels, max(channels // 2, 1))
    return FoundFeatures(path, names, channels, dim, about.get("encoder", ""), [told])


def folder_of_slides(input: Path, names: Sequence[str]) -> Path | None:
    """Return where the slides of these names lie; None where that is not in the folder, or in several places."""
    wanted = {stem_of(name) for name in names}
    folders = {each.parent for each in _slides(input) if stem_of(each.name) in wanted}
    return folders.pop() if len(folders) == 1 else None


def _slides(input: Path) -> list[Path]:
    suffixes = (*SLIDE_SUFFIXES, *TIFF_SUFFIXES)
    return sorted(each for each in input.rglob("*") if each.suffix.lower() in suffixes)


def _place(input: Path, layout: str) -> Path:
    """Return the folder of features, or the one file that holds all."""
    for folder in filter(None, (folder_named(input, NAMES), input)):
        files = sorted(each for each in folder.iterdir() if each.suffix.lower() in SUFFIXES)
        if len(files) == 1 and files[0].suffix.lower() != ".pt":
            return files[0]
        if files:
            return folder
    slides = _slides(input)
    if not slides:
        raise UserError(f"{input}: holds neither features nor slides. {expected(layout)}")
    folders = [str(each) for each in dict.fromkeys(each.parent for each in slides)]
    make = ["foveal", "wsi", "features", "--input", *folders, "--output", str(input / "features")]
    raise UserError(
        f"{input}: holds slides ({len(slides)}), but no features, which a training reads. Give these two commands; "
        f"--encoder {COLOUR_TEXTURE} is the one that needs no download:\n"
        f"  {shlex.join([*make, '--encoder', 'resnet50'])}\n  {shlex.join(['foveal', 'init', 'wsi', str(input)])}"
    )

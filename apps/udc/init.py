"""A config for a folder of pictures taken through a display, or of clean ones."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Literal

logger = logging.getLogger(__name__)

LAYOUT = """FOLDER/degraded/<name>.png    taken through the display
FOLDER/clean/<name>.png       the same without it, pixel by pixel, of the same names
FOLDER/train/degraded ..., FOLDER/val/clean ...    or split already
FOLDER/<name>.png             or clean pictures alone, which a model of the display degrades"""
DEGRADED = ("degraded", "lq", "low", "input", "inputs", "udc", "display", "noisy", "blurred")
CLEAN = ("clean", "gt", "hq", "high", "target", "targets", "groundtruth", "sharp", "reference")
BATCH = 8  # patches of a step
PUBLISHED = "DWFormer of 24 to 96 channels, 300000 steps of 64 patches, configs/udc/dwformer_poled.yaml"


def init(
    input: Path,
    clean: Path | None = None,
    display: Literal["toled", "poled"] | None = None,
    output: Path | None = None,
    size: Literal["auto", "light", "full"] = "auto",
    seed: int = 0,
    overwrite: bool = False,
) -> None:
    """Look at a folder of pictures, and write a config that trains a network to restore such.

    Pairs of a picture taken through the display and a clean one are learnt from as they are; clean pictures alone are
    degraded by a physical model of a display.

    Args:
        input: Folder that holds one of degraded and one of clean pictures, or clean pictures alone; or that of the
            degraded ones, where --clean is given.
        clean: Folder of the clean pictures, which have the names of the others.
        display: The display of the physical model, for clean pictures alone; toled if not given.
        output: The YAML file to write; FOLDER.yaml here if not given. The split goes beside it.
        size: Of the network and the training: light needs no GPU, full is for one; auto is full where there are a GPU
            and at least ten cases to train on.
        seed: Another seed gives another split.
        overwrite: Replace files that exist already.

    Raises:
        UserError: something is missing or cannot be used.

    Example:
        foveal init udc phone
    """
    from ...data.init_config import Noted, places_of, write_config
    from ...data.init_folders import PARTS, described, roots_of, sources, split_of
    from ...data.init_pictures import flat_pictures, patch_of, repeats_for
    from ...data.init_size import size_of

    places = places_of(input, output, overwrite)
    roots = dict.fromkeys(PARTS, input) if clean else roots_of(input)
    folders = {root: _folders(root, clean) for root in dict.fromkeys(roots.values())}
    _refuse_mixed(folders)
    reports = [_looked(*each) for each in folders.values()]
    degraded, truth = folders[roots["train"]]
    names = flat_pictures(truth, LAYOUT)
    rows, training, told = split_of({name: name for name in names}, roots, seed, truth, "picture", "pictures")
    proposed = size_of(size, training, PUBLISHED)
    steps = proposed.of(2000, 20000)
    patch, why = patch_of(reports, proposed.of(64, 256))
    repeats, epoch = repeats_for(training, BATCH)
    layout = "image_folder.ImageFolder" if degraded is None else "paired_folders.PairedFolders"

    def arguments(root: Path) -> dict[str, str]:
        low, high = folders[root]
        return (
            {"folder": str(high.resolve())} if low is None else {"high": str(high.resolve()), "low": str(low.resolve())}
        )

    if display and degraded:
        logger.warning("--display has no effect: the pictures of %s were taken through one.", degraded)
    camera = {"class_path": "foveal.apps.udc.physics.UnderDisplay", "init_args": {"display": display or "toled"}}
    config = {
        "model": {
            "init_args": {
                "scheduler": {"init_args": {proposed.of("total_steps", "T_max"): steps}},
                "licence": Noted("", "of the weights, as that of your pictures allows"),
            }
        },
        "data": {
            "init_args": sources(f"foveal.data.datasets.{layout}", roots, arguments, places.split)
            | {"camera": None if degraded else Noted(camera, "what degrades the clean pictures")}
            | {
                "patch": Noted(patch, why),
                "batch_size": Noted(BATCH, "the published recipe takes 64, for several large GPUs"),
                "repeats": Noted(repeats, epoch),
            }
        },
        "trainer": {
            "max_steps": Noted(steps, "the scheduler's number above must be the same"),
            "precision": Noted(proposed.of("32-true", "bf16-mixed"), "bf16-mixed is faster on GPUs"),
        },
    }
    kind = "clean pictures alone" if degraded is None else "pairs of a degraded and a clean picture"
    found = [*(described(each, kind) for each in reports), told]
    base = proposed.of("configs/udc/quickstart_dwformer.yaml", "configs/udc/dwformer_poled.yaml")
    check = ["--input", truth] if degraded is None else ["--input", degraded, "--clean", truth]
    write_config(places, "udc", input, base, proposed, found, config, rows, check, "--input NEW --output RESTORED")


def _folders(root: Path, clean: Path | None) -> tuple[Path | None, Path]:
    """Return the folders of degraded and of clean pictures; None where there are clean ones alone.

    Raises:
        UserError: there are degraded ones alone, or none.
    """
    from ...core.errors import UserError
    from ...data.init_folders import expected, folder_named

    if clean is not None:
        if not clean.is_dir():
            raise UserError(f"--clean {clean}: there is no such folder; give that of the clean pictures.")
        return root, clean
    degraded, truth = folder_named(root, DEGRADED), folder_named(root, CLEAN)
    if degraded and not truth:
        raise UserError(f"{root}: has {degraded.name} pictures, but no folder of clean ones. {expected(LAYOUT)}")
    return degraded, truth or root


def _refuse_mixed(folders: Mapping[Path, tuple[Path | None, Path]]) -> None:
    """Refuse pairs in the folder of one part and clean pictures alone in that of another."""
    from ...core.errors import UserError
    from ...data.init_folders import expected

    pairs = [root for root, (degraded, _) in folders.items() if degraded]
    alone = [root for root in folders if root not in pairs]
    if pairs and alone:
        raise UserError(f"{alone[0]}: has no degraded pictures, but {pairs[0]} has. {expected(LAYOUT)}")


def _looked(degraded: Path | None, clean: Path) -> object:
    """Return the report of pictures, and of pairs where there are two folders."""
    from ...data.datasets.image_folder import pictures_in
    from ...data.init_folders import look
    from ...data.init_pictures import flat_pictures
    from ...data.inventory import Item
    from .pair_checks import check_pictures

    flat_pictures(degraded or clean, LAYOUT)
    names = [each.name for each in pictures_in(degraded or clean)]
    if degraded is None:
        return look("udc", clean, names=names, add=partial(check_pictures, clean=None, pictures=[]))
    pictures = [Item(each, each.name) for each in pictures_in(clean)]
    add = partial(check_pictures, clean=clean, pictures=pictures)
    return look("udc", degraded, names=names, add=add, options=["--clean", clean])

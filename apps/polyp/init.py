"""A config for a folder of endoscopy pictures and masks."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

BATCH = 8  # pictures of a step
EPOCH = 25  # steps, at least
PUBLISHED = "PraNet with Res2Net-50 at 352 x 352, 19 epochs, configs/polyp/pranet_kvasir_clinicdb.yaml"
LAYOUT = """FOLDER/images/<name>.jpg
FOLDER/masks/<name>.png    of the same names; 255 is polyp, 0 is not
FOLDER/train/images ..., FOLDER/val/masks ...    or split already"""


def init(
    input: Path,
    labels: Path | None = None,
    output: Path | None = None,
    patient: str | None = None,
    size: Literal["auto", "light", "full"] = "auto",
    seed: int = 0,
    overwrite: bool = False,
) -> None:
    """Look at a folder of pictures with masks of polyps, and write a config that trains on it.

    Pictures of one patient stay in one part, where names tell whose they are; folders train, val and test are taken as
    they are.

    Args:
        input: Folder that holds one of pictures and one of masks, such as images and masks; or that of the pictures,
            where --labels is given.
        labels: Folder of the masks, which have the names of the pictures.
        output: The YAML file to write; FOLDER.yaml here if not given. The split goes beside it.
        patient: Regular expression whose first group, searched in a name, is the patient, such as "^(P[0-9]+)_".
        size: Of the network and the training: light needs no GPU, full is for one; auto is full where there are a GPU
            and at least ten cases to train on.
        seed: Another seed gives another split.
        overwrite: Replace files that exist already.

    Raises:
        UserError: something is missing or cannot be used.

    Example:
        foveal init polyp colonoscopy
    """
    from ...core.errors import UserError
    from ...data.init_config import Noted, places_of, write_config
    from ...data.init_folders import described, sources, steps_for
    from ...data.init_masks import find_masked, median_side
    from ...data.init_size import size_of

    places = places_of(input, output, overwrite)
    found = find_masked("polyp", input, labels, LAYOUT, ("image",), patient, seed)
    if len(found.classes) != 2:
        raise UserError(
            f"{found.masks}: the masks hold the values {', '.join(map(str, found.classes))}, but those of polyps have "
            "two, such as 0 and 255; use `foveal init medseg` for more classes."
        )
    proposed = size_of(size, found.training, PUBLISHED)
    largest = proposed.of(160, 352)
    side, median = median_side(found.reports, 128, largest)
    steps, why = steps_for(found.training, BATCH, most=proposed.of(1500, 20000))
    rate = {"max_lr": 1.0e-3, "total_steps": steps, "pct_start": 0.1, "cycle_momentum": False}
    layout = "foveal.data.datasets.image_masks.ImageMasks"
    values = found.arguments
    config = {
        "model": {
            "init_args": {
                "net": {"init_args": {"encoder": proposed.of("resnet18", "res2net50d")}},
                "frame": Noted([side, side], f"what the network sees: {median}; a multiple of 32, at most {largest}"),
                "scheduler": {"class_path": "torch.optim.lr_scheduler.OneCycleLR", "init_args": rate},
                "pretrained": Noted("imagenet", "weights of the encoder, downloaded once; null begins from nothing"),
                "licence": Noted("", "of the weights, as that of your pictures allows"),
            }
        },
        "data": {
            "init_args": sources(layout, found.roots, lambda root: found.folders(root) | values, places.split)
            | {
                "size": Noted([side, side], "as frame"),
                "batch_size": Noted(BATCH, "take less where memory is short"),
                "repeats": Noted(-(-EPOCH * BATCH // found.training), f"an epoch is {EPOCH} steps at least"),
            }
        },
        "trainer": {"max_steps": Noted(steps, f"{why}; total_steps above must be the same")},
    }
    told = [*(described(each, "pictures with masks") for each in found.reports), found.told_classes, *found.told]
    check = ["--input", found.images, "--labels", found.masks]
    base = "configs/polyp/quickstart_pranet.yaml"
    write_config(places, "polyp", input, base, proposed, told, config, found.rows, check, "--input NEW --output MASKS")

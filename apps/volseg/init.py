"""A config for a folder of volumes and their labels."""

from __future__ import annotations

from os import cpu_count
from pathlib import Path
from typing import Literal

LAYOUT = """FOLDER/images/<name>.nii.gz    also imagesTr; <name>_0000.nii.gz, <name>_0001 ... for several channels
FOLDER/labels/<name>.nii.gz    also labelsTr; 0 is the background, 1, 2 ... are classes
FOLDER/dataset.json            if there is one, as nnU-Net and the Medical Segmentation Decathlon have it"""
PUBLISHED = "D-Former of 96 channels, 250000 steps, configs/volseg/dformer_synapse.yaml"


def init(
    input: Path,
    labels: Path | None = None,
    output: Path | None = None,
    patient: str | None = None,
    size: Literal["auto", "light", "full"] = "auto",
    seed: int = 0,
    overwrite: bool = False,
) -> None:
    """Look at a folder of volumes with labels, and write a config that trains on it.

    NIfTI in two folders, or in a dataset of nnU-Net or the Medical Segmentation Decathlon. Spacing, axes, values and
    size of patches are planned from the training volumes when `fit` begins.

    Args:
        input: Folder that holds one of volumes and one of labels; or that of the volumes, where --labels is given.
        labels: Folder of the label maps, which have the names of the volumes.
        output: The YAML file to write; FOLDER.yaml here if not given. The split goes beside it.
        patient: Regular expression whose first group, searched in a name, is the patient, such as "^(P[0-9]+)_".
        size: Of the network and the training: light needs no GPU, full is for one; auto is full where there are a GPU
            and at least ten cases to train on.
        seed: Another seed gives another split.
        overwrite: Replace files that exist already.

    Raises:
        UserError: something is missing or cannot be used.

    Example:
        foveal init volseg Task04_Hippocampus
    """
    from ...data.init_config import Noted, places_of, write_config
    from ...data.init_folders import PARTS, described, patients_of, sources, split_of
    from ...data.init_size import size_of
    from .found_volumes import find_volumes

    places = places_of(input, output, overwrite)
    found = find_volumes(input, labels, LAYOUT)
    owners, told_patients = patients_of(found.names, patient, input)
    roots = dict.fromkeys(PARTS, input)
    rows, training, told_parts = split_of(owners, roots, seed, input, "volume")
    proposed = size_of(size, training, PUBLISHED)
    steps = proposed.of(1000, min(max(1000 * training // 2, 5000), 250000))
    epoch, validations = proposed.of((50, 5), (250, 20))
    every = max(steps // epoch // validations, 1)
    data = {
        **sources(found.layout, roots, lambda _: found.arguments, places.split),
        "modality": Noted(found.modality, found.why_modality),
        "relabel": Noted(found.relabel, "closes the gaps between stored values") if found.relabel else None,
        "batch_size": Noted(2, "patches of a step; as nnU-Net has it"),
        "patches_per_epoch": Noted(2 * epoch, f"an epoch is {epoch} steps"),
        "patch_size": Noted(None, "planned"),
        "memory_mb": Noted(proposed.of(1500, 6000), "for what a step keeps: patches become as large as this allows"),
        "foreground_share": Noted(0.33, "of the patches are centred on objects"),
        "workers": Noted(min(cpu_count() or 1, 8), "loading processes, of which this machine has processors"),
    }
    config = {
        "model": {
            "init_args": {
                "net": {
                    "class_path": "foveal.apps.volseg.models.dformer.DFormer",
                    "init_args": {
                        "num_classes": Noted(1 + len(found.classes), "the background counts as one"),
                        "in_channels": Noted(found.channels, found.why_channels),
                        **proposed.of({"patch": [2, 4, 4], "group": [2, 8, 8]}, {}),
                    },
                },
                "scheduler": {"init_args": {proposed.of("total_steps", "total_iters"): steps}},
                "licence": Noted("", "of the weights, as that of your volumes allows"),
            }
        },
        "data": {"init_args": {key: value for key, value in data.items() if value is not None}},
        "trainer": {
            "max_steps": Noted(
                steps,
                f"each of the {training} training volumes gives about {2 * steps // training} patches; the scheduler's "
                "number above must be the same",
            ),
            "check_val_every_n_epoch": Noted(every, f"epochs of {epoch} steps, about {validations} times in all"),
        },
    }
    told = [described(found.report, "files"), *found.told, told_patients, told_parts]
    base = proposed.of("configs/volseg/quickstart_dformer.yaml", "configs/volseg/dformer_folder.yaml")
    infer = "--input NEW --output LABELS"
    write_config(places, "volseg", input, base, proposed, told, config, rows, found.check, infer)

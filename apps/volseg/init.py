"""A config for a folder of volumes and their labels."""

from __future__ import annotations

from os import cpu_count
from pathlib import Path

LAYOUT = """FOLDER/images/<name>.nii.gz    also imagesTr; <name>_0000.nii.gz, <name>_0001 ... for several channels
FOLDER/labels/<name>.nii.gz    also labelsTr; 0 is the background, 1, 2 ... are classes
FOLDER/dataset.json            if there is one, as nnU-Net and the Medical Segmentation Decathlon have it"""
PATCHES = 250  # steps of an epoch


def init(
    input: Path,
    labels: Path | None = None,
    output: Path | None = None,
    patient: str | None = None,
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
        seed: Another seed gives another split.
        overwrite: Replace files that exist already.

    Raises:
        UserError: something is missing or cannot be used.

    Example:
        foveal init volseg Task04_Hippocampus
    """
    from ...data.init_config import Noted, places_of, write_config
    from ...data.init_folders import PARTS, deal, described, patients_of, sources, told_split
    from .found_volumes import find_volumes

    places = places_of(input, output, overwrite)
    found = find_volumes(input, labels, LAYOUT)
    owners, told_patients = patients_of(found.names, patient, input)
    rows = deal(owners, list(PARTS), seed, input)
    roots = dict.fromkeys(PARTS, input)
    training = sum(row["split"] == "train" for row in rows)
    steps = min(max(1000 * training // 2, 5000), 250000)
    every = max(steps // PATCHES // 20, 1)
    data = {
        **sources(found.layout, roots, lambda _: found.arguments, places.split),
        "modality": Noted(found.modality, found.why_modality),
        "relabel": Noted(found.relabel, "closes the gaps between stored values") if found.relabel else None,
        "batch_size": Noted(2, "patches of a step; as nnU-Net has it"),
        "memory_mb": Noted(6000, "for what a step keeps: patches become as large as this allows"),
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
                    },
                },
                "scheduler": {"init_args": {"total_iters": steps}},
                "licence": Noted("", "of the weights, as that of your volumes allows"),
            }
        },
        "data": {"init_args": {key: value for key, value in data.items() if value is not None}},
        "trainer": {
            "max_steps": Noted(
                steps,
                f"each of the {training} training volumes gives about {2 * steps // training} patches; nnU-Net takes "
                "250000 steps; total_iters above must be the same",
            ),
            "check_val_every_n_epoch": Noted(every, f"epochs of {PATCHES} steps, about 20 times in all"),
        },
    }
    told = [described(found.report, "files"), *found.told, told_patients, told_split(rows, roots, seed, "volume")]
    base = "configs/volseg/dformer_folder.yaml"
    infer = "--input NEW --output LABELS"
    write_config(places, "volseg", input, base, told, config, rows, found.check, infer)

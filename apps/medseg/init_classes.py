"""A config for images with a class each."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path, PurePosixPath

from ...core.errors import UserError
from ...data.checks import Report
from ...data.init_config import Noted, Places, write_config
from ...data.init_folders import IMAGES, described, expected, look, patients_of, roots_of, steps_for
from ...data.init_size import Asked, size_of
from ...data.init_tables import Thing, deal_classes, find_table, read_table, rows_of, sources_of, told_classes
from ...data.io.formats import is_dicom_file, is_single_image

BATCH = 16  # images of a step
MULTIPLE = 32  # of sides of training images in pixels
LIGHT = {"backbone": "resnet18", "widths": [8, 16, 32], "body_size": 64}
PUBLISHED = "MEDUSA with ResNet-50 at 480 x 480, configs/medseg/medusa_covidx.yaml"
KEYS = (str, lambda name: _path(name).name, lambda name: _path(name).stem)
"""What names of files and those of a table may have in common: the path in the folder, the name, or its stem."""
LAYOUT = "foveal.data.datasets.labelled_csv.LabelledCsv"


def init_classes(
    input: Path,
    labels: Path | None,
    places: Places,
    patient: str | None,
    label_column: str | None,
    size: Asked,
    seed: int,
    layout: str,
) -> None:
    """Write the config of a classification; see `init`."""
    files = _images(input)
    if not files:
        raise UserError(f"{input}: holds no images. {expected(layout)}")
    if labels or any(input.glob("*.csv")):
        table = find_table(input, labels, layout)
        things, notes = read_table(table, files, KEYS, "images", label_column)
    else:
        things, notes = _in_folders(files, input, layout), ["a folder for each class"]
    things, told = _with_patients(things, input, patient)
    things = deal_classes(things, seed, input, "images")
    report = look("medseg", input, kinds=("image", "dicom"), names=[each.name for each in things])
    classes = Counter(each.label for each in things)
    training = sum(each.split == "train" for each in things)
    proposed = size_of(size, training, PUBLISHED)
    side, why_side = _side(report, proposed.of(128, 480))
    batch = min(BATCH, training)
    steps, why = steps_for(training, batch, 30, most=proposed.of(1500, 20000))
    channels = 3 if max(each.facts.channels for each in report.usable) > 2 else 1
    csv = {"csv": str(places.split.resolve()), "folder": str(input.resolve())}

    config = {
        "model": {
            "init_args": {
                "net": {
                    "class_path": "foveal.apps.medseg.models.medusa.MEDUSA",
                    "init_args": {
                        "num_classes": Noted(len(classes), "as many as the data has"),
                        "in_channels": Noted(3, "as the weights to begin with have; grey images serve as colours"),
                        **proposed.of(LIGHT, {}),
                    },
                },
                "pretrained": Noted("imagenet", "weights to begin with, downloaded once; null begins from nothing"),
                "scheduler": {"init_args": {"total_steps": steps}},
                "licence": Noted("", "of the weights, as that of your images allows"),
            }
        },
        "data": {
            "init_args": sources_of(LAYOUT, csv, things)
            | {
                "classes": Noted(sorted(classes), "their order is that of the network's outputs"),
                "size": Noted(side, why_side),
                "batch_size": Noted(batch, "take less where memory is short"),
                "sampling": Noted("balanced", "each class is drawn as often as the others, whatever its number"),
            }
        },
        "trainer": {
            "max_steps": Noted(steps, f"{why}; total_steps above must be the same"),
            "precision": proposed.of("32-true", "bf16-mixed"),
        },
    }
    found = [described(report, "images" if channels == 3 else "grey images"), *notes, told]
    found += told_classes(things, "images", seed)
    infer = "--input NEW --output CLASSES.csv"
    base = "configs/medseg/medusa_csv.yaml"
    rows = rows_of(things, "path")
    write_config(places, "medseg", input, base, proposed, found, config, rows, ["--input", input], infer)


def _images(folder: Path) -> list[str]:
    """Return the images below a folder, by their path in it."""
    return sorted(each.relative_to(folder).as_posix() for each in filter(is_single_image, folder.rglob("*")))


def _path(name: str) -> PurePosixPath:
    return PurePosixPath(name.replace("\\", "/"))


def _in_folders(files: list[str], folder: Path, layout: str) -> list[Thing]:
    """Return images with the class that their folder is, which may lie in one of a part."""
    roots = roots_of(folder)
    parts = {root.name: part for part, root in reversed(roots.items()) if root != folder}
    things, loose = [], ""
    for each in files:
        *folders, _ = each.split("/")
        part = parts.get(folders.pop(0), "") if parts and folders else ""
        if folders and (part or not parts) and folders[0] not in IMAGES:  # images/ is no class; its masks are missing
            things.append(Thing(each, folders[0], split=part))
        else:
            loose = loose or each
    if loose:
        raise UserError(
            f"{folder}: nothing tells the class of {loose}, nor where its mask is: there is no CSV file, no folder of "
            f"masks, and it lies in no folder of a class. {expected(layout)}"
        )
    return things


def _with_patients(things: list[Thing], folder: Path, given: str | None) -> tuple[list[Thing], str]:
    """Return images with their patients, told by the table, by DICOM headers or by names, and a sentence about them."""
    if given is None and any(each.patient for each in things):
        return things, "patients as the table tells them"
    if given is None and all(is_dicom_file(folder / each.name) for each in things):
        from pydicom import dcmread

        options = {"stop_before_pixels": True, "specific_tags": ["PatientID"], "force": True}  # `look` tells of damage
        tags = [dcmread(folder / each.name, **options).get("PatientID", "") for each in things]
        told = "patients as the DICOM headers tell them"
        return [replace(each, patient=str(tag)) for each, tag in zip(things, tags, strict=True)], told
    owners, told = patients_of([_path(each.name).stem for each in things], given, folder)
    if all(name == owner for name, owner in owners.items()):
        return things, told
    return [replace(each, patient=owners[_path(each.name).stem]) for each in things], told


def _side(report: Report, largest: int) -> tuple[int, str]:
    """Return the side that images are resized to, and why."""
    smallest = min(min(each.facts.extent[-2:]) for each in report.usable)
    side = min(max(smallest // MULTIPLE * MULTIPLE, 2 * MULTIPLE), largest)
    return side, f"pixels; the smallest image is {smallest} at its shorter side"

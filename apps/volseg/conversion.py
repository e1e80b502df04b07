"""Turning DICOM series with labels into a dataset of NIfTI files."""

from __future__ import annotations

import csv
import gzip
import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
from pydicom import dcmread

from ...core.atomic import written_beside
from ...core.errors import UserError
from ...core.inference.batch import raise_failures
from ...core.inference.progress import Reporter
from ...core.inference.windows import whole
from ...core.messages import counted
from ...data.datasets.dataset_json import FILE
from ...data.datasets.mask_values import whole_numbers
from ...data.geometry import VolumeGeometry
from ...data.inventory import Item, pair, take_inventory
from ...data.io.dicom import DicomSource, list_series
from ...data.io.dicom.labels import find_segmentations, read_segmentation
from ...data.io.dicom.records import quiet as unheard
from ...data.io.dicom.series import Series
from ...data.io.nifti import NiftiSource
from ...data.io.nifti.header import for_geometry
from ...data.volume_channels import APART

IMAGES, LABELS, SERIES = "imagesTr", "labelsTr", "series.csv"
MOST = 255  # classes, as labels are of 8 bits


@dataclass(frozen=True)
class Study:
    """A series with its labels.

    Attributes:
        name: of the files that are written.
        folder: of the series.
        series: its images.
        labels: its segmentations, or one NIfTI file.
        damage: what is wrong with another file of its folder, which may be a slice of it; "" where nothing is.
    """

    name: str
    folder: Path
    series: Series
    labels: tuple[Path, ...]
    damage: str = ""


def convert_studies(input: Path, output: Path, labels: Path | None, quiet: bool) -> None:
    """Convert every series that has labels; see `convert`."""
    for name in (FILE, SERIES, IMAGES, LABELS):
        if (output / name).exists():
            raise UserError(
                f"{output / name}: exists already; give another --output, or remove what a conversion that was cut "
                "short has left."
            )
    damaged: dict[Path, str] = {}
    studies, without = find_studies(input, labels or input, damaged)
    modality = _modality(input, studies)
    classes: dict[str, int] = {}
    done: list[Study] = []
    used = {study.folder for study in studies}
    failed = [text for path, text in damaged.items() if path.parent not in used]
    with Reporter(len(studies), quiet) as reporter:
        for study in studies:
            reporter.start(str(study.folder))
            try:
                _convert(study, output, classes)
            except UserError as error:
                failed.append(str(error))
                reporter.line(f"failed: {error}")
            else:
                done.append(study)
                reporter.line(f"{study.name} with labels of {', '.join(each.name for each in study.labels)}")
    if not done:
        raise UserError(f"{input}: no series could be converted; the first: {failed[0]}")
    _describe(output, input, modality, classes, done)
    left = f"; {without} series without labels are left out" if without else ""
    if not quiet:
        print(f"{output}: {counted(len(done), 'volume')} with labels, classes {', '.join(classes)}{left}")
        print(f"next:\n  {shlex.join(['foveal', 'init', 'volseg', str(output)])}")
    raise_failures(failed, len(done) + len(failed))


def find_studies(input: Path, labels: Path, damaged: dict[Path, str]) -> tuple[list[Study], int]:
    """Return the series of a folder that have labels, by name, and how many have none.

    Args:
        input: folder of the series.
        labels: folder of the labels.
        damaged: gets the files that cannot be read, and why.

    Raises:
        UserError: a folder is missing, or no series has labels.
    """
    found = list_series(input, damaged)
    if not labels.is_dir():
        raise UserError(f"--labels {labels}: there is no such folder; give that of the segmentations or NIfTI labels.")
    segmentations = find_segmentations(labels)
    folders = [_folder_of(each) for each in found]
    niftis = _niftis(labels)
    items = [Item(folder, str(folder.relative_to(input)) if folder != input else input.name) for folder in folders]
    by_name, _ = pair(items, niftis)
    named = [  # only where the name is that of one series
        (label.path,) if label and folders.count(folder) == by_name.count(label) == 1 else ()
        for folder, label in zip(folders, by_name, strict=True)
    ]
    files = [tuple(segmentations.get(series.uid, own)) for series, own in zip(found, named, strict=True)]
    kept = [each for each in zip(found, folders, files, strict=True) if each[2]]
    if not kept:
        raise UserError(
            f"{input}: none of its {len(found)} series has labels in {labels}; those are DICOM segmentations that "
            "refer to a series, or NIfTI files that have the name of the folder of a series."
        )
    names = _names([series for series, _, _ in kept])
    damage = {path.parent: text for path, text in damaged.items()}
    studies = [
        Study(name, folder, series, own, damage.get(folder, ""))
        for name, (series, folder, own) in zip(names, kept, strict=True)
    ]
    return sorted(studies, key=lambda each: each.name), len(found) - len(kept)


def on_grid(values: np.ndarray, affine: np.ndarray, wanted: VolumeGeometry, path: Path) -> np.ndarray:
    """Return labels (D, H, W) on the voxels of a volume, axes turned and slices that are missing filled by 0.

    Args:
        values: the labels.
        affine: maps their (column, row, slice, 1) to millimetres, RAS.
        wanted: where the voxels of the volume lie.
        path: of the labels, for the error.

    Raises:
        UserError: their voxels are none of the volume's, or some that are labelled lie beyond it.
    """
    step = np.linalg.inv(wanted.affine) @ affine  # from the places of labels to those of the volume
    turn = np.rint(step)
    far = np.array([*values.shape[::-1], 1.0])
    order = np.abs(turn[:3, :3]).argmax(axis=1)  # the axis of the labels that runs along each of the volume
    is_turn = np.array_equal(np.abs(turn[:3, :3]), np.eye(3)[order]) and len({*order}) == 3
    if not is_turn or (np.abs(step - turn)[:3] @ far).max() > APART:
        raise UserError(f"{path}: its voxels are not those of its series; write it on the grid of the images.")
    turned = values.transpose(2, 1, 0).transpose(order)  # (column, row, slice) of the volume
    starts = []
    for axis, source in enumerate(order):
        sign, start = turn[axis, source], int(turn[axis, 3])
        if sign < 0:
            turned, start = np.flip(turned, axis), start - turned.shape[axis] + 1
        starts.append(start)
    made = np.zeros(wanted.shape[::-1], values.dtype)
    inside = [slice(max(s, 0), min(s + n, size)) for s, n, size in zip(starts, turned.shape, made.shape, strict=True)]
    if all(each.start < each.stop for each in inside):
        made[*inside] = turned[*(slice(each.start - s, each.stop - s) for each, s in zip(inside, starts, strict=True))]
    if np.count_nonzero(made) < np.count_nonzero(values):
        raise UserError(f"{path}: labels voxels beyond its series; give the series that it is of, or cut it to that.")
    return made.transpose(2, 1, 0)


def _convert(study: Study, output: Path, classes: dict[str, int]) -> None:
    """Write the volume and the labels of a series; classes not seen before get the next numbers."""
    if study.damage:
        raise UserError(study.damage)
    with _opened(study) as source:
        if source.spatial != 3 or source.geometry is None or source.shape[0] != 1:
            raise UserError(f"{study.folder}: is no grey volume; take it away.")
        geometry = source.geometry
        values = source.read(whole(geometry.shape))[0]
    labels = np.zeros(geometry.shape, np.uint8)
    known = dict(classes)  # a series that fails leaves no class behind
    for path in study.labels:
        found, names = _labels(path, geometry)
        if len({*known, *names.values()}) > MOST:
            raise UserError(f"{path}: makes more than {MOST} classes with those before; is it a label map?")
        for number, name in names.items():
            here = found == number
            if (labels[here] != 0).any():
                raise UserError(f"{path}: the segment {name} lies over another one; a voxel is of one class alone.")
            labels[here] = known.setdefault(name, len(known) + 1)
    is_whole = np.array_equal(values, values.astype(np.int16))
    _write(output / IMAGES / f"{study.name}.nii.gz", values.astype(np.int16) if is_whole else values, geometry)
    _write(output / LABELS / f"{study.name}.nii.gz", labels, geometry)
    classes.update(known)


def _opened(study: Study) -> DicomSource:
    """Open a series; labels lie on its own slices, so that it cannot be resampled here."""
    try:
        return DicomSource(study.folder, study.series.uid)
    except UserError as error:
        reason, asked, _ = str(error).partition("; pass --resample")
        advice = "; bring it and its labels onto an even, upright grid elsewhere, or take it away." if asked else ""
        raise UserError(reason + advice) from None


def _labels(path: Path, geometry: VolumeGeometry) -> tuple[np.ndarray, dict[int, str]]:
    """Return labels on the voxels of a volume, and the name of each value."""
    if not path.name.lower().endswith((".nii", ".nii.gz")):
        values, affine, names = read_segmentation(path)
    else:
        with NiftiSource(path) as source:
            if source.spatial != 3 or source.shape[0] != 1:
                raise UserError(f"{path}: is no label map of a volume.")
            values = whole_numbers(source.read(whole(source.shape[1:]))[0], path)
            affine = source.geometry.affine
        names = {int(value): f"class {value}" for value in np.unique(values) if value}
    return on_grid(values, affine, geometry, path), names


def _write(path: Path, values: np.ndarray, geometry: VolumeGeometry) -> None:
    header = for_geometry(geometry.affine)
    header.set_data_dtype(values.dtype)
    image = nibabel.Nifti1Image(values.transpose(2, 1, 0), None, header)
    with written_beside(path) as part:
        part.write_bytes(gzip.compress(image.to_bytes(), 1, mtime=0))


def _describe(output: Path, input: Path, modality: str, classes: dict[str, int], studies: Sequence[Study]) -> None:
    """Write `dataset.json`, and the table of what was made of what."""
    with written_beside(output / SERIES) as part, part.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(
            [("name", "series"), *((each.name, each.folder.relative_to(input)) for each in studies)]
        )
    places = [(f"./{IMAGES}/{each.name}.nii.gz", f"./{LABELS}/{each.name}.nii.gz") for each in studies]
    content = {
        "name": output.name,
        "modality": {"0": modality},
        "labels": {"0": "background"} | {str(number): name for name, number in classes.items()},
        "numTraining": len(studies),
        "training": [{"image": image, "label": label} for image, label in places],
    }
    with written_beside(output / FILE) as part:
        part.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _modality(input: Path, studies: Sequence[Study]) -> str:
    """Return what all series are of."""
    found = sorted({each.series.files[0].modality for each in studies})
    if len(found) > 1:
        raise UserError(
            f"{input}: the series with labels are of {', '.join(found)}; convert each in a folder of its own."
        )
    return found[0]


def _names(series: Sequence[Series]) -> list[str]:
    """Return a name for each series that tells whose it is but not who that is: patient001_01, patient001_02 ..."""
    owners = []
    for each in series:
        with unheard():
            header = dcmread(each.files[0].path, stop_before_pixels=True, specific_tags=["PatientID"], force=True)
        owners.append(str(header.get("PatientID") or each.uid))
    numbers = {owner: number for number, owner in enumerate(sorted({*owners}), 1)}
    names = []
    for place, owner in enumerate(owners):
        names.append(f"patient{numbers[owner]:03}_{owners[: place + 1].count(owner):02}")
    return names


def _folder_of(series: Series) -> Path:
    """Return the folder that holds all files of a series."""
    folder = series.files[0].path.parent
    while not all(file.path.is_relative_to(folder) for file in series.files):
        folder = folder.parent
    return folder


def _niftis(folder: Path) -> list[Item]:
    """Return the NIfTI files below a folder, if there are any."""
    try:
        return take_inventory(folder, ("nifti",)).items
    except UserError:
        return []

"""What a folder holds for training or inference: images, volumes, rasters and slides, each found once."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..core.errors import UserError
from .io.formats import DICOM_SUFFIXES, KINDS, Kind, input_suffixes, is_dicom_folder, suffix_of

OUTPUTS_OF_LABELS = ("_label", "_labels", "_mask", "_seg", "_segmentation", "_gt", "-label", "-mask", "-seg")
"""What may stand behind the name of an image in the name of its labels."""
CHANNEL = re.compile(r"_\d{4}$")
"""What stands behind the name of a case where every channel has a file, as nnU-Net numbers them."""


@dataclass(frozen=True)
class Item:
    """One thing that can be read.

    Attributes:
        path: a file, or the folder of a DICOM series.
        name: its place in the folder that was searched.
        options: of the source.
        error: why it cannot be read, where that is known already.
    """

    path: Path
    name: str
    options: Mapping[str, str] = field(default_factory=dict)
    error: str = ""

    @property
    def stem(self) -> str:
        """The name without its suffixes."""
        return self.name.removesuffix(suffix_of(self.path)) if self.path.is_file() else self.name

    @property
    def folder(self) -> str:
        """The folder it lies in, "." for the one that was searched."""
        return str(Path(self.name).parent)


@dataclass
class Inventory:
    """The contents of a folder.

    Attributes:
        items: what can be read, by name.
        ignored: files of other kinds.
        segmentations: DICOM segmentations beside images, of which they are labels.
    """

    items: list[Item] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    segmentations: list[str] = field(default_factory=list)


def take_inventory(root: Path, kinds: tuple[Kind, ...] = KINDS, by_slice: bool = False) -> Inventory:
    """List the readable files below a folder, or a single file; each series of DICOM slices counts as one.

    DICOM files that are images of their own, such as X-rays, count one by one even where they share a series.

    Hidden files and folders, and the side folders of slides, are passed over; so are DICOM segmentations, but where
    there is nothing else.

    Args:
        root: a folder, or a file.
        kinds: the formats to look for.
        by_slice: count the slices of DICOM series one by one.

    Raises:
        UserError: there is no such folder, or nothing in it has one of the formats.
    """
    if not root.exists():
        raise UserError(f"{root}: there is no such file or folder; check the path.")
    inventory = Inventory()
    if root.is_file():
        inventory.items.append(Item(root, root.name))
    else:
        _walk(root, root, kinds, inventory, by_slice)
    if not inventory.items:
        inventory.items = [Item(root / each, each) for each in inventory.segmentations]
        inventory.segmentations = []
    if not inventory.items:
        suffixes = ", ".join(sorted(input_suffixes(kinds)))
        raise UserError(f"{root}: the folder holds nothing that can be read; expected files such as {suffixes}.")
    return inventory


def pair(items: list[Item], labels: list[Item]) -> tuple[list[Item | None], list[Item]]:
    """Find the labels of each item: of the same name, or that name with "_label", "_mask" or the like behind it.

    Names are compared with their folders, or without them where a name occurs once only. Where an item has no labels of
    its own, those without the number of a channel, such as _0000, are its.

    Returns:
        The labels of each item, or None; and the labels that belong to none.
    """
    by_place = {_bare(each.stem): each for each in labels}
    by_name: dict[str, list[Item]] = {}
    for each in labels:
        by_name.setdefault(Path(_bare(each.stem)).name, []).append(each)

    def labels_of(stem: str) -> Item | None:
        alike = by_name.get(Path(stem).name, [])
        return by_place.get(stem) or (alike[0] if len(alike) == 1 else None)

    found = [labels_of(each.stem) or labels_of(CHANNEL.sub("", each.stem)) for each in items]
    used = {id(each) for each in found}
    return found, [each for each in labels if id(each) not in used]


def _bare(stem: str) -> str:
    for ending in OUTPUTS_OF_LABELS:
        stem = stem.removesuffix(ending)
    return stem


def _walk(folder: Path, root: Path, kinds: tuple[Kind, ...], inventory: Inventory, by_slice: bool) -> None:
    entries = sorted(each for each in folder.iterdir() if not each.name.startswith("."))
    files = [each for each in entries if each.is_file()]
    others = [each for each in files if suffix_of(each) not in input_suffixes(tuple({*kinds} - {"dicom"}))]
    known = [each for each in files if each not in others]
    if {"dicom", "slide"} & {*kinds} and (is_dicom_folder(folder) or any(map(_is_named_dicom, others))):
        others = list(_add_series(folder, others, root, kinds, inventory, by_slice))
    inventory.items += (Item(each, _name(each, root)) for each in known)
    inventory.ignored += (_name(each, root) for each in others)
    side_folders = {each.stem for each in known if suffix_of(each) == ".mrxs"}
    for each in entries:
        if each.is_dir() and each.name not in side_folders:
            _walk(each, root, kinds, inventory, by_slice)


def _add_series(
    folder: Path, files: list[Path], root: Path, kinds: tuple[Kind, ...], inventory: Inventory, by_slice: bool
) -> Iterator[Path]:
    """Add the DICOM images among some files of one folder, by series; give the files that are none."""
    from .io.dicom.files import SEGMENTATIONS, read_image_file
    from .io.dicom.records import NotAnImageError, NotDicomError

    series: dict[str, list[Path]] = {}
    damaged = []
    for file in files:
        try:
            image = read_image_file(file)
            if image.sop_class in SEGMENTATIONS:
                inventory.segmentations.append(_name(file, root))
                continue
            is_alone = (image.is_picture or by_slice) and "dicom" in kinds
            series.setdefault(str(file) if is_alone else image.series, []).append(file)
        except (NotDicomError, NotAnImageError) as error:
            if _is_named_dicom(file) and isinstance(error, NotDicomError):
                damaged.append(Item(file, _name(file, root), error=str(error)))
            else:
                yield file
        except UserError as error:
            damaged.append(Item(file, _name(file, root), error=str(error)))
    for uid, members in series.items():
        if len(members) == 1:
            inventory.items.append(Item(members[0], _name(members[0], root)))
        elif len(series) == 1 or "dicom" not in kinds:
            inventory.items.append(Item(folder, _name(folder, root)))
        else:
            inventory.items.append(Item(folder, f"{_name(folder, root)} [{uid}]", {"series": uid}))
    if all(len(members) == 1 for members in series.values()):  # else the series tells which of its files is damaged
        inventory.items += damaged


def _is_named_dicom(file: Path) -> bool:
    return suffix_of(file) in DICOM_SUFFIXES


def _name(path: Path, root: Path) -> str:
    return str(path.relative_to(root)) if path != root else root.name

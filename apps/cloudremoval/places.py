"""Which folders are places: dated GeoTIFFs of one place, and the masks beside them."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass
from pathlib import Path

from ...core.errors import UserError
from ...core.inference.batch import Item, pair_paths
from ...core.weights.card import Card, Unit
from ...data.datasets.dated_places import find_images, find_masks
from ...data.io.geotiff import SUFFIXES, GeoTiffSource
from .cloudy_series import CloudySeries


@dataclass(frozen=True)
class Place:
    """A place on several dates.

    Attributes:
        folder: that of the place.
        images: that of its GeoTIFFs: the folder itself, or the one named `image` in it.
        masks: that of its cloud masks; None where there is none.
    """

    folder: Path
    images: Path
    masks: Path | None

    @property
    def name(self) -> str:
        """What people call it."""
        return self.folder.resolve().name


@dataclass(frozen=True)
class Reading:
    """How the files of places are read.

    Attributes:
        masks: a folder of masks, or of folders of them with the names of places; None for those beside the images, or
            where there are none by the colours.
        bands: see `GeoTiffSource`; so are the others.
        quantification: see `GeoTiffSource`.
        offset: see `GeoTiffSource`.
        warp: see `GeoTiffSource`.
    """

    masks: Path | None = None
    bands: list[str] | None = None
    quantification: float | None = None
    offset: float | None = None
    warp: bool = False


def open_source(paths: Path | Sequence[Path], unit: Unit, channels: Sequence[str], reading: Reading) -> GeoTiffSource:
    """Return the dates in a folder, or some files, in a unit and with bands that show the channels.

    Raises:
        UserError: a file cannot be used.
    """
    return GeoTiffSource(paths, reading.bands, reading.warp, reading.quantification, reading.offset, unit, channels)


def open_series(place: Place, card: Card, reading: Reading) -> CloudySeries:
    """Return the dates of a place with their clouds, in the unit and the channels of a card.

    Raises:
        UserError: a file cannot be used.
    """
    source = open_source(place.images, card.unit, card.channels, reading)
    try:
        return CloudySeries(source, place.masks, reading.warp)
    except BaseException:
        source.close()
        raise


def find_place(folder: Path, masks: Path | None = None) -> Place | None:
    """Return the place that a folder is; None where it is none.

    Args:
        folder: holds dated GeoTIFFs, or a folder `image` that does; beside this may stand a folder `cloud_mask`.
        masks: a folder of masks, or of folders of them with the names of places, in place of `cloud_mask`.
    """
    images = find_images(folder)
    if images is None:
        return None
    if masks is None:
        return Place(folder, images, find_masks(folder))
    named = masks / folder.resolve().name
    return Place(folder, images, named if named.is_dir() else masks)


def find_places(folder: Path, masks: Path | None = None) -> list[Place]:
    """Return the place that a folder is, or the places in it.

    Args:
        folder: to be searched.
        masks: as for `find_place`.

    Raises:
        UserError: there is none, or no folder of masks.
    """
    _check_masks(masks)
    if not folder.exists():
        raise UserError(f"--input {folder}: there is no such folder; check the path.")
    folders = [folder, *sorted(each for each in folder.iterdir() if each.is_dir())] if folder.is_dir() else []
    places = [place for each in folders if (place := find_place(each, masks))]
    if not places:
        raise UserError(f"--input {folder}: is no folder of dated GeoTIFFs, and holds none; give one for each place.")
    return places[:1] if places[0].folder == folder else places


def pair_places(
    inputs: Sequence[Path], output: Path, masks: Path | None = None, beside: Sequence[tuple[str, str]] = ()
) -> list[Item]:
    """Say which output belongs to which place.

    Args:
        inputs: places, or folders of places.
        output: a .tif file for a single place, else a folder.
        masks: as for `find_place`.
        beside: of other outputs what they are, and what their names end in after that of the output without .tif.

    Raises:
        UserError: an input is no place and holds none, or outputs would stand among the dates of their place, or in a
            folder that would itself be one of the places.
    """
    _check_masks(masks)
    for path in inputs:
        if path.is_file():
            raise UserError(f"--input {path}: is a single file; give a folder with one file for each date.")

    def others(_: Path, output: Path) -> dict[str, Path]:
        return {what: output.with_name(f"{output.stem}{ending}") for what, ending in beside}

    items = pair_paths(
        inputs,
        output,
        SUFFIXES,
        is_input=lambda path: path.is_dir() and find_place(path) is not None,
        name=lambda path: f"{path.resolve().name}.tif",
        beside=others,
    )
    taken = {path.resolve() for path in inputs}
    archives = taken - {item.input.resolve() for item in items}
    return [_with_masks(item, masks, taken, archives) for item in items]


def _check_masks(masks: Path | None) -> None:
    if masks is not None and not masks.is_dir():
        raise UserError(f"--masks {masks}: there is no such folder.")


def _with_masks(item: Item, masks: Path | None, inputs: Set[Path], archives: Set[Path]) -> Item:
    """Return an item that depends on its masks; refuse outputs that a later run would take for dates.

    Args:
        item: a place and its outputs.
        masks: as for `find_place`.
        inputs: of the command.
        archives: those that hold places.
    """
    place, folder = find_place(item.input, masks), item.output.parent.resolve()
    if folder in {place.images.resolve(), place.folder.resolve(), *inputs} or folder.parent in archives:
        raise UserError(f"--output {item.output}: would be taken for a date by the next run; give another folder.")
    files = sorted(place.masks.iterdir()) if place.masks else []
    return item._replace(uses=tuple(each for each in files if each.is_file()))

"""Which format a file has, and the source and the sink for it. Imports a format's libraries when it is met."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, get_args

from ...core.errors import UserError
from ...core.inference.streams import Source
from ...core.weights.card import Card
from .sink import SpooledSink

Still = Literal["image", "dicom", "nifti", "geotiff", "slide"]
Kind = Literal[Still, "video"]
KINDS: tuple[Kind, ...] = get_args(Still)
"""What is taken where an app does not say; videos are for apps that want them."""

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
NIFTI_SUFFIXES = (".nii", ".nii.gz", ".hdr", ".hdr.gz")
DICOM_SUFFIXES = (".dcm", ".dicom", ".ima")
TIFF_SUFFIXES = (".tif", ".tiff")
VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv")
SLIDE_SUFFIXES = (".svs", ".ndpi", ".mrxs", ".scn", ".svslide", ".bif", ".vms", ".vmu")
TIFF_HEADS = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")
PREAMBLE = 128  # bytes before the mark of a DICOM file

SINKS: dict[Kind, dict[tuple[str, ...], tuple[str, str]]] = {
    "image": {IMAGE_SUFFIXES: (".image", "ImageSink")},
    "dicom": {
        (".dcm",): (".dicom", "DicomSink"),
        (".nii", ".nii.gz"): (".nifti", "NiftiSink"),
    },
    "nifti": {(".nii", ".nii.gz"): (".nifti", "NiftiSink")},
    "geotiff": {TIFF_SUFFIXES: (".geotiff", "GeoTiffSink")},
    "slide": {
        TIFF_SUFFIXES: (".slide", "HeatmapSink"),
        (".geojson",): (".slide", "GeoJsonSink"),
        (".png",): (".slide", "PreviewSink"),
    },
    "video": {("",): (".video", "FrameSink"), (".mp4", ".avi", ".mov", ".mkv"): (".video", "VideoSink")},
}
"""For each format that is read: what can be written, by suffix ("" a folder), first what a folder's outputs are."""

SOURCES: dict[Kind, tuple[str, str]] = {
    "image": (".image", "ImageSource"),
    "dicom": (".dicom", "DicomSource"),
    "nifti": (".nifti", "NiftiSource"),
    "geotiff": (".geotiff", "GeoTiffSource"),
    "slide": (".slide", "SlideSource"),
    "video": (".video", "VideoSource"),
}
READING: dict[Kind, tuple[str, ...]] = {
    "image": ("page",),
    "dicom": ("series", "resample"),
    "nifti": (),
    "geotiff": ("bands", "warp", "quantification", "offset"),
    "slide": ("slide_mpp",),
    "video": (),
}
"""The options of each source."""
WRITING: dict[Kind, tuple[str, ...]] = dict.fromkeys(get_args(Kind), ()) | {"geotiff": ("cog",)}
"""The options of the sinks for each format that is read."""


def input_suffixes(kinds: tuple[Kind, ...] = KINDS) -> set[str]:
    """Return the suffixes, lower case with the dot, by which inputs of these formats are found in a folder."""
    known: dict[Kind, tuple[str, ...]] = {
        "image": IMAGE_SUFFIXES,
        "dicom": DICOM_SUFFIXES,
        "nifti": NIFTI_SUFFIXES,
        "geotiff": TIFF_SUFFIXES,
        "slide": (*SLIDE_SUFFIXES, *TIFF_SUFFIXES),
        "video": VIDEO_SUFFIXES,
    }
    return {suffix for kind in kinds for suffix in known[kind]}


def output_suffixes(kinds: tuple[Kind, ...] = KINDS) -> set[str]:
    """Return the suffixes of the files that can be written for inputs of these formats."""
    return {suffix for kind in kinds for suffixes in SINKS[kind] for suffix in suffixes if suffix}


def default_suffix(kind: Kind) -> str:
    """Return the suffix of what is written for inputs of a format where nothing else is asked for."""
    return next(iter(SINKS[kind]))[0]


def suffix_of(path: Path) -> str:
    """Return the suffix of a file's name, lower case, ".gz" together with the one before it."""
    suffixes = [each.lower() for each in path.suffixes]
    return "".join(suffixes[-2:]) if suffixes[-1:] == [".gz"] else "".join(suffixes[-1:])


def split_name(path: Path) -> tuple[str, str]:
    """Return a file's name without its suffix, and this as it is written; see `suffix_of`."""
    length = len(path.name) - len(suffix_of(path))
    return path.name[:length], path.name[length:]


def is_dicom_folder(path: Path) -> bool:
    """Tell whether a folder holds DICOM files, by their content or suffix; those in folders below do not count."""
    return path.is_dir() and any(_is_dicom(each) for each in sorted(path.iterdir()) if each.is_file())


def is_dicom_series(path: Path) -> bool:
    """Tell whether a folder is one input: of DICOM files, but for such as are each an image of its own.

    These are files of which each is alone in its series, and pictures such as X-rays of one examination.
    """
    from .dicom import list_series
    from .dicom.records import NotAnImageError

    if not is_dicom_folder(path):
        return False
    try:
        found = list_series(path)
    except NotAnImageError:
        return False  # segmentations or reports beside the series of a study
    except UserError:
        return True  # what is wrong is told when its turn comes
    files = [file for series in found for file in series.files]
    alone = len(found) == len(files)
    return len(files) == 1 or not (alone or all(file.is_picture for file in files))


def is_dicom_input(path: Path, is_series_chosen: bool = False) -> bool:
    """Tell whether a folder is one DICOM input, or a file is one whatever its name.

    Args:
        path: the file or folder.
        is_series_chosen: it is said which series of a folder is meant.
    """
    if path.is_dir():
        return (is_series_chosen and is_dicom_folder(path)) or is_dicom_series(path)
    return is_dicom_file(path)


def is_single_image(path: Path) -> bool:
    """Tell whether a file is an image by its suffix, or a DICOM file by its content or suffix; hidden ones are not."""
    is_named = path.suffix.lower() in input_suffixes(("image",)) and not path.name.startswith(".") and path.is_file()
    return is_named or is_dicom_file(path)


def is_dicom_file(path: Path) -> bool:
    """Tell whether a file is a DICOM file, by its content or suffix; lists of others and hidden files are not meant."""
    is_meant = not path.name.startswith(".") and path.name.upper() != "DICOMDIR"
    return is_meant and path.is_file() and _is_dicom(path)


def is_volume(path: Path, kind: Kind) -> bool:
    """Tell whether a file or folder is a series of slices; False where that cannot be told yet."""
    if kind == "nifti":
        return True
    if kind != "dicom":
        return False
    from .dicom import list_series
    from .dicom.files import read_image_file

    try:
        files = [file for series in list_series(path) for file in series.files] if path.is_dir() else None
        return sum(len(file.frames) for file in files or [read_image_file(path)]) > 1
    except UserError:
        return False


def kind_of(path: Path, kinds: tuple[Kind, ...] = KINDS) -> Kind:
    """Return the format of a file or folder, by its content; of those that an app takes where several would do.

    Raises:
        UserError: there is no such file, or it has none of these formats.
    """
    if not path.exists():
        raise UserError(f"{path}: there is no such file or folder.")
    found = next((kind for kind in _candidates(path) if kind in kinds), None)
    if found is None:
        names = ", ".join(kinds[:-1]) + f" or {kinds[-1]}" if len(kinds) > 1 else kinds[0]
        raise UserError(f"{path}: is no file of a format that is taken here ({names}); convert it first.")
    return found


def open_source(path: Path, kind: Kind, card: Card | None = None, **options: Any) -> Source:
    """Open a file or folder.

    Args:
        path: the input.
        kind: its format.
        card: of the program that it is for: the channels and value range of images, the resolution of slides, the
            channels and unit of rasters of reflectance. None reads what is there.
        options: of `READING`; those of other formats are passed over.

    Raises:
        UserError: it is missing, damaged, or cannot be used with these options.
    """
    needed: dict[str, Any] = {}
    if card and kind in ("image", "video"):
        needed = {"channels": len(card.channels), "value_range": card.value_range}
    elif card and kind == "slide":
        needed = {"mpp": card.spacing[0] if card.spacing else None, "value_range": card.value_range}
    elif card and kind == "geotiff" and card.unit:
        needed = {"unit": card.unit, "channels": card.channels}
    fitting = {name: value for name, value in options.items() if name in READING[kind]}
    return _named(*SOURCES[kind])(path, **needed, **fitting)


def open_sink(path: Path, kind: Kind, source: Source, card: Card, fingerprint: str = "", **options: Any) -> SpooledSink:
    """Return the sink for what the card's program makes of a source.

    Args:
        path: the output; its suffix says what is written.
        kind: the source's format.
        source: where it comes from.
        card: of the program.
        fingerprint: tells the same work again; "" never goes on from an earlier run.
        options: of `WRITING`; those of other formats are passed over.

    Raises:
        UserError: the suffix does not fit the input's format, or the sink cannot hold what the program makes.
    """
    suffix = suffix_of(path)
    sink = next((sink for suffixes, sink in SINKS[kind].items() if suffix in suffixes), None)
    if sink is None:
        known = ", ".join(sorted(output_suffixes((kind,))))
        raise UserError(f"{path}: what is made of {kind} input can be written as {known}; end the name in one of them.")
    fitting = {name: value for name, value in options.items() if name in WRITING[kind]}
    return _named(*sink).like(path, source, card, fingerprint, **fitting)


def open_overlay(path: Path, kind: Kind, source: Source, card: Card, fingerprint: str = "") -> SpooledSink:
    """Return the sink that draws the outlines of labels over a source.

    Args:
        path: a video for videos, else a picture.
        kind: the source's format.
        source: what was computed on.
        card: of the program, which gives labels.
        fingerprint: tells the same work again; "" never goes on from an earlier run.
    """
    if kind == "video":
        return open_sink(path, kind, source, card, fingerprint)
    return _named(".overlay", "OverlaySink")(path, source, card, fingerprint)


def _named(module: str, name: str) -> Callable[..., Any]:
    return getattr(import_module(module, __package__), name)


def _candidates(path: Path) -> list[Kind]:
    """Return the formats that a file may have, the likeliest first."""
    suffix = suffix_of(path)
    if path.is_dir():
        return ["dicom", "slide"] if is_dicom_folder(path) else ["geotiff"]
    if suffix in NIFTI_SUFFIXES or suffix in (".img", ".img.gz"):
        return ["nifti"]
    if suffix in SLIDE_SUFFIXES:
        return ["slide"]
    if suffix in VIDEO_SUFFIXES:
        return ["video"]
    if _is_dicom(path):
        return ["dicom", "slide"]
    with path.open("rb") as file:
        head = file.read(4)
    if head in TIFF_HEADS:
        return _tiff_candidates(path)
    return ["image"]


def _is_dicom(path: Path) -> bool:
    if suffix_of(path) in DICOM_SUFFIXES:
        return True
    with path.open("rb") as file:
        return file.read(PREAMBLE + 4)[PREAMBLE:] == b"DICM"


def _tiff_candidates(path: Path) -> list[Kind]:
    """A map, or what an image cannot hold, is for the maps; a pyramid of tiles is a slide; all else is an image."""
    import warnings

    import rasterio

    from .gdal import FAULTS, gdal
    from .image.channels import is_image

    try:
        with gdal(), warnings.catch_warnings(action="ignore"), rasterio.open(path, driver="GTiff") as dataset:
            if dataset.crs or dataset.gcps[0] or not dataset.transform.is_identity:
                return ["geotiff", "image", "slide"]
            if dataset.overviews(1) and dataset.is_tiled and dataset.count == 3:
                return ["slide", "image", "geotiff"]
            if not is_image(dataset):
                return ["geotiff", "image", "slide"]
            return ["image", "geotiff", "slide"]
    except FAULTS:
        return ["image", "geotiff", "slide"]  # whose source tells what is wrong

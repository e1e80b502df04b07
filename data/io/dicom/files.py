"""Headers of DICOM files, checked against the size of the file before any pixel is decoded."""

from __future__ import annotations

import math
import os
import re
import struct
import zlib
from io import BufferedReader, BytesIO, FileIO
from pathlib import Path
from typing import Any, BinaryIO

from pydicom import Dataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_file_meta_info
from pydicom.pixels.utils import as_pixel_options
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from ....core.errors import UserError
from .frames import positive, read_frames
from .records import COLOUR, GREY, PALETTE, ImageFile, NotAnImageError, NotDicomError, damaged, quiet

PIXEL_ELEMENTS = {0x0010: "PixelData", 0x0008: "FloatPixelData", 0x0009: "DoubleFloatPixelData"}  # of group 7FE0
SEGMENTATIONS = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
SYNTAXES = (
    ImplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    JPEG2000Lossless,
    JPEG2000,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    HTJ2K,
    RLELossless,
)
"""What `pixels.decode` decodes; deflated files are inflated before."""
VALUE_REPRESENTATIONS = (b"OB", b"OW", b"OF", b"OD", b"UN")
RT_DOSE = "1.2.840.10008.5.1.4.1.1.481.2"
DICOMDIR = "1.2.840.10008.1.3.10"
SLIDE = "1.2.840.10008.5.1.4.1.1.77.1.6"
MAXIMUM_RATIO = 1000  # decoded to encoded bytes of a frame, beyond which a header is not believed
PLAUSIBLE_BYTES = 64 << 20  # of decoded samples, believed whatever the file's size
LARGE_READ = 1 << 20  # bytes
MAXIMUM_INFLATED = 1 << 30  # bytes of a deflated file once inflated
TAGS = [
    "SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "SeriesNumber", "Modality", "FrameOfReferenceUID",
    "Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration",
    "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation",
    "ExtendedOffsetTable", "ExtendedOffsetTableLengths",
    "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "ImagerPixelSpacing",
    "NominalScannedPixelSpacing", "SliceThickness", "SpacingBetweenSlices", "RescaleSlope", "RescaleIntercept",
    "ModalityLUTSequence", "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence",
    "RedPaletteColorLookupTableDescriptor", "GreenPaletteColorLookupTableDescriptor",
    "BluePaletteColorLookupTableDescriptor", "RedPaletteColorLookupTableData", "GreenPaletteColorLookupTableData",
    "BluePaletteColorLookupTableData", "SegmentedRedPaletteColorLookupTableData",
    "SegmentedGreenPaletteColorLookupTableData", "SegmentedBluePaletteColorLookupTableData",
]  # fmt: skip


class _Content(BufferedReader):
    """A file that is not asked for more than it holds, as room for all that is asked for is made at once."""

    def read(self, size: int | None = -1) -> bytes:
        """Return the next bytes."""
        if size is not None and size > LARGE_READ:
            size = min(size, os.fstat(self.fileno()).st_size)
        return super().read(size)


def open_content(path: Path) -> BinaryIO:
    """Open a DICOM file; a deflated one is inflated into memory, as if it had been written so.

    Raises:
        NotDicomError: the file is no DICOM file.
        UserError: a deflated file is damaged, or too large once inflated.
    """
    file = _Content(FileIO(path))
    beginning = file.read(2048)
    file.seek(0)
    try:
        if not beginning:
            raise NotDicomError(f"{path}: the file is empty; get it again.")
        if beginning[128:132] != b"DICM" and not _plausible_without_preamble(beginning):
            raise NotDicomError(f"{path}: is not a DICOM file.")
        if DeflatedExplicitVRLittleEndian.encode() in beginning:
            file, deflated = _inflated(path, file), file
            deflated.close()
    except BaseException:
        file.close()
        raise
    return file


def read_image_file(path: Path) -> ImageFile:
    """Read the header of a DICOM image and check it against the size of the file.

    Raises:
        NotDicomError: the file is no DICOM file.
        NotAnImageError: it holds no image, such as a report, a plan or a directory.
        UserError: it is missing, damaged or cut short, or holds a kind of image that cannot be read.
    """
    try:
        with quiet(), open_content(path) as file:
            return _image_file(path, file)
    except UserError:
        raise
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such file.") from None
    except Exception as error:  # damaged bytes make the reader fail in every possible way
        if isinstance(error, OSError) and error.strerror:
            raise UserError(f"{path}: cannot be read ({error.strerror}).") from None
        raise damaged(path, type(error).__name__) from None  # its message may repeat values of the file


def read_whole_header(path: Path) -> Dataset:
    """Return every element before the pixel data, for what is copied into files made of this one."""
    with quiet(), open_content(path) as file:
        return dcmread(file, stop_before_pixels=True, force=True)


def _plausible_without_preamble(beginning: bytes) -> bool:
    """Tell whether bytes begin with an element of the groups 2 or 8, which come first in every file."""
    return beginning[:2] in (b"\x02\x00", b"\x08\x00", b"\x00\x08") and len(beginning) > 16


def _inflated(path: Path, file: BinaryIO) -> BytesIO:
    file.seek(132)
    meta = FileMetaDataset(read_dataset(file, False, True, stop_when=lambda tag, *_: tag.group != 2))
    content = zlib.decompressobj(-zlib.MAX_WBITS).decompress(file.read(), MAXIMUM_INFLATED)
    if len(content) == MAXIMUM_INFLATED:
        raise UserError(f"{path}: is larger than {MAXIMUM_INFLATED >> 20} MB once inflated; write it undeflated.")
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    result = BytesIO()
    result.write(bytes(128) + b"DICM")
    write_file_meta_info(result, meta, enforce_standard=False)
    result.write(content)
    result.seek(0)
    return result


def _image_file(path: Path, file: BinaryIO) -> ImageFile:
    header = dcmread(file, stop_before_pixels=True, force=True, specific_tags=TAGS)
    _check_kind(path, header)
    options = _pixel_options(path, file, header)
    image = ImageFile(
        path=path,
        sop_class=_uid(header, "SOPClassUID"),
        sop_instance=_uid(header, "SOPInstanceUID"),
        series=_uid(header, "SeriesInstanceUID"),
        series_number=int(header.get("SeriesNumber") or 0),
        modality=re.sub("[^A-Z0-9]", "", str(header.get("Modality") or "")) or "?",
        frame_of_reference=_uid(header, "FrameOfReferenceUID"),
        size=(options["rows"], options["columns"]),
        options=options,
        lookup=_lookup(path, header, options),
        thickness=positive(header.get("SpacingBetweenSlices")) or positive(header.get("SliceThickness")),
        offset=file.tell(),
    )
    _check_size(image, file.seek(0, 2) - image.offset)
    image.frames = tuple(read_frames(image, header))
    return image


def _uid(header: Dataset, name: str) -> str:
    """Return a UID without what damage may have put into it; "" where there is none."""
    return re.sub("[^0-9.]", "", str(header.get(name) or ""))


def _check_kind(path: Path, header: Dataset) -> None:
    kind = header.get("SOPClassUID") or header.file_meta.get("MediaStorageSOPClassUID")
    if kind == DICOMDIR:
        raise NotAnImageError(f"{path}: is a directory of DICOM files; give the folder it stands in.")
    if kind == SLIDE:
        raise NotAnImageError(f"{path}: is a whole-slide image; give it to an app that reads slides.")
    if kind == RT_DOSE or "Rows" not in header:
        raise _without_image(path, header)


def _without_image(path: Path, header: Dataset) -> UserError:
    """Return the error for a file without pixels: of another kind, or an image whose pixels are lost."""
    kind = header.get("SOPClassUID") or header.file_meta.get("MediaStorageSOPClassUID")
    name = kind.name if isinstance(kind, UID) and kind.is_valid else ""
    if "Image" in name or not name:
        return damaged(path, "there are no pixels")
    return NotAnImageError(f"{path}: holds no image ({name}).")


def _pixel_options(path: Path, file: BinaryIO, header: Dataset) -> dict[str, Any]:
    """Return what the decoder must know; leave the file where the value of the pixel data begins."""
    implicit, little = header.original_encoding
    syntax = header.file_meta.get("TransferSyntaxUID")
    if syntax is None:
        syntax = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
    beginning = file.read(8)
    if len(beginning) < 8:
        raise _without_image(path, header)
    group, element = struct.unpack("<HH" if little else ">HH", beginning[:4])
    if group != 0x7FE0 or element not in PIXEL_ELEMENTS:
        raise damaged(path, "there are no pixels")
    options = as_pixel_options(header, pixel_keyword=PIXEL_ELEMENTS[element], transfer_syntax_uid=syntax)
    if beginning[4:6] in VALUE_REPRESENTATIONS:  # some files say otherwise than they are written
        options["pixel_vr"] = beginning[4:6].decode("ascii")
        file.read(4)
    _check_options(path, options)
    if not syntax.is_valid:
        raise damaged(path, "its transfer syntax is no UID")
    if syntax not in SYNTAXES:
        raise UserError(f"{path}: is compressed by {syntax.name}, which cannot be decoded; convert it first.")
    return options


def _check_options(path: Path, options: dict[str, Any]) -> None:
    integers = options["pixel_keyword"] == "PixelData"
    needed = [
        "rows",
        "columns",
        "number_of_frames",
        "samples_per_pixel",
        "photometric_interpretation",
        "bits_allocated",
    ]
    needed += ["bits_stored", "pixel_representation"] if integers else []
    if missing := [name for name in needed if options.get(name) is None]:
        raise damaged(path, f"the header lacks {missing[0].replace('allocated', 'per_sample').replace('_', ' ')}")
    options["number_of_frames"] = int(options["number_of_frames"])
    photometric, samples = options["photometric_interpretation"], options["samples_per_pixel"]
    if photometric not in (*GREY, *COLOUR, PALETTE):
        raise UserError(f"{path}: holds colours that cannot be read; convert it to RGB first.")
    allocated, stored = options["bits_allocated"], options.get("bits_stored", 1)
    allowed = (1, 8, 16, 32) if integers else (32, 64)
    if (
        min(options["rows"], options["columns"], options["number_of_frames"], stored) < 1
        or samples != (3 if photometric in COLOUR else 1)
        or allocated not in allowed
        or stored > allocated
        or options.get("pixel_representation", 0) not in (0, 1)
        or (photometric not in GREY and not integers)
    ):
        raise damaged(path, "the header describes impossible pixels")


def _check_size(image: ImageFile, available: int) -> None:
    """Refuse a header that declares more pixels than the file can hold, before anything of that size is made."""
    options = image.options
    frames, samples = options["number_of_frames"], options["samples_per_pixel"]
    bits = image.size[0] * image.size[1] * options["bits_allocated"]
    if options["transfer_syntax_uid"].is_encapsulated:
        shortest = 8 * frames  # the head of an item
        believed = max(PLAUSIBLE_BYTES, MAXIMUM_RATIO * available)
        possible = shortest <= available and bits * samples // 8 <= believed
    else:
        subsampled = image.photometric == "YBR_FULL_422"
        possible = math.ceil(bits * frames * (2 if subsampled else samples) / 8) <= available
    if not possible:
        raise damaged(image.path, f"{available} bytes cannot hold the {_extent(image)} pixels of its header")


def _extent(image: ImageFile) -> str:
    return " x ".join(map(str, (image.options["number_of_frames"], *image.size)))


def _lookup(path: Path, header: Dataset, options: dict[str, Any]) -> Dataset | None:
    """Return the elements of the tables that samples are looked up in."""
    if options["photometric_interpretation"] == PALETTE:
        if not any(f"{kind}RedPaletteColorLookupTableData" in header for kind in ("", "Segmented")):
            raise damaged(path, "its palette is missing")
        return header
    return header if header.get("ModalityLUTSequence") else None

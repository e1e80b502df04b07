"""Headers of NIfTI-1 and NIfTI-2 files: read with care, and made for outputs.

Header axes are (i, j, k, t), arrays' are (t, k, j, i). The rules by which a header places voxels are nibabel's: the
sform where its code is not 0, else the qform where its code is not 0, else spacing alone.
"""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
from nibabel import Nifti1Header, Nifti2Header
from nibabel.nifti1 import Nifti1PairHeader
from nibabel.nifti2 import Nifti2PairHeader
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError

from ....core.errors import UserError
from ...geometry import TOLERANCE_MM

logger = logging.getLogger(__name__)

LONGEST_HEADER = Nifti2Header.sizeof_hdr
LARGEST_AXIS = np.iinfo(np.int16).max  # of NIfTI-1
SCANNER = 1  # code of sform and qform: coordinates of the scanner
LABELS = 1002  # intent code: voxels are labels
FLATTEST = 1e-6  # volume of a voxel over that of a box of the same sides, below which axes do not span space
STRUCTURE = ("sizeof_hdr", "magic", "vox_offset", "eol_check", "dim", "datatype", "bitpix")
FREE_TEXT = ("descrip", "aux_file", "db_name")  # about the data of the source; may name a person


def parse(block: bytes, path: Path) -> Nifti1Header:
    """Return the header in the first bytes of a file; what nibabel can mend is mended, and told.

    Raises:
        UserError: it is no NIfTI header, or it is damaged.
    """
    kind = _kind(block, path)
    notes = _Notes()
    try:
        header = kind(block[: kind.sizeof_hdr], check=False)
        if header["dim"][0] == 2 and not header["pixdim"][3] > 0:
            header["pixdim"][3] = 1  # means nothing there
        header.check_fix(notes, error_level=40)
    except (HeaderDataError, WrapStructError, ValueError, OverflowError) as error:
        raise damaged(path, str(error)) from None
    for note in notes:
        logger.warning("%s: the header is wrong: %s.", path, note)
    return header


def has_spacing(block: bytes, path: Path) -> bool:
    """Tell whether the header in the first bytes of a file says how far voxels are apart, before it is mended."""
    kind = _kind(block, path)
    header = kind(block[: kind.sizeof_hdr], check=False)
    axes = min(max(int(header["dim"][0]), 1), 3)
    return bool(header["sform_code"]) or bool((np.abs(header["pixdim"][1 : axes + 1]) > 0).all())


def damaged(path: Path, reason: str) -> UserError:
    """Return the error for an impossible header."""
    return UserError(f"{path}: the header is damaged ({reason}); get the file again, or mend its header.")


def dimensions(header: Nifti1Header, path: Path) -> tuple[int, ...]:
    """Return the sizes along (i, j[, k[, t]]).

    Raises:
        UserError: there are not 2 to 4 axes, or an impossible size.
    """
    count, *sizes = (int(size) for size in header["dim"])
    if not 1 <= count <= 7 or min(sizes[:count]) < 1:
        raise damaged(path, f"dim is {', '.join(map(str, [count, *sizes]))}")
    while count > 4 and sizes[count - 1] == 1:
        count -= 1
    if not 2 <= count <= 4:
        raise UserError(f"{path}: has {count} axes; only 2 to 4 are read: choose or join parts of it first.")
    return tuple(sizes[:count])


def sample_type(header: Nifti1Header, path: Path) -> np.dtype:
    """Return the type of the stored samples, in the file's order of bytes.

    Raises:
        UserError: they are no whole or floating-point numbers of up to 64 bits.
    """
    dtype = header.get_data_dtype()
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        name = "colours" if dtype.names else str(dtype)
        raise UserError(f"{path}: holds {name}; only real numbers of up to 64 bits are read: convert it first.")
    return dtype


def data_offset(header: Nifti1Header, path: Path) -> int:
    """Return the place of the first sample in its file.

    Raises:
        UserError: it is an impossible one.
    """
    offset = float(header["vox_offset"])
    lowest = header.single_vox_offset if header.is_single else 0
    if not lowest <= offset < 2**62 or offset != int(offset):
        raise damaged(path, f"vox_offset is {offset!r}")
    return int(offset)


def scaling(header: Nifti1Header, path: Path) -> tuple[float, float]:
    """Return (slope, intercept) that turn stored samples into values.

    Raises:
        UserError: the intercept is not finite.
    """
    try:
        slope, intercept = header.get_slope_inter()
    except HeaderDataError as error:
        raise damaged(path, str(error)) from None
    return (1.0, 0.0) if slope is None else (slope, intercept)


def affine(header: Nifti1Header, path: Path) -> np.ndarray:
    """Return where voxels lie, as `VolumeGeometry` has it; doubts are told.

    Raises:
        UserError: it is not finite, or does not span space.
    """
    if not (header["sform_code"] or header["qform_code"]):
        logger.warning("%s: does not say where its voxels lie; right and left may be exchanged.", path)
    try:
        found = np.asarray(header.get_best_affine(), np.float64)
    except (HeaderDataError, ValueError) as error:
        raise damaged(path, f"qform: {error}") from None
    _check_affine(found, path)
    _mend_spacing(header, found, path)
    if header["sform_code"] and header["qform_code"]:
        _compare_forms(header, found, path)
    return found


def for_geometry(place: np.ndarray) -> Nifti1Header:
    """Make a header whose sform and qform are an affine; a sheared one, which no qform holds, is in the sform alone."""
    header = Nifti1Header(endianness="<")
    header.set_xyzt_units("mm")
    header.set_sform(place, SCANNER)
    header.set_qform(place, SCANNER)
    header["pixdim"][1:4] = np.linalg.norm(place[:3, :3], axis=0)
    if not np.allclose(header.get_qform(), place, rtol=1e-4, atol=TOLERANCE_MM):
        header["qform_code"] = 0
    return header


def for_output(
    header: Nifti1Header,
    sizes: tuple[int, ...],
    dtype: np.dtype,
    step: np.ndarray | None = None,
    keeps_values: bool = False,
    is_label: bool = False,
) -> Nifti1Header:
    """Make the header of an output of the header of its source, for a single file, little-endian.

    Codes, units and, without `step`, every number of sform, qform and spacing stay as they are. What is said about the
    source's data and may name a person (free text, extensions) is left out.

    Args:
        header: the source's.
        sizes: along (i, j[, k[, t]]).
        dtype: of the samples.
        step: 4x4; maps the output's indices to the source's. None where they are the same.
        keeps_values: values are of the source's kind: slope, intercept, intent and range for display stay.
        is_label: values are labels.
    """
    kind = Nifti2Header if isinstance(header, Nifti2Header) or max(sizes) > LARGEST_AXIS else Nifti1Header
    made = kind(endianness="<")
    for name in set(made.keys()) & set(header.keys()) - {*STRUCTURE, *FREE_TEXT}:
        made[name] = header[name]
    made["vox_offset"] = kind.single_vox_offset
    made["dim"] = 1
    made["dim"][: len(sizes) + 1] = [len(sizes), *sizes]
    made.set_data_dtype(dtype)
    if not keeps_values:
        made["scl_slope"] = 1
        for name in ("scl_inter", "cal_min", "cal_max", "intent_p1", "intent_p2", "intent_p3"):
            made[name] = 0
        made["intent_code"], made["intent_name"] = LABELS if is_label else 0, b""
    if step is not None:
        _move(made, step)
    return made


def _kind(block: bytes, path: Path) -> type[Nifti1Header]:
    kinds = {
        b"n+1\0": Nifti1Header,
        b"ni1\0": Nifti1PairHeader,
        b"n+2\0": Nifti2Header,
        b"ni2\0": Nifti2PairHeader,
    }
    if kind := kinds.get(block[344:348]) or kinds.get(block[4:8]):
        return kind
    if len(block) >= Nifti1Header.sizeof_hdr and int(Nifti1Header.sizeof_hdr).to_bytes(4, "little") in (
        block[:4],
        block[3::-1],
    ):
        raise UserError(f"{path}: is no NIfTI but an Analyze file, which does not tell right from left; convert it.")
    raise UserError(f"{path}: is not a NIfTI file, or its header is damaged; get it again, or choose another file.")


class _Notes(list):
    """Takes nibabel's messages about a header in place of a logger."""

    def log(self, level: int, message: str) -> None:
        if level and "SPM" not in message:
            self.append(message)


def _check_affine(found: np.ndarray, path: Path) -> None:
    if not np.isfinite(found).all():
        raise damaged(path, "its affine is not finite")
    lengths = np.linalg.norm(found[:3, :3], axis=0)
    if not lengths.all() or abs(np.linalg.det(found[:3, :3] / lengths)) < FLATTEST:
        raise damaged(path, "its affine does not span space")


def _mend_spacing(header: Nifti1Header, found: np.ndarray, path: Path) -> None:
    """Put the affine's spacing where the header has none that is a number."""
    if not np.isfinite(header["pixdim"][1:4]).all():
        header["pixdim"][1:4] = np.linalg.norm(found[:3, :3], axis=0)
        logger.warning("%s: the header is wrong: pixdim is not finite; taken from the sform.", path)


def _compare_forms(header: Nifti1Header, found: np.ndarray, path: Path) -> None:
    """Tell of a qform that places voxels elsewhere, as other programs may prefer it."""
    try:
        other = header.get_qform()
    except (HeaderDataError, ValueError):
        header["qform_code"] = 0
        logger.warning("%s: the header is wrong: the qform is no rotation; it is left out.", path)
        return
    sizes = np.maximum(header["dim"][1:4].astype(np.int64), 1) - 1
    corners = np.array([(*(corner * sizes), 1) for corner in np.ndindex(2, 2, 2)], np.float64)
    shift = np.linalg.norm(corners @ (found - other)[:3].T, axis=1).max()
    if not shift < 100 * TOLERANCE_MM:
        logger.warning("%s: sform and qform place voxels up to %.3g mm apart; the sform is used.", path, shift)


def _move(header: Nifti1Header, step: np.ndarray) -> None:
    """Let both forms and the spacing follow a finer grid along the same axes."""
    sform = header.get_sform() @ step
    for row, name in enumerate("xyz"):
        header[f"srow_{name}"] = sform[row]
    if header["qform_code"]:
        qform = header.get_qform() @ step
        for row, name in enumerate("xyz"):
            header[f"qoffset_{name}"] = qform[row, 3]
    header["pixdim"][1:4] *= np.diag(step)[:3]
    for name in ("slice_start", "slice_end", "slice_duration", "slice_code"):
        header[name] = 0  # times of slices that are no more

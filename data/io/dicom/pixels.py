"""Decoding frames of DICOM images into grey samples or RGB."""

from __future__ import annotations

import struct

import numpy as np
from imagecodecs import jpeg8_decode
from pydicom.encaps import encapsulate, get_frame
from pydicom.pixels import apply_color_lut, apply_modality_lut, get_decoder
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
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
from .files import open_content
from .records import PALETTE, Frame, damaged, quiet

PLUGINS = {
    JPEGBaseline8Bit: "pillow",
    JPEGLSLossless: "pyjpegls",
    JPEGLSNearLossless: "pyjpegls",
    JPEG2000Lossless: "pylibjpeg",
    JPEG2000: "pylibjpeg",
    HTJ2KLossless: "pylibjpeg",
    HTJ2KLosslessRPCL: "pylibjpeg",
    HTJ2K: "pylibjpeg",
    RLELossless: "pydicom",
}
"""One decoder for each compression: which of several pydicom tries first would hang on what is installed."""
TURBO = (JPEGExtended12Bit, JPEGLossless, JPEGLosslessSV1)
"""Read by libjpeg-turbo: pydicom's plugins under permissive licences lack 12 bits."""
END_MARKER = b"\xff\xd9"  # of JPEG; padding may follow
SIZE_MARKERS = {0xFFC0, 0xFFC1, 0xFFC2, 0xFFC3, 0xFFF7}  # of JPEG and, the last, JPEG-LS


def decode(frame: Frame) -> np.ndarray:
    """Return the samples of a frame: grey as stored, (H, W), or RGB over the range of its type, (H, W, 3).

    A palette becomes RGB.

    Raises:
        UserError: the pixels are damaged or cut short.
    """
    file = frame.file
    try:
        with quiet():
            samples = _decoded(frame)
            if file.photometric == PALETTE:
                samples = apply_color_lut(samples, file.lookup)
    except UserError:
        raise
    except OSError as error:
        raise damaged(file.path, error.strerror or "pixels") from None
    except Exception as error:  # damaged bytes make the decoders fail in every possible way
        raise damaged(file.path, f"pixels of image {frame.index + 1}: {type(error).__name__}") from None
    expected = file.size if file.channels == 1 else (*file.size, 3)
    if samples.shape != expected:
        raise damaged(file.path, f"its pixels make {samples.shape} and its header says {expected}")
    return samples


def physical(frame: Frame, samples: np.ndarray) -> np.ndarray:
    """Return what samples mean, float32.

    Args:
        frame: whose samples they are.
        samples: of its window, as `decode` gives them.

    Returns:
        Grey: slope and intercept applied, such as HU, (h, w); where the file shows high values dark, turned over
        within the range of its stored bits. Colour: 0..1, (h, w, 3). What is no number becomes 0.
    """
    file = frame.file
    if file.channels == 3:
        return samples.astype(np.float32) / np.float32(np.iinfo(samples.dtype).max)
    if file.photometric == "MONOCHROME1":
        low, high = file.stored_range
        samples = (low + high) - samples.astype(np.int64)
    if file.lookup is not None:
        with quiet():
            return apply_modality_lut(samples, file.lookup).astype(np.float32)
    if samples.dtype.kind == "f":
        samples = np.nan_to_num(samples, nan=0.0, posinf=0.0, neginf=0.0)
    if (frame.slope, frame.intercept) == (1.0, 0.0):
        return samples.astype(np.float32)
    return (samples * frame.slope + frame.intercept).astype(np.float32)  # in float64, as whole numbers multiply


def _decoded(frame: Frame) -> np.ndarray:
    file = frame.file
    syntax, options = file.options["transfer_syntax_uid"], dict(file.options)
    with open_content(file.path) as content:
        content.seek(file.offset)
        if not syntax.is_encapsulated:
            return get_decoder(syntax).as_array(content, index=frame.index, **options)[0]
        extended = options.pop("extended_offsets", None)
        encoded = get_frame(
            content, frame.index, number_of_frames=options["number_of_frames"], extended_offsets=extended
        )
    size = _encoded_size(encoded)
    if size not in (None, file.size):
        raise damaged(file.path, f"its pixels are {size} and its header says {file.size}")
    if syntax in TURBO:
        return _turbo(encoded, frame)
    options["number_of_frames"] = 1
    plugin = PLUGINS[syntax]
    return get_decoder(syntax).as_array(encapsulate([encoded]), index=0, decoding_plugin=plugin, **options)[0]


def _turbo(encoded: bytes, frame: Frame) -> np.ndarray:
    """Return the samples of a JPEG stream of 12 bits or without loss, with their sign."""
    file = frame.file
    if END_MARKER not in encoded[-16:]:  # libjpeg-turbo fills what is missing, and says nothing
        raise damaged(file.path, f"pixels of image {frame.index + 1} end early")
    if file.channels == 3 and file.photometric != PALETTE:
        stored = "RGB" if file.photometric == "RGB" else "YCbCr"
        return jpeg8_decode(encoded, colorspace=stored, outcolorspace="RGB").astype(file.dtype, copy=False)
    samples = jpeg8_decode(encoded)
    if file.dtype.kind == "u":
        return samples.astype(file.dtype, copy=False)
    unused = 8 * file.dtype.itemsize - file.options["bits_stored"]
    return (samples.astype(file.dtype) << unused) >> unused


def _encoded_size(encoded: bytes) -> tuple[int, int] | None:
    """Return (H, W) that a JPEG, JPEG-LS or JPEG 2000 stream declares, which its decoder makes room for."""
    if encoded.startswith(b"\xff\x4f\xff\x51"):  # JPEG 2000: the size comes first
        right, bottom, left, top = struct.unpack(">4I", encoded[8:24])
        return bottom - top, right - left
    if not encoded.startswith(b"\xff\xd8"):
        return None
    place = 2
    while place + 9 <= len(encoded):
        marker, length = struct.unpack(">HH", encoded[place : place + 4])
        if marker in SIZE_MARKERS:
            return struct.unpack(">HH", encoded[place + 5 : place + 9])
        if marker == 0xFFFF:  # filling
            place += 1
        else:
            place += 2 + length
    raise ValueError("no size")

"""Videos, frame after frame: read as a volume of frames; written as a video, or as a folder of one image per frame.

Arrays are (C, T, H, W), T frames, colours in RGB. One frame is in memory at a time. OpenCV's FFmpeg decodes what
FFmpeg decodes, and encodes MPEG-4 (.mp4, .mov, .mkv) and Motion JPEG (.avi); sound is not kept.
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import TracebackType

import numpy as np

from ...core.errors import UserError, unwritten
from ...core.inference.streams import Carry, Window
from ...core.outlines import outlined_classes
from ...core.weights.card import Card
from .image import write_image
from .image.samples import Range, quantised, samples_of

os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # FFmpeg's own lines about damaged files, which we tell

import cv2

logger = logging.getLogger(__name__)

CODECS = {".avi": "MJPG", ".mp4": "mp4v", ".mov": "mp4v", ".mkv": "mp4v"}
GREY, RGB = 1, 3
USUAL_FPS = 25.0
STATE = ".foveal-work"


class VideoSource:
    """A video, read frame by frame as float32.

    Every frame is decoded once when it is opened, so that damage shows before any work and the frames are counted,
    which headers only estimate. Reading goes from the first to the last; going back starts again.

    Args:
        path: the file.
        channels: what the program takes: 3, or 1 for the brightness; None for 3.
        value_range: what black and white become.

    Attributes:
        shape: (C, T, H, W).
        fps: frames a second.

    Raises:
        UserError: the file is missing, or no video that can be decoded; or the program takes other channels.
    """

    spatial = 3
    geometry = None

    def __init__(self, path: str | Path, channels: int | None = None, value_range: Range = (0.0, 1.0)) -> None:
        self.path = Path(path)
        if channels not in (None, GREY, RGB):
            raise UserError(f"{self.path}: has 3 colour channels; the network takes {channels}.")
        self.value_range = value_range
        self.capture = _opened(self.path)
        self.fps = self._fps()
        count, size = self._counted()
        self.shape = (channels or RGB, count, *size)
        self._restart()

    def read(self, window: Window) -> np.ndarray:
        """Return a window, float32 (C, T, h, w), in the value range."""
        frames, rows, columns = window
        return np.stack([self._values(number, rows, columns) for number in range(frames.start, frames.stop)], axis=1)

    def is_empty(self, window: Window) -> bool:
        """Return False: every pixel of a video counts."""
        return False

    def frame(self, number: int) -> np.ndarray:
        """Return a frame, uint8 (H, W, 3), RGB.

        Raises:
            UserError: it cannot be decoded.
        """
        if number < self._number:
            self._restart()
        while self._number < number:
            self._number += 1
            if self._number < number:
                found, frame = self.capture.grab(), None
            else:
                found, frame = self.capture.read()
            if not found or (frame is not None and frame.shape[:2] != self.shape[2:]):
                raise UserError(f"{self.path}: frame {self._number} cannot be decoded; get the video again.")
            self._frame = frame
        return cv2.cvtColor(self._frame, cv2.COLOR_BGR2RGB)

    def close(self) -> None:
        """Close the file."""
        self.capture.release()

    def __enter__(self) -> VideoSource:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _values(self, number: int, rows: slice, columns: slice) -> np.ndarray:
        frame = self.frame(number)[rows, columns]
        if self.shape[0] == GREY:
            frame = cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2GRAY)[..., None]
        low, high = self.value_range
        return np.moveaxis(frame, -1, 0).astype(np.float32) / np.float32(255) * (high - low) + low

    def _fps(self) -> float:
        fps = self.capture.get(cv2.CAP_PROP_FPS)
        if 0 < fps < 1000:  # not a number is neither
            return fps
        logger.warning("%s: does not tell its frames a second; %g are taken.", self.path, USUAL_FPS)
        return USUAL_FPS

    def _counted(self) -> tuple[int, tuple[int, int]]:
        """Return how many frames there are, and (H, W) of the first."""
        found, frame = self.capture.read()
        if not found:
            self.close()
            raise UserError(f"{self.path}: no frame can be decoded; get the video again, or convert it to .mp4.")
        count, declared = 1, self.capture.get(cv2.CAP_PROP_FRAME_COUNT)
        while self.capture.grab():
            count += 1
        if count < declared - 1:
            logger.warning(
                "%s: holds %d frames, but its header says %d; it may have been cut short.", self.path, count, declared
            )
        return count, frame.shape[:2]

    def _restart(self) -> None:
        self.capture.release()
        self.capture = _opened(self.path)
        self._number, self._frame = -1, None


class _FrameByFrame(ABC):
    """What sinks of videos share: windows of a frame are gathered until it is finished."""

    geometry = None
    carry: Carry = {}  # noqa: RUF012 (never changed: frames share nothing)
    rows_done = 0

    def __init__(self, path: Path, source: VideoSource, card: Card) -> None:
        if card.scale != 1:
            raise UserError(f"{path}: videos are not enlarged; convert the video to images first.")
        self.path = path
        self.source = source
        self.card = card
        self.samples = samples_of(Path("frame.png"), card)
        self.values: np.ndarray | None = None

    def aside(self, window: Window) -> np.ndarray | None:
        """Return nothing: the frame alone is written."""
        return None

    def write(self, window: Window, values: np.ndarray | None, aside: np.ndarray | None) -> None:
        """Gather a window of the frame."""
        _, *place = window
        if self.values is None:
            self.values = np.zeros((len(values), *self.source.shape[2:]), values.dtype)
        self.values[:, *place] = values[:, 0]

    def finish(self, rows: int, carry: Carry) -> None:
        """Write the frame that is finished now."""
        self.put(rows - 1, self.values)

    def commit(self) -> None:
        """Let the output appear."""
        with self.committing():
            pass

    def stored(self, values: np.ndarray) -> np.ndarray:
        """Return a frame of pictures, labels or probabilities as an image, (C, H, W)."""
        value_range = self.samples.value_range if self.samples else self.card.value_range
        return quantised(values, value_range, self.samples.dtype if self.samples else np.dtype(np.uint8))

    @abstractmethod
    def put(self, number: int, values: np.ndarray) -> None:
        """Write a frame, (C, H, W)."""

    @abstractmethod
    def committing(self) -> AbstractContextManager[None]:
        """Make the output ready; let it appear when the block ends without an error."""

    def __enter__(self) -> _FrameByFrame:
        return self


class FrameSink(_FrameByFrame):
    """A folder of PNG files, frame_000000.png and on, one for each frame, which appears when all are written.

    They hold what an image of the same kind would. An interrupted run goes on after the last frame.

    Args:
        path: the folder.
        source: the video.
        card: of the program.
        fingerprint: tells the same work again; "" never goes on from an earlier run.

    Raises:
        UserError: an image cannot hold what the program makes; or another run writes the same output now.
    """

    def __init__(self, path: Path, source: VideoSource, card: Card, fingerprint: str = "") -> None:
        super().__init__(path, source, card)
        if self.samples and self.samples.channels not in (GREY, RGB):
            raise UserError(f"{path}: an image holds 1 or 3 channels; the network makes {self.samples.channels}.")
        self.fingerprint = fingerprint
        self.folder = path.with_name(f".{path.name}.part")
        self.folder.mkdir(parents=True, exist_ok=True)
        self.lock = _locked(self.folder / STATE, path)
        if not fingerprint or (self.folder / STATE).read_text() != fingerprint:
            self._clear()
            (self.folder / STATE).write_text(fingerprint)
        while self._name(self.rows_done).exists():
            self.rows_done += 1

    @classmethod
    def like(cls, path: str | Path, source: VideoSource, card: Card, fingerprint: str = "") -> FrameSink:
        """Make a sink for what a program makes of a video."""
        return cls(Path(path), source, card, fingerprint)

    def put(self, number: int, values: np.ndarray) -> None:
        """Write a frame."""
        write_image(self._name(number), self.stored(values))
        self.rows_done = max(self.rows_done, number + 1)

    @contextmanager
    def committing(self) -> Iterator[None]:
        """Let the folder appear, in place of an older one."""
        yield
        if self.path.is_dir():
            older = self.path.with_name(f".{self.path.name}.older")
            shutil.rmtree(older, ignore_errors=True)
            os.replace(self.path, older)
            os.replace(self.folder, self.path)
            shutil.rmtree(older)
        else:
            os.replace(self.folder, self.path)
        (self.path / STATE).unlink()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        """Keep the frames where the same work can go on from them."""
        if (not self.fingerprint or isinstance(error, UserError)) and self.folder.exists():
            shutil.rmtree(self.folder)
        os.close(self.lock)

    def _name(self, number: int) -> Path:
        return self.folder / f"frame_{number:06d}.png"

    def _clear(self) -> None:
        for each in self.folder.iterdir():
            if each.name != STATE:
                each.unlink()


class VideoSink(_FrameByFrame):
    """A video of the source's size, frames and frames a second: outlines of the labels over it, or pictures.

    A side of an odd number of pixels gets one more, as the codecs want. It appears whole; an interrupted run begins
    anew.

    Args:
        path: the file; its suffix says the format.
        source: the video.
        card: of the program.

    Raises:
        UserError: the program makes neither labels nor pictures; or another run writes the same output now.
    """

    def __init__(self, path: Path, source: VideoSource, card: Card) -> None:
        super().__init__(path, source, card)
        if self.samples is not None and not card.makes_labels:
            raise UserError(f"{path}: a video shows labels or pictures; write a folder of images instead.")
        self.picture = np.zeros((*source.shape[2:], 3), np.uint8)
        self.part = path.with_name(f".{path.stem}.part{path.suffix}")
        path.parent.mkdir(parents=True, exist_ok=True)
        self.lock = _locked(self.part, path)
        height, width = (size + size % 2 for size in source.shape[2:])
        if (height, width) != source.shape[2:]:
            logger.warning("%s: gets %d x %d pixels, as codecs want even numbers.", path, width, height)
        codec = cv2.VideoWriter_fourcc(*CODECS[path.suffix.lower()])
        self.writer = cv2.VideoWriter(str(self.part), cv2.CAP_FFMPEG, codec, source.fps, (width, height))
        if not self.writer.isOpened():
            self.__exit__(None, None, None)
            raise UserError(f"{path}: no video of {width} x {height} pixels can be written here; choose a folder.")

    @classmethod
    def like(cls, path: str | Path, source: VideoSource, card: Card, fingerprint: str = "") -> VideoSink:
        """Make a sink for what a program makes of a video."""
        return cls(Path(path), source, card)

    def aside(self, window: Window) -> np.ndarray | None:
        """Return a window of the source's frame, uint8 (h, w, 3), where outlines are drawn over it."""
        frame, *place = window
        return self.source.frame(frame.start)[*place] if self.card.makes_labels else None

    def write(self, window: Window, values: np.ndarray | None, aside: np.ndarray | None) -> None:
        """Gather a window of the frame and what it is drawn over."""
        super().write(window, values, aside)
        if aside is not None:
            self.picture[*window[1:]] = aside

    def put(self, number: int, values: np.ndarray) -> None:
        """Add a frame."""
        frame = self._shown(values)
        odd = [(0, size % 2) for size in frame.shape[:2]]
        self.writer.write(cv2.cvtColor(np.pad(frame, (*odd, (0, 0)), mode="edge"), cv2.COLOR_RGB2BGR))

    @contextmanager
    def committing(self) -> Iterator[None]:
        """Close the video and count its frames, as the encoder does not tell what it could not write."""
        self.writer.release()
        try:
            with VideoSource(self.part) as written:
                count = written.shape[1]
        except UserError:
            count = 0
        if count != self.source.shape[1]:
            raise unwritten(self.path, f"{count} of its frames are there")
        yield
        os.replace(self.part, self.path)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        """Remove what is not whole."""
        self.writer.release()
        self.part.unlink(missing_ok=True)
        os.close(self.lock)

    def _shown(self, values: np.ndarray) -> np.ndarray:
        """Return the frame of the video, uint8 (H, W, 3)."""
        if not self.card.makes_labels:
            return np.moveaxis(np.broadcast_to(self.stored(values), (3, *values.shape[1:])), 0, -1)
        return outlined_classes(self.picture, values, self.card)


def _opened(path: Path) -> cv2.VideoCapture:
    if not path.is_file():
        raise UserError(f"{path}: there is no such file.")
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # as for FFmpeg
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    if not capture.isOpened():
        raise UserError(f"{path}: is no video that can be read, or is damaged; convert it to .mp4 first.")
    return capture


def _locked(path: Path, output: Path) -> int:
    """Return an open file that no other run holds."""
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        raise UserError(f"{output}: another run writes this file now; wait for it, or give another place.") from None
    return file

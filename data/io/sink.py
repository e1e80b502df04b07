"""What the sinks of all formats share: finished windows are kept beside the output until the whole can be written."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from ...core.atomic import written_beside
from ...core.errors import UserError
from ...core.inference.streams import Carry, Geometry
from .spool import Spool


class SpooledSamples(ABC):
    """Samples that are written window by window, kept beside the output until it is made of them at `commit`.

    Args:
        place: the output beside which they are kept.
        shape: (C, *spatial) of the samples.
        dtype: of the samples.
        geometry: where they lie; None where the format knows nothing of it.
        fingerprint: tells the same work again; "" never goes on from an earlier run.

    Raises:
        UserError: the disk has no room for the samples, or another run writes the same output now.
    """

    def __init__(
        self,
        place: Path,
        shape: tuple[int, ...],
        dtype: np.dtype,
        geometry: Geometry | None = None,
        fingerprint: str = "",
    ) -> None:
        self.geometry = geometry
        self.spool = Spool(place, shape, dtype, fingerprint)

    @property
    def rows_done(self) -> int:
        """Rows of samples that are safe on disk."""
        return self.spool.rows_done

    @property
    def carry(self) -> Carry:
        """What the engine kept for the rows after these."""
        return self.spool.carry

    def aside(self, window: tuple[slice, ...]) -> np.ndarray | None:
        """Return what belongs to a window of the output and comes from the source, such as alpha or validity.

        Called in the thread that reads; handed to `write` in the thread that writes.
        """
        return None

    def write(self, window: tuple[slice, ...], values: np.ndarray | None, aside: np.ndarray | None) -> None:
        """Store a window of the output.

        Args:
            window: its place along each spatial axis.
            values: (C', *extent) float32, or integers where the card asks for labels; None where nothing was computed.
            aside: what `aside` gave for the window.
        """
        samples = self.converted(values, aside, window)
        if samples is not None:
            self.spool.write(window, samples)

    def finish(self, rows: int, carry: Carry | None = None) -> None:
        """Note that all rows before this one are written."""
        self.spool.finish(rows, carry)

    def commit(self) -> None:
        """Make the output and remove what stands beside it.

        Raises:
            OSError: it cannot be written.
        """
        with self.committing():
            pass

    @contextmanager
    def committing(self) -> Iterator[None]:
        """Make the output ready; when the block ends without an error it appears.

        Raises:
            OSError: it cannot be written.
        """
        if self.rows_done != self.spool.shape[1]:
            raise ValueError(f"{self.spool.path}: {self.rows_done} of {self.spool.shape[1]} rows were written")
        with self.made():
            yield
        self.spool.delete()

    @abstractmethod
    def made(self) -> AbstractContextManager[None]:
        """Make the output out of `self.spool` under another name; at the end it gets its own."""

    @abstractmethod
    def converted(
        self, values: np.ndarray | None, aside: np.ndarray | None, window: tuple[slice, ...]
    ) -> np.ndarray | None:
        """Return the samples of a window, (C, *extent) of the dtype; None leaves them zero."""

    def abort(self) -> None:
        """Remove what stands beside the output."""
        self.spool.delete()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        """Keep the samples where the same work can go on from them: not where the input or an option is at fault."""
        if not self.spool.fingerprint or isinstance(error, UserError):
            self.abort()
        else:
            self.spool.close()


class SpooledSink(SpooledSamples):
    """An output file that is written window by window and appears whole at `commit`.

    A format says in `converted` how values become its samples, and in `encode` how the file is made of them.

    Args:
        path: the file.
        shape: as for `SpooledSamples`; so are the others.
        dtype: see `SpooledSamples`.
        geometry: see `SpooledSamples`.
        fingerprint: see `SpooledSamples`.

    Raises:
        UserError: see `SpooledSamples`.
    """

    def __init__(
        self,
        path: str | Path,
        shape: tuple[int, ...],
        dtype: np.dtype,
        geometry: Geometry | None = None,
        fingerprint: str = "",
    ) -> None:
        self.path = Path(path)
        super().__init__(self.path, shape, dtype, geometry, fingerprint)

    @contextmanager
    def made(self) -> Iterator[None]:
        """Write the file under another name; at the end it gets its own."""
        with written_beside(self.path) as part:
            self.encode(part)
            yield

    @abstractmethod
    def encode(self, part: Path) -> None:
        """Write the file, out of `self.spool`, under this temporary name."""

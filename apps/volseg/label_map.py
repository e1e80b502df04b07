"""The labels of a case on disk: computed window by window, then cleaned and made the files that were asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np

from ...core.errors import UserError
from ...core.inference.windows import slabs, whole
from ...data.geometry import VolumeGeometry
from ...data.io.sink import SpooledSamples, SpooledSink
from ...data.io.spool import Spool


class LabelMap(SpooledSamples):
    """A label map that becomes several files at `commit`.

    Args:
        place: a name beside which it is kept meanwhile.
        geometry: where its voxels lie.
        classes: how many there are, the background included.
        files: sinks of label maps on this grid, opened already, so that what they refuse is told before any work.
        finish: is given the whole map and may change it; may write further files under other names, which appear when
            the stack ends. Done again after an interruption, it must give the same.
        fingerprint: tells the same work again; "" never goes on from an earlier run.

    Raises:
        UserError: the disk has no room for the map, or another run makes the same now.
    """

    def __init__(
        self,
        place: Path,
        geometry: VolumeGeometry,
        classes: int,
        files: Sequence[SpooledSink],
        finish: Callable[[Spool, ExitStack], None],
        fingerprint: str = "",
    ) -> None:
        dtype = np.dtype(np.uint8 if classes <= 256 else np.uint16)
        super().__init__(place, (1, *geometry.shape), dtype, geometry, fingerprint)
        self.classes = classes
        self.files = files
        self.finished = finish

    def converted(
        self, values: np.ndarray | None, aside: np.ndarray | None, window: tuple[slice, ...]
    ) -> np.ndarray | None:
        """Return the labels of a window as they are.

        Raises:
            UserError: the network gives more classes than are known.
        """
        if values is not None and values.max() >= self.classes:
            raise UserError(
                f"the network gave class {values.max()}; its card names those below {self.classes}. Correct the card."
            )
        return values

    @contextmanager
    def made(self) -> Iterator[None]:
        """Clean the map and write the files under other names; at the end they get their own."""
        with ExitStack() as stack:
            self.finished(self.spool, stack)
            for each in self.files:
                self._copy(each)
                stack.enter_context(each.committing())
            yield

    def _copy(self, sink: SpooledSink) -> None:
        for window in slabs(whole(self.spool.shape[1:])):
            sink.write(window, self.spool.read(window), None)
        sink.finish(self.spool.shape[1])

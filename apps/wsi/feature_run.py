"""Features of many slides: in this process, or by several, each with an encoder of its own."""

from __future__ import annotations

import dataclasses
import logging
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from queue import SimpleQueue

import torch

from ...core.allocator import keep_freed_memory
from ...core.errors import UserError
from ...core.inference.batch import Item, Work, manifest_of, run_batch
from ...core.inference.device import Precision, find_device
from ...core.inference.engine import Progress
from ...data.io.slide import SlideSource
from .encoders import Encoder, open_encoder
from .extraction import extract
from .slides import Method, free_of_option, outlines_file, pair_slides, tissue_of
from .tile_files import find_tiles, read_tiles, stated_mpp, write_features
from .tiling import Tiles, check_tiling, plan_tiles

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """What the command `features` is told about each slide; see there."""

    encoder: str
    encoder_weights: Path | None = None
    tiles: Path | None = None
    mpp: float = 0.5
    size: int = 256
    step: int | None = None
    min_tissue: float = 0.25
    tissue: Path | None = None
    method: Method = "stain"
    slide_mpp: float | None = None
    batch: int = 32
    device: str = "auto"
    precision: Precision = "float32"


TILING = ("mpp", "size", "step", "min_tissue", "tissue", "method")
"""The settings that have no effect where tiles are given."""


def run_features(
    settings: Settings,
    inputs: Sequence[Path],
    output: Path,
    workers: int = 1,
    overwrite: bool = False,
    quiet: bool = False,
) -> None:
    """Write the features of slides.

    Args:
        settings: what to do with each.
        inputs: slides and folders of slides.
        output: a folder; for a single slide also a file.
        workers: slides worked on at once.
        overwrite: replace outputs that exist already.
        quiet: report nothing but errors.

    Raises:
        UserError: an option or the encoder's weights do not fit, or slides failed.
    """
    _check(settings, workers, output)
    uses = None
    if settings.tiles:
        uses = lambda slide: find_tiles(settings.tiles, slide)  # noqa: E731
    elif settings.tissue:
        uses = outlines_file(settings.tissue)
    items = free_of_option(pair_slides(inputs, output, ".h5", uses=uses), settings.slide_mpp)
    encoder = open_encoder(settings.encoder, settings.encoder_weights)
    workers = min(workers, len(items))
    with _worker(settings, encoder, workers) as work:
        facts = {"command": "features", **facts_of(settings, encoder)}
        run_batch(items, work, facts, overwrite, quiet, manifest_of(output, {".h5"}), workers=workers)


def describe(
    settings: Settings,
    encoder: Encoder,
    device: torch.device,
    slide: Path,
    output: Path,
    progress: Progress | None = None,
) -> str:
    """Write the features of one slide; return how many tiles there are and how fast they were computed.

    Raises:
        UserError: the slide cannot be used.
    """
    mpp, slide_mpp = settings.mpp, settings.slide_mpp
    tiles = None
    if settings.tiles:
        path = find_tiles(settings.tiles, slide)
        slide_mpp = slide_mpp or stated_mpp(path)
        with SlideSource(slide, slide_mpp=slide_mpp) as source:
            tiles = read_tiles(path, source)
            mpp = tiles.mpp
    with SlideSource(slide, mpp, slide_mpp) as source:
        tiles = tiles or lay_tiles(settings, source)
        begun = time.monotonic()
        found = extract(source, tiles, encoder, settings.batch, device, settings.precision, progress)
        rate = len(found) / (time.monotonic() - begun)
    write_features(output, tiles, found, encoder.name, encoder.digest, settings.precision)
    return f"{len(found)} tiles, {rate:.1f}/s"


def lay_tiles(settings: Settings, source: SlideSource) -> Tiles:
    """Return the tiles of a slide, which is read at their resolution.

    Raises:
        UserError: no tissue is found, or none that a tile can hold.
    """
    tissue = tissue_of(source, settings.tissue, settings.method)
    return plan_tiles(source, settings.size, settings.step, settings.min_tissue, tissue)


def check_settings(settings: Settings) -> None:
    """Refuse options that no slide could be described with.

    Raises:
        UserError: names the option.
    """
    check_tiling(settings.mpp, settings.size, settings.step, settings.min_tissue)
    find_device(settings.device)
    if settings.batch < 1:
        raise UserError(f"--batch {settings.batch}: give at least 1.")


def warn_unused(options: Mapping[str, object], reason: str) -> None:
    """Warn of options that have no effect and are not as in `Settings`, where they were not given."""
    defaults = {each.name: each.default for each in dataclasses.fields(Settings)}
    for name, value in options.items():
        if value != defaults[name]:
            logger.warning("--%s has no effect: %s.", name, reason)


def _check(settings: Settings, workers: int, output: Path) -> None:
    """Refuse options that do not fit; warn of those without effect."""
    check_settings(settings)
    if workers < 1:
        raise UserError(f"--workers {workers}: give at least 1.")
    if settings.tiles and not settings.tiles.is_dir():
        raise UserError(f"--tiles {settings.tiles}: there is no such folder; give one of .h5 files, or leave it out.")
    if settings.tiles and output.resolve() in (settings.tiles.resolve(), *settings.tiles.resolve().glob("*.h5")):
        raise UserError(f"--output {output}: would replace the tiles; give another place.")
    if settings.tiles:
        warn_unused({name: getattr(settings, name) for name in TILING}, "--tiles says where tiles lie")


def facts_of(settings: Settings, encoder: Encoder) -> dict[str, object]:
    """Return what features depend on beside the slide."""
    facts = dataclasses.asdict(settings)
    for name in ("encoder_weights", "batch", "device", *(TILING if settings.tiles else ())):
        del facts[name]
    return facts | {"encoder_digest": encoder.digest}


@contextmanager
def _worker(settings: Settings, encoder: Encoder, workers: int) -> Iterator[Work]:
    """Give what does the work for a slide."""
    if workers == 1:
        device = find_device(settings.device)

        def work(item: Item, mark: str, progress: Progress) -> str:
            return describe(settings, encoder, device, item.input, item.output, progress)

        yield work
        return
    processes = _Processes(settings, workers)
    try:
        yield processes.work
    finally:
        processes.close()


class _Processes:
    """Processes that each work on one slide; a slide that ends its process is told and a new one is begun."""

    def __init__(self, settings: Settings, workers: int) -> None:
        self.begin = [_beginning(settings, number, workers) for number in range(workers)]
        self.pools = [begin() for begin in self.begin]
        self.free: SimpleQueue[int] = SimpleQueue()
        for number in range(workers):
            self.free.put(number)

    def work(self, item: Item, mark: str, progress: Progress) -> str:
        """Let a free process do the work."""
        number = self.free.get()
        try:
            return self.pools[number].submit(_describe, item.input, item.output).result()
        except BrokenProcessPool:
            self.pools[number] = self.begin[number]()
            raise UserError(
                f"{item.input}: the process that worked on it was ended, perhaps as memory ran out; "
                "take fewer --workers or a smaller --batch."
            ) from None
        finally:
            self.free.put(number)

    def close(self) -> None:
        """End all processes."""
        for pool in self.pools:
            pool.shutdown(cancel_futures=True)


def _beginning(settings: Settings, number: int, workers: int) -> Callable[[], ProcessPoolExecutor]:
    """Return what begins a process; with automatic devices those of all processes are shared out."""
    gpus = torch.cuda.device_count()
    device = f"cuda:{number % gpus}" if settings.device == "auto" and gpus else settings.device
    threads = max((os.cpu_count() or 1) // workers, 1)
    arguments = dataclasses.replace(settings, device=device), threads
    return lambda: ProcessPoolExecutor(1, get_context("spawn"), _open, arguments)


_opened: tuple[Settings, Encoder, torch.device] | None = None  # of a worker process


def _open(settings: Settings, threads: int) -> None:
    global _opened
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # an interrupted process ends without a traceback
    keep_freed_memory()
    torch.set_num_threads(threads)
    _opened = settings, open_encoder(settings.encoder, settings.encoder_weights), find_device(settings.device)


def _describe(slide: Path, output: Path) -> str:
    return describe(*_opened, slide, output)

"""Simulating the pictures of a folder by either model. Arrays are (C, H, W)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from zlib import crc32

import numpy as np

from ... import __version__
from ...core.errors import UserError
from ...core.inference.batch import Item, manifest_of, pair_paths, run_batch
from ...core.inference.engine import Progress
from ...core.inference.streams import Sink, Source
from ...data.io.formats import IMAGE_SUFFIXES, kind_of
from ...data.io.image import ImageSink, ImageSource
from .attenuation import Display
from .physics import UnderDisplay

logger = logging.getLogger(__name__)

ROWS = 256  # of the physical model at once; the noise of each such band has its own seed
LOSSY = (".jpg", ".jpeg")
Seed = tuple[int, int]
Model = Callable[[Source, Sink, Seed, Progress], None]
"""Makes a picture of a source, of which it writes the rows that the sink does not have yet."""


@dataclass(frozen=True)
class Settings:
    """What the command `simulate` was given; see there."""

    model: str
    display: Display | None
    linear: bool
    seed: int
    bits: Literal[8, 16] | None
    page: int | None
    tile: int | Literal["auto", "whole"]
    device: str


def simulate_files(
    settings: Settings, inputs: Sequence[Path], output: Path, overwrite: bool = False, quiet: bool = False
) -> None:
    """Simulate pictures.

    Args:
        settings: how.
        inputs: files and folders.
        output: a file or a folder.
        overwrite: replace outputs that exist already.
        quiet: report nothing but errors.

    Raises:
        UserError: an option, the weights or an input does not fit.
    """
    if settings.seed < 0:
        raise UserError(f"--seed {settings.seed}: give 0 or more.")
    model, facts = _physical(settings) if settings.model == "physical" else _learnt(settings)

    def work(item: Item, mark: str, progress: Progress) -> None:
        kind_of(item.input, ("image",))
        with (
            ImageSource(item.input, channels=3, page=settings.page) as source,
            _sink(item.output, source, settings.bits, mark) as sink,
        ):
            model(source, sink, seed_of(item.input, settings.seed), progress)

    items = pair_paths(inputs, output, IMAGE_SUFFIXES, name=_name)
    facts |= {"version": __version__, "seed": settings.seed, "bits": settings.bits, "page": settings.page}
    unit = "rows" if settings.model == "physical" else "tiles"
    run_batch(items, work, facts, overwrite, quiet, manifest_of(output, IMAGE_SUFFIXES), unit)


def seed_of(path: Path, seed: int) -> Seed:
    """Return the seed of a picture's noise, which another name or seed does not have."""
    return seed, crc32(path.name.encode())


def run_physical(model: UnderDisplay, source: Source, sink: Sink, seed: Seed, progress: Progress | None = None) -> None:
    """Take a picture through a display, band of rows after band of rows.

    Each band is spread with its neighbours within reach, and each pixel draws for itself, so that bands have no seams.

    Args:
        model: the display and the camera.
        source: the clean picture.
        sink: gets the degraded one.
        seed: of the noise.
        progress: is told of finished rows.
    """
    height, width = source.shape[1:]
    columns = slice(0, width)
    for top in range(sink.rows_done, height, ROWS):
        stop = min(top + ROWS, height)
        above, below = max(top - model.reach, 0), min(stop + model.reach, height)
        exposed = model.exposed(source.read((slice(above, below), columns)))[:, top - above : stop - above]
        degraded = model.recorded(exposed, np.random.default_rng([*seed, top // ROWS]))
        window = (slice(top, stop), columns)
        sink.write(window, degraded, sink.aside(window))
        sink.finish(stop, {})
        if progress:
            progress(stop, height)
    sink.commit()


def _physical(settings: Settings) -> tuple[Model, dict[str, object]]:
    for name, default in (("device", "auto"), ("tile", "auto")):
        if getattr(settings, name) != default:
            logger.warning("--%s has no effect on the physical model.", name)
    model = UnderDisplay(settings.display or "toled", light="linear" if settings.linear else "srgb")

    def run(source: Source, sink: Sink, seed: Seed, progress: Progress) -> None:
        run_physical(model, source, sink, seed, progress)

    return run, {"model": "physical", "physics": model.digest}


def _learnt(settings: Settings) -> tuple[Model, dict[str, object]]:
    from ...core.inference.command import open_program
    from .learnt_run import run_learnt
    from .models.mpgnet import MPGNet

    for name in ("display", "linear"):
        if getattr(settings, name):
            logger.warning("--%s has no effect: the weights of MPGNet say which display they know.", name)
    net, facts = open_program(None, settings.model, settings.device)
    if not isinstance(net, MPGNet):
        raise UserError(f"--model {settings.model}: holds no MPGNet but {net.card.name}; give weights of a simulator.")

    def run(source: Source, sink: Sink, seed: Seed, progress: Progress) -> None:
        run_learnt(net, net.card, source, sink, seed, progress, settings.tile, settings.device)

    return run, {"model": "mpgnet", **facts, "tile": settings.tile}


def _name(path: Path) -> str:
    return path.stem + ".png" if path.suffix.lower() in LOSSY else path.name


def _sink(path: Path, source: ImageSource, bits: int | None, mark: str) -> ImageSink:
    """Return the sink of a picture in colour, with the alpha of its source."""
    dtype = np.dtype(f"uint{bits}") if bits else source.dtype
    if source.has_alpha and dtype != source.dtype:
        raise UserError(
            f"{source.path}: has alpha, which keeps its {source.dtype.itemsize * 8} bits; leave out --bits."
        )
    profile = source.picture.icc_profile if source.colours == 3 else None
    shape = (3 + source.has_alpha, *source.shape[1:])
    return ImageSink(path, shape, dtype, profile, source=source, fingerprint=mark)

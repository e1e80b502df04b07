"""What an app was run on at its largest and smallest, and what lower precision changes: the table of its limits."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from measure import CLOCK, Table, card_of, in_fresh_process, status_megabytes
from torch import Tensor, nn

from foveal.core.allocator import keep_freed_memory
from foveal.core.bench.measure import medians, peak_megabytes
from foveal.core.cli import main
from foveal.core.inference.device import autocast
from foveal.core.weights.card import Card
from foveal.core.weights.files import save_weights
from foveal.data.io.image import write_image

HEAD = "| what | input | seconds | a second | MB | from float32 |"
PRECISIONS = ("float32", "bfloat16", "float16")


class FileRow(NamedTuple):
    """The command `infer` from file to file in a process of its own; its memory is all that the process holds.

    Attributes:
        what: says it.
        size: of the input.
        make: writes the input of that size.
        source: name of the input.
        target: name of the output.
        options: of the command.
        made: another network than the app's, and its card.
    """

    what: str
    size: tuple[int, ...]
    make: Callable[[Path, tuple[int, ...]], None]
    source: str
    target: str
    options: tuple[str, ...] = ()
    made: Callable[[], tuple[nn.Module, Card]] | None = None


class Subject(NamedTuple):
    """An app with a network, of which the weights are random.

    Attributes:
        app: its name.
        made: the network and its card.
        shape: of the network's input in the rows of the precisions.
        size: what is told of that.
        unit: what a sample is called, such as "pixels".
        files: what is run from file to file.
    """

    app: str
    made: Callable[[], tuple[nn.Module, Card]]
    shape: tuple[int, ...]
    size: tuple[int, ...]
    unit: str
    files: Mapping[str, FileRow]


def picture(path: Path, size: tuple[int, ...], bands: int = 3) -> None:
    """Write waves in colours as an image file of this height and width."""
    rows, columns = np.ogrid[: size[0], : size[1]]
    waves = [127 * (1 + np.sin(rows / (7 + band) + columns / 11)) for band in range(bands)]
    write_image(path, np.stack(waves).astype(np.uint8))


def grey_picture(path: Path, size: tuple[int, ...]) -> None:
    """Write grey waves."""
    picture(path, size, 1)


def built(app: str, make: type[nn.Module], arguments: dict[str, object], **facts: object) -> tuple[nn.Module, Card]:
    """Return a network and its card, with further facts of that."""
    net = make(**arguments)
    network = {"class_path": f"{make.__module__}.{make.__name__}", "init_args": arguments}
    return net, card_of(app=app, network=network, **facts)


def limits_table(script: str, title: str, subject: Subject, note: str) -> Table:
    """Return the table of an app."""

    def compared(row: str) -> str:
        return _file_line(script, subject, row) if row in subject.files else _precision_line(script, subject, row)

    def measured(row: str, *words: str) -> object:
        return _infer(subject, row, *words) if row in subject.files else peak_megabytes(_forward(subject, row))

    return Table(f"{title}: limits", HEAD, [*PRECISIONS, *subject.files], compared, measured, note)


def _file_line(script: str, subject: Subject, row: str) -> str:
    what, size, make, source, *_, made = subject.files[row]
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder, source), size)
        torch.manual_seed(0)
        save_weights(*(made or subject.made)(), Path(folder, "weights.safetensors"))
        seconds, megabytes = in_fresh_process(script, row, folder)
    return _line(what, size, subject.unit, seconds, megabytes, "")


def _infer(subject: Subject, row: str, folder: str) -> list[float]:
    """Run the command in this process; return the seconds and the megabytes at the peak."""
    *_, source, target, options, _ = subject.files[row]
    files = [f"--input={folder}/{source}", f"--output={folder}/{target}", f"--weights={folder}/weights.safetensors"]
    start = CLOCK()
    assert main([subject.app, "infer", *files, "--device=cpu", "--quiet", *options]) == 0
    return [CLOCK() - start, status_megabytes("VmHWM")]


def _precision_line(script: str, subject: Subject, precision: str) -> str:
    call, whole = _forward(subject, precision), _forward(subject, "float32")
    (seconds,), expected, found = medians([call], repeats=1), whole(), call()
    difference = float((found.float() - expected).norm() / expected.norm())
    shown = "" if precision == "float32" else f"{difference:.0e}"
    megabytes = in_fresh_process(script, precision)
    return _line(f"The network alone, {precision}", subject.size, subject.unit, seconds, megabytes, shown)


def _forward(subject: Subject, precision: str) -> Callable[[], Tensor]:
    """Return what runs the network on random numbers, always the same."""
    keep_freed_memory()  # as every command does
    torch.manual_seed(0)
    net, x = subject.made()[0].eval(), torch.rand(subject.shape)
    context = autocast(torch.device("cpu"), precision) if precision != "float32" else nullcontext()

    def call() -> Tensor:
        with torch.inference_mode(), context:
            return net(x)

    return call


def _line(what: str, size: tuple[int, ...], unit: str, seconds: float, megabytes: float, difference: str) -> str:
    number = torch.Size(size).numel()
    throughput = f"{number / seconds:,.0f}" if number < 1e5 else f"{number / seconds / 1e6:.3f} million"
    extent = " x ".join(f"{each:,}" for each in size)
    return f"| {what} | {extent} {unit} | {seconds:.2f} | {throughput} | {megabytes:.0f} | {difference} |"

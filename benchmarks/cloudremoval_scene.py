"""What the cloud-free image of a scene takes: `python benchmarks/cloudremoval_scene.py [ROW ...]`.

The command `foveal cloudremoval infer` on three dates in a process of its own, from folder to files: seconds,
megapixels of the scene per second and peak resident memory. The weights are random. The table is printed and appended
to benchmarks/RESULTS.md.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from inference_memory import make_scene
from measure import CLOCK, UNIT, in_fresh_process, run, status_megabytes

from foveal.apps.cloudremoval.models.pmaa import PMAA
from foveal.apps.cloudremoval.task import CloudRemoval
from foveal.core.cli import main
from foveal.core.weights.files import save_weights
from foveal.data.datasets.made_places import MadePlaces

DATES = ("2018-03-07", "2018-06-10", "2018-07-30")


class Row(NamedTuple):
    """What is measured.

    Attributes:
        title: of the row.
        side: of the scene in pixels.
        make: writes the dates of a scene of that side into a folder.
        network: arguments of PMAA.
        options: of the command.
    """

    title: str
    side: int
    make: Callable[[Path, int], None]
    network: dict[str, int]
    options: tuple[str, ...]


def make_full(folder: Path, side: int) -> None:
    """Write landscapes under clouds."""
    made = folder.with_name("made")
    MadePlaces(str(made), count=1, days=len(DATES), side=side).images()
    (made / "made_00").rename(folder)


def make_sparse(folder: Path, side: int) -> None:
    """Write dates of which one block of 512x512 in 31 holds data."""
    folder.mkdir()
    for date in DATES:
        make_scene(folder / f"{date}.tif", side)


BESIDE = ("--keep-clear", "--cloud-mask", "--quicklook")
ROWS = {
    "scene_throughput": Row("PMAA as published, {0} x {0}", 1024, make_full, {}, ()),
    "scene_memory": Row(
        "PMAA of 4 channels, with all but the confidence, {0} x {0} of which 3 % hold data",
        10_980,
        make_sparse,
        {"dim": 4},
        (*BESIDE, "--bands", "1", "2", "3", "4"),
    ),
}
HEAD = f"| what | {UNIT.removesuffix('ms')}s | megapixels/s | MB |"


def write_weights(path: Path, arguments: dict[str, int]) -> None:
    """Write random weights with the card that a training gives them."""
    task = CloudRemoval(PMAA(**arguments), discriminator_widths=())
    task.network = {"class_path": f"{PMAA.__module__}.PMAA", "init_args": arguments}
    save_weights(task.net, task.card(), path)


def measured(row: str, folder: str) -> list[float]:
    """Clear the scene of a folder in this process; return the seconds and the peak megabytes."""
    place, weights, output = (str(Path(folder, name)) for name in ("place", "weights.safetensors", "out/clear.tif"))
    files = ["--input", place, "--weights", weights, "--output", output]
    start = CLOCK()
    assert main(["cloudremoval", "infer", *files, "--device", "cpu", "--quiet", *ROWS[row].options]) == 0
    return [CLOCK() - start, status_megabytes("VmHWM")]


def compared(row: str) -> str:
    """Measure a scene and return a line of the table."""
    title, side, make, network, _ = ROWS[row]
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder, "place"), side)
        write_weights(Path(folder, "weights.safetensors"), network)
        seconds, megabytes = in_fresh_process(__file__, row, folder)
    return f"| {title.format(f'{side:,}')} | {seconds:.0f} | {side**2 / 1e6 / seconds:.3f} | {megabytes:.0f} |"


if __name__ == "__main__":
    run(__doc__, "Cloud-free scenes", HEAD, ROWS, compared, measured)

"""What this machine can do, what it cannot, and why: `foveal doctor`."""

import os
import platform
import re
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.metadata import PackageNotFoundError, requires, version
from typing import NamedTuple

from .. import __version__


class Finding(NamedTuple):
    """One line of the report: a thing of this machine, whether it can be used, and the facts or the remedy."""

    topic: str
    name: str
    usable: bool
    detail: str


def doctor() -> int:
    """Print the report, as a table on a terminal and as plain lines elsewhere.

    Returns:
        0, or 1 where a package that Foveal needs is missing.
    """
    findings = examine()
    if sys.stdout.isatty():
        _print_table(findings)
    else:
        _print_lines(findings)
    return 0 if all(each.usable for each in findings if each.topic == "packages") else 1


def examine() -> list[Finding]:
    """Look at the machine and return everything found, topic by topic."""
    topics: tuple[Callable[[], Iterator[Finding]], ...] = (_system, _devices, _kernels, _formats, _exports, _packages)
    return [finding for topic in topics for finding in _survived(topic)]


def _survived(topic: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """Yield what a topic finds; a package that cannot be imported is a finding too."""
    try:
        yield from topic()
    except (ImportError, OSError) as error:
        yield Finding(topic.__name__.strip("_"), "-", False, _first_sentence(error))


def _system() -> Iterator[Finding]:
    import torch

    yield Finding(
        "system", "Foveal", True, f"{__version__}, Python {platform.python_version()}, {platform.platform(terse=True)}"
    )
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    threads = f"{torch.get_num_threads()} PyTorch threads on {cores} cores, {torch.backends.cpu.get_cpu_capability()}"
    yield Finding("system", "CPU", True, threads)


def _devices() -> Iterator[Finding]:
    import torch

    for index in range(torch.cuda.device_count()):
        found = torch.cuda.get_device_properties(index)
        detail = f"{found.name}, {found.total_memory / 2**30:.0f} GiB, compute capability {found.major}.{found.minor}"
        yield Finding("devices", f"cuda:{index}", True, detail)
    if not torch.cuda.is_available():
        yield Finding("devices", "cuda", False, _why_no_cuda())
    if sys.platform == "darwin":
        mps = torch.backends.mps.is_available()
        yield Finding("devices", "mps", mps, "Apple GPU" if mps else "this PyTorch or macOS has no Metal support")


def _why_no_cuda() -> str:
    import torch

    if torch.version.cuda is None:
        return "this PyTorch was built without CUDA; everything runs on the CPU"
    try:
        torch.cuda.init()
    except (RuntimeError, AssertionError) as error:
        return f"{_first_sentence(error)}; everything runs on the CPU"
    return "no NVIDIA GPU is visible; everything runs on the CPU"


def _kernels() -> Iterator[Finding]:
    import torch

    try:
        found = f"Triton {import_module('triton').__version__}"
    except ImportError:
        yield Finding("kernels", "Triton", False, "not installed (it needs Linux); the PyTorch kernels run instead")
        return
    gpu = torch.cuda.is_available()
    yield Finding("kernels", "Triton", gpu, found if gpu else f"{found} needs a GPU; the PyTorch kernels run instead")


def _formats() -> Iterator[Finding]:
    readers: dict[str, Callable[[], str]] = {
        "PNG": lambda: _gdal("PNG"),
        "JPEG": lambda: _gdal("JPEG"),
        "TIFF, GeoTIFF": lambda: _gdal("GTiff"),
        "DICOM": _dicom,
        "NIfTI": lambda: f"nibabel {import_module('nibabel').__version__}",
        "whole slides": lambda: f"OpenSlide {import_module('openslide').__library_version__}",
    }
    for name, read in readers.items():
        try:
            yield Finding("formats", name, True, read())
        except (ImportError, OSError, LookupError) as error:
            yield Finding("formats", name, False, _first_sentence(error))


def _gdal(driver: str) -> str:
    import rasterio

    with rasterio.Env() as environment:
        if driver not in environment.drivers():
            raise LookupError(f"GDAL {rasterio.__gdal_version__} was built without {driver}; reinstall rasterio")
    return f"GDAL {rasterio.__gdal_version__}"


def _dicom() -> str:
    from pydicom import __version__ as release
    from pydicom.pixels import get_decoder
    from pydicom.uid import HTJ2KLossless, JPEG2000Lossless, JPEGBaseline8Bit, JPEGLosslessSV1, JPEGLSLossless

    kinds = {
        "JPEG": JPEGBaseline8Bit,
        "JPEG Lossless": JPEGLosslessSV1,
        "JPEG-LS": JPEGLSLossless,
        "JPEG 2000": JPEG2000Lossless,
        "HTJ2K": HTJ2KLossless,
    }
    missing = [name for name, syntax in kinds.items() if not get_decoder(syntax).is_available]
    without = f", without {' and '.join(missing)} (`pip install 'pylibjpeg[all]'` adds them)" if missing else ""
    return f"pydicom {release}{without}"


def _exports() -> Iterator[Finding]:
    from .export.aoti import find_compiler

    yield Finding("exports", "TorchScript, pt2", True, f"PyTorch {version('torch')}")
    compiler, path = find_compiler()
    yield Finding(
        "exports",
        "AOTInductor",
        bool(path),
        path or f"needs the C++ compiler {compiler!r}; install it, or name another in CXX",
    )
    missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if not _release(name)]
    found = f"ONNX Runtime {_release('onnxruntime')}"
    lacking = f"`pip install {' '.join(missing)}` adds it"
    yield Finding("exports", "ONNX", not missing, lacking if missing else found)


def _packages() -> Iterator[Finding]:
    for requirement in requires("foveal") or ():
        condition = requirement.partition(";")[2]
        name = re.match(r"[\w.-]+", requirement)[0]
        if "extra ==" in condition or ("Linux" in condition and platform.system() != "Linux"):
            continue
        release = _release(name)
        yield Finding("packages", name, bool(release), release or f"missing; `pip install '{requirement}'` adds it")


def _release(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _first_sentence(error: Exception) -> str:
    return str(error).partition("\n")[0].partition(". ")[0] or type(error).__name__


def _print_lines(findings: list[Finding]) -> None:
    width = max(len(each.name) for each in findings)
    topic = None
    for each in findings:
        if each.topic != topic:
            print(f"{each.topic}:")
            topic = each.topic
        print(f"  {'ok' if each.usable else 'no'}  {each.name:<{width}}  {each.detail}")


def _print_table(findings: list[Finding]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    topic = None
    for each in findings:
        mark = Text("✓", "green") if each.usable else Text("✗", "red")
        table.add_row(Text("" if each.topic == topic else each.topic, "bold"), mark, each.name, Text(each.detail))
        topic = each.topic
    Console().print(table)

"""Time and peak memory of a call, measured so that two forms can be compared in one run."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import torch

RESULTS = Path(__file__).with_name("RESULTS.md")


def medians(calls: list[Callable[[], object]], repeats: int = 3) -> list[float]:
    """Return the median seconds of each call; the calls take turns, after one warm-up of each."""
    times: list[list[float]] = [[] for _ in calls]
    for _ in range(repeats + 1):
        for call, taken in zip(calls, times, strict=True):
            start = time.perf_counter()
            call()
            taken.append(time.perf_counter() - start)
    return [statistics.median(taken[1:]) for taken in times]


def peak_megabytes(call: Callable[[], object]) -> float:
    """Return by how much a call raises the resident memory of this process at its peak (Linux)."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak so far, of the imports, is forgotten
    before = status_megabytes("VmRSS")
    call()
    return status_megabytes("VmHWM") - before


def in_fresh_process(script: str, *arguments: str) -> Any:
    """Run `script --peak ARGUMENTS...` in a process of its own and return what its last line says in JSON."""
    command = [sys.executable, script, "--peak", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def record(title: str, lines: list[str]) -> None:
    """Print a section of results with today's date and this machine, and append it to benchmarks/RESULTS.md."""
    text = "\n".join([f"## {title}, {date.today()}", "", machine(), "", *lines]) + "\n"
    print(text)
    with RESULTS.open("a") as file:
        file.write("\n" + text)


def machine() -> str:
    """Return the processor, the threads used and the versions that decide a timing."""
    model = platform.processor()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = info.read_text().splitlines()
        model = next((line.partition(": ")[2] for line in lines if line.startswith("model name")), model)
    threads = torch.get_num_threads()
    return (
        f"{model}, {threads} threads of {os.cpu_count()}, Python {platform.python_version()}, torch {torch.__version__}"
    )


def status_megabytes(name: str) -> float:
    """Return a field of the memory status of this process in megabytes (Linux): VmRSS now, VmHWM at the peak."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) * 1024 / 1e6

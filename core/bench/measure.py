"""Time and peak memory of a call, what runs in a process of its own, and the machine that it ran on."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

CLOCK = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
"""With one thread it is processor time that is measured, which other work on the machine changes least."""
UNIT = "processor ms" if CLOCK is time.process_time else "ms"


def medians(calls: list[Callable[[], object]], repeats: int = 3) -> list[float]:
    """Return the median seconds of each call by `CLOCK`; the calls take turns, after one warm-up of each."""
    times: list[list[float]] = [[] for _ in calls]
    for _ in range(repeats + 1):
        for call, taken in zip(calls, times, strict=True):
            start = CLOCK()
            call()
            taken.append(CLOCK() - start)
    return [statistics.median(taken[1:]) for taken in times]


def gpu_median(call: Callable[[], object], repeats: int = 10) -> float:
    """Return the median seconds of a call on the current GPU, by its own clock, after three warm-ups."""
    times = []
    for _ in range(repeats + 3):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        call()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end) / 1e3)
    return statistics.median(times[3:])


def peak_megabytes(call: Callable[[], object]) -> float:
    """Return by how much a call raises the resident memory of this process at its peak (Linux)."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak so far, of the imports, is forgotten
    before = status_megabytes("VmRSS")
    call()
    return status_megabytes("VmHWM") - before


def gpu_peak_megabytes(call: Callable[[], object]) -> float:
    """Return by how much a call raises the memory of tensors on the current GPU at its peak."""
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    call()
    return (torch.cuda.max_memory_allocated() - before) / 1e6


def status_megabytes(name: str) -> float:
    """Return a field of the memory status of this process in megabytes (Linux): VmRSS now, VmHWM at the peak."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) * 1024 / 1e6


def in_fresh_python(*words: str) -> Any:
    """Run Python with these words in a process of its own and return what its last line says in JSON.

    Raises:
        subprocess.CalledProcessError: it failed or was killed.
    """
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


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

"""Reading files that may hang, crash or fill the memory: in worker processes that are watched."""

from __future__ import annotations

import multiprocessing
import re
import resource
import signal
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import import_module
from multiprocessing.connection import Connection
from pathlib import Path

MEGABYTE = 1 << 20
READ, REFUSED, HANG, CRASH, MEMORY, OTHER = "read", "refused", "hang", "crash", "memory", "other"
OUTCOMES = (READ, REFUSED, HANG, CRASH, MEMORY, OTHER)
GOOD = (READ, REFUSED)


@dataclass(frozen=True)
class Outcome:
    """What became of one file.

    Attributes:
        kind: "read"; "refused" by one clear error; "hang" (too many seconds); "crash" (the process died); "memory"
            (took too much); "other" (an exception, or an error that is not one line which names the file).
        reason: the error, or what was seen.
        seconds: of computation.
        megabytes: by which the process grew, at its peak.
    """

    kind: str
    reason: str = ""
    seconds: float = 0.0
    megabytes: float = 0.0


@dataclass(frozen=True)
class Limits:
    """What reading one file may take.

    Attributes:
        seconds: of computation by the process, which does not depend on what else the machine does.
        patience: seconds until an answer must be there.
        megabytes: by which the process may grow at its peak.
    """

    seconds: float = 5.0
    patience: float = 60.0
    megabytes: float = 256.0


class Pool:
    """Long-lived workers, each reading one file at a time; one that died or was ended is replaced.

    Args:
        reader: import path "package.module:function" of what reads a file: f(path).
        limits: for each file.
        workers: processes at a time.
    """

    def __init__(self, reader: str, limits: Limits | None = None, workers: int = 1) -> None:
        self.reader = reader
        self.limits = limits or Limits()
        self.threads = ThreadPoolExecutor(workers)
        self.local = threading.local()
        self.started: list[_Worker] = []

    def outcomes(self, paths: Iterable[Path]) -> Iterator[Outcome]:
        """Read every file; give the outcomes in the order of the files."""
        return self.threads.map(self._read, paths)

    def close(self) -> None:
        """End the workers."""
        self.threads.shutdown(cancel_futures=True)
        for worker in self.started:
            worker.end()

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read(self, path: Path) -> Outcome:
        worker = getattr(self.local, "worker", None)
        if worker is None:
            worker = self.local.worker = _Worker(self.reader, self.limits)
            self.started.append(worker)
        outcome = worker.read(path)
        if outcome.kind in (HANG, CRASH, MEMORY):  # also after much memory was taken: it may not have been given back
            worker.end()
            self.local.worker = None
        return outcome


class _Worker:
    """A process that reads files, one after the other."""

    def __init__(self, reader: str, limits: Limits) -> None:
        self.limits = limits
        context = multiprocessing.get_context("spawn")  # a fork would share locks and open files of the libraries
        self.connection, other = context.Pipe()
        self.process = context.Process(target=_serve, args=(other, reader, limits), daemon=True)
        self.process.start()
        other.close()
        if not self.connection.poll(120) or self.connection.recv() != "ready":
            raise RuntimeError(f"the worker that reads by {reader} did not start")

    def read(self, path: Path) -> Outcome:
        self.connection.send(path)
        if not self.connection.poll(self.limits.patience):
            return Outcome(HANG, f"gave no answer for {self.limits.patience:g} s")
        try:
            return self.connection.recv()
        except EOFError:
            self.process.join(10)
            code = self.process.exitcode or 0
            if -code == signal.SIGPROF:
                return Outcome(HANG, f"took more than {self.limits.seconds:g} s", self.limits.seconds)
            name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
            return Outcome(CRASH, f"the process died: {name}")

    def end(self) -> None:
        self.process.kill()
        self.process.join()
        self.connection.close()


def _serve(connection: Connection, reader: str, limits: Limits) -> None:
    """Read the files that come through the connection; answer with outcomes."""
    module, _, name = reader.partition(":")
    read = getattr(import_module(module), name)
    room = _status("VmSize") + 4 * limits.megabytes + 1024
    resource.setrlimit(resource.RLIMIT_AS, (int(room * MEGABYTE),) * 2)  # so that the machine itself stays usable
    connection.send("ready")
    while True:
        try:
            path = connection.recv()
        except EOFError:
            return
        signal.setitimer(signal.ITIMER_PROF, limits.seconds)  # its signal ends the process, in compiled code too
        outcome = _outcome(read, path, limits)
        signal.setitimer(signal.ITIMER_PROF, 0)
        connection.send(outcome)


def _outcome(read: object, path: Path, limits: Limits) -> Outcome:
    before, start = _reset_peak(), time.process_time()
    kind, reason = _told(read, path)
    seconds, megabytes = time.process_time() - start, _status("VmHWM") - before
    if kind in (*GOOD, OTHER) and megabytes > limits.megabytes:
        kind, reason = MEMORY, f"grew by {megabytes:.0f} MB; {reason}"
    return Outcome(kind, reason, seconds, megabytes)


def _told(read: object, path: Path) -> tuple[str, str]:
    from foveal.core.errors import UserError

    try:
        read(path)
    except UserError as error:
        return _judged(str(error), path)
    except MemoryError as error:
        return MEMORY, f"MemoryError: {error}"
    except Exception as error:
        return OTHER, f"{type(error).__module__}.{type(error).__name__}: {error}"[:2000]
    return READ, ""


def _judged(message: str, path: Path) -> tuple[str, str]:
    """Tell whether an error is clear: one line that names the file, and no allocation that failed only here."""
    if re.search(r"\balloc|out of memory|not enough memory", message, re.IGNORECASE):
        return MEMORY, message
    if "\n" in message or path.name not in message:
        return OTHER, f"not one line that names the file: {message}"
    return REFUSED, message


def _reset_peak() -> float:
    """Let the peak of the memory be counted from here; return what is in use, megabytes."""
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def _status(field: str) -> float:
    """Return a size from the kernel's account of this process, megabytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:")) / 1024

"""What one token mixer costs: weights, multiply-adds, time, memory. Run as a module, it measures and prints JSON."""

from __future__ import annotations

import json
import math
import statistics
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, flop_registry

from ..allocator import keep_freed_memory
from .measure import gpu_median, gpu_peak_megabytes, in_fresh_python, medians, peak_megabytes
from .mixers import build, find_mixer, short_name, takes_channels_first

QUARTERS = (2, 3, 4, 5)
"""The sides that are measured, in quarters of the wanted one: what windows divide it, they divide."""
WANTED = QUARTERS.index(4)


@dataclass
class Cost:
    """What a mixer costs, on one map of each side; None where it could not be measured.

    Attributes:
        name: of the mixer.
        tokens: of the map of each side.
        parameters: weights, at the wanted side.
        multiply_adds: of matrix products and convolutions there.
        forward: seconds at each side.
        step: seconds forward and backward at the wanted side.
        megabytes: by which forward and backward raise the memory at their peak there.
        notes: one line each: what could not run and why, what was not counted.
    """

    name: str
    tokens: list[int]
    parameters: int | None = None
    multiply_adds: int | None = None
    forward: list[float | None] = field(default_factory=lambda: [None] * len(QUARTERS))
    step: float | None = None
    megabytes: float | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def growth(self) -> float | None:
        """With which power of the number of tokens the forward time grows, by least squares on logarithms."""
        points = [(math.log(n), math.log(t)) for n, t in zip(self.tokens, self.forward, strict=True) if t]
        return statistics.linear_regression(*zip(*points, strict=True)).slope if len(points) == len(QUARTERS) else None


def sides(size: int) -> list[int]:
    """Return the sides that are measured for a wanted one."""
    return [size * quarters // 4 for quarters in QUARTERS]


def measured_apart(name: str, dimension: int, size: int, dim: int, heads: int, device: str) -> Cost:
    """Measure a mixer in a process of its own, whose memory is its alone and whose end ends nothing else."""
    options = {"name": name, "dimension": dimension, "size": size, "dim": dim, "heads": heads, "device": device}
    try:
        return Cost(**in_fresh_python("-m", f"{__package__}.cost", json.dumps(options)))
    except subprocess.CalledProcessError as failed:
        said = failed.stderr.strip().splitlines() if failed.returncode > 0 else []
        killed = "was killed, as where the memory is full" if failed.returncode == -9 else "its process was ended"
        reason = said[-1] if said else killed
        return Cost(short_name(find_mixer(name)), _tokens(dimension, size), notes=[reason])


def measure(name: str, dimension: int, size: int, dim: int, heads: int, device: str) -> Cost:
    """Measure a mixer in this process.

    Args:
        name: of the mixer, as `find_mixer` takes it.
        dimension: spatial axes of the map.
        size: tokens along each axis.
        dim: channels.
        heads: attention heads.
        device: "cpu", "cuda" or "cuda:1".
    """
    place = torch.device(device)
    if place.index is not None:
        torch.cuda.set_device(place)
    mixer = find_mixer(name)
    cost = Cost(short_name(mixer), _tokens(dimension, size))
    failed: dict[str, list[str]] = {}

    def made(side: int) -> tuple[nn.Module, Tensor]:
        torch.manual_seed(0)
        net = build(mixer, dimension, side, dim, heads).to(device)
        space = [side] * dimension
        return net, torch.randn(1, *([dim, *space] if takes_channels_first(mixer) else [*space, dim]), device=device)

    def attempt(what: str, work: Callable[[], Any]) -> Any:
        try:
            return work()
        except Exception as error:  # a mixer can refuse a map in every possible way; the other sizes are measured
            reason = str(error).strip().partition("\n")[0] or type(error).__name__
            failed.setdefault(reason, []).append(what)
            return None

    gpu = place.type == "cuda"
    if gpu or Path("/proc/self/clear_refs").exists():
        peak = gpu_peak_megabytes if gpu else peak_megabytes
        small = max(size // 4, 1)  # loads the libraries, whose memory is not the mixer's
        attempt(f"forward and backward at {small}", lambda: _training(*made(small))())
        cost.megabytes = attempt("memory", lambda: peak(_training(*made(size))))
    time = gpu_median if gpu else lambda call: medians([call], 9)[0]
    cost.step = attempt(f"forward and backward at {size}", lambda: time(_training(*made(size))))
    for number, side in enumerate(sides(size)):
        cost.forward[number] = attempt(f"forward at {side}", lambda side=side: time(_inference(*made(side))))
    counted = attempt("multiply-adds", lambda: count(*(each.cpu() for each in made(size))))
    if counted is not None:
        cost.parameters, cost.multiply_adds, uncounted = counted
        cost.notes += [f"multiply-adds of {', '.join(uncounted)} are not counted"] if uncounted else []
    works = cost.step is not None or any(cost.forward)
    cost.notes += [f"{', '.join(what) if works else 'cannot run'}: {reason}" for reason, what in failed.items()]
    return cost


def count(net: nn.Module, x: Tensor) -> tuple[int, int, list[str]]:
    """Return the weights, the multiply-adds of the products and convolutions, and the other operators that multiply.

    What elementwise operators do, softmax and norms among them, is never counted, as usual.
    """
    with torch.no_grad(), _Uncounted() as others, FlopCounterMode(display=False) as counter:
        net.eval()(x)
    return sum(each.numel() for each in net.parameters()), counter.get_total_flops() // 2, sorted(others.names)


class _Uncounted(TorchDispatchMode):
    """Notes operators that multiply matrices or transform, of which the counter knows no formula."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        packet = func.overloadpacket
        name = packet.__name__
        foreign = func.namespace not in ("aten", "prim", "prims", "profiler")
        product = name in (
            "mv",
            "addmv",
            "dot",
            "vdot",
            "addbmm",
            "addr",
            "linalg_solve_ex",
            "linalg_inv_ex",
        ) or name.startswith("_fft")
        if packet not in flop_registry and (foreign or product):
            self.names.add(f"{func.namespace}.{name}" if foreign else name.lstrip("_"))
        return func(*args, **(kwargs or {}))


def _tokens(dimension: int, size: int) -> list[int]:
    return [side**dimension for side in sides(size)]


def _inference(net: nn.Module, x: Tensor) -> Callable[[], Tensor]:
    return torch.inference_mode()(partial(net.eval(), x))


def _training(net: nn.Module, x: Tensor) -> Callable[[], object]:
    """Return a forward pass in training mode with the gradients of the map and of all weights."""
    x, net = x.requires_grad_(), net.train()
    cotangent = torch.randn_like(x)
    wanted = [x, *net.parameters()]
    return lambda: torch.autograd.grad(net(x), wanted, cotangent, allow_unused=True)


if __name__ == "__main__":
    keep_freed_memory()
    print(json.dumps(asdict(measure(**json.loads(sys.argv[1])))))

"""Golden cases: what a published reference network computes, stored without its weights.

A case holds the reference's parameter names and shapes, its inputs, and the outputs that the reference gave in float64.
Both sides fill the parameters by one rule, `fill`, from name and shape alone, so a full-size network takes kilobytes.

    case = load("tests/golden/dlgsanet_light_x4.npz")
    weights = case.weights()                            # {reference name: float64 array}
    error = relative_error(ours, case.outputs["out"])   # agree below 1e-6

Needs NumPy alone.
"""

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np


@dataclass
class Case:
    """One golden case.

    Attributes:
        meta: system, variant, config, source, licence, gain, notes.
        shapes: the shape of every floating parameter and buffer by the reference's name, in its order.
        inputs: arrays in the order of the reference's arguments.
        outputs: arrays by name, "out" for the only one; "grad_<i>" is d sum(out * probe) / d input i.
    """

    meta: dict[str, Any]
    shapes: dict[str, tuple[int, ...]]
    inputs: list[np.ndarray]
    outputs: dict[str, np.ndarray]

    def weights(self) -> dict[str, np.ndarray]:
        """Return {reference name: float64 array}."""
        gain = float(self.meta.get("gain", 1.0))
        return {name: fill(name, shape, gain) for name, shape in self.shapes.items()}


def fill(name: str, shape: Sequence[int], gain: float = 1.0) -> np.ndarray:
    """Return the float64 values of the parameter or buffer `name`, from NumPy's frozen legacy generator.

    Batch-norm variances lie above 0.5; matrices and kernels have deviation gain / sqrt(fan-in); one-dimensional weights
    lie around 1; everything else is small.
    """
    normal = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(tuple(shape))
    leaf = name.rpartition(".")[2]
    if leaf == "running_var":
        return 0.75 + 0.25 * np.abs(normal)
    if leaf == "running_mean":
        return 0.1 * normal
    if len(shape) >= 2:
        return gain * normal / np.sqrt(max(1, int(np.prod(shape[1:]))))
    return 1.0 + 0.1 * normal if leaf == "weight" else 0.1 * normal


def probe(shape: Sequence[int]) -> np.ndarray:
    """Return the fixed cotangent of the stored gradients."""
    return np.random.RandomState(7).standard_normal(tuple(shape))


def relative_error(value: Any, reference: Any) -> float:
    """Return ||value - reference|| / ||reference|| in float64.

    Where both are not-a-number or the same infinity they agree; where one alone is not finite the error is infinite.

    Raises:
        ValueError: the shapes differ.
    """
    value, reference = np.asarray(value, dtype=np.float64), np.asarray(reference, dtype=np.float64)
    if value.shape != reference.shape:
        raise ValueError(f"shape {value.shape} differs from the reference's {reference.shape}")
    finite = np.isfinite(value) & np.isfinite(reference)
    if not np.array_equal(value[~finite], reference[~finite], equal_nan=True):
        return float("inf")
    difference = np.linalg.norm(value[finite] - reference[finite])
    return float(difference / max(np.linalg.norm(reference[finite]), 1e-30))


def load(path: str | Path) -> Case:
    """Read a case; float32 arrays come back as float64 (inputs were float32 when drawn, so they are exact)."""
    with np.load(path) as data:
        header = json.loads(data["header"].tobytes())
        arrays = {name: _widen(data[name]) for name in data.files}
    inputs = sorted((name for name in arrays if name.startswith("input_")), key=lambda name: int(name[6:]))
    return Case(
        meta=header["meta"],
        shapes={name: tuple(shape) for name, shape in header["shapes"].items()},
        inputs=[arrays[name] for name in inputs],
        outputs={name[7:]: array for name, array in arrays.items() if name.startswith("output_")},
    )


def save(path: str | Path, case: Case) -> None:
    """Write a case; float64 arrays are kept as float32, which leaves about 6e-8 relative rounding."""
    header = json.dumps({"meta": case.meta, "shapes": case.shapes}).encode()
    arrays: Mapping[str, np.ndarray] = {
        "header": np.frombuffer(header, dtype=np.uint8),
        **{f"input_{i}": _narrow(array) for i, array in enumerate(case.inputs)},
        **{f"output_{name}": _narrow(array) for name, array in case.outputs.items()},
    }
    np.savez_compressed(path, **arrays)


def _widen(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float64) if array.dtype == np.float32 else array


def _narrow(array: np.ndarray) -> np.ndarray:
    array = np.asarray(array)
    return array.astype(np.float32) if array.dtype == np.float64 else array

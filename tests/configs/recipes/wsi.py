"""Bags of features in every layout, and the networks that classify them as they are."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foveal.core.cli import main
from foveal.tests.fixtures.bags import features, write_datasets, write_h5
from foveal.tests.fixtures.small_runs import as_options

TOLERANCE = 1e-4  # of a probability


def write(content: dict[str, Any]) -> Path:
    """Write what a config reads; return a bag to classify."""
    write_datasets(content)
    channels = content["model"]["init_args"]["net"]["init_args"]["in_channels"]
    return write_h5(Path("slide.h5"), features(0, channels=channels))


def small(content: dict[str, Any]) -> list[str]:
    """Return the options that keep all in one process; classes need all bags to be scored."""
    return as_options({"data": {"workers": 0}, "trainer": {"limit_val_batches": 1.0, "limit_test_batches": 1.0}})


def use(content: dict[str, Any], weights: Path, source: Path, output: Path) -> np.ndarray:
    """Return the probabilities of classes; a checkpoint with attention tells that too."""
    output = output.with_suffix(".json")
    options = ["--input", str(source), "--output", str(output), "--device", "cpu", "--quiet"]
    assert main(["wsi", "infer", "--weights", str(weights), *options]) == 0
    row = json.loads(output.read_text())
    chances = row["probabilities"]
    with weights.with_name("cases_test.csv").open() as file:
        assert {case["truth"] for case in csv.DictReader(file)} <= chances.keys()
    assert len(chances) == content["model"]["init_args"]["net"]["init_args"]["num_classes"]
    assert sum(chances.values()) == pytest.approx(1, abs=1e-4)
    assert row["predicted"] == max(chances, key=chances.get)
    attends = weights.suffix == ".ckpt" and "ACMIL" in content["model"]["init_args"]["net"]["class_path"]
    assert output.with_name(f"{output.stem}_attention.h5").is_file() == attends
    return np.array(list(chances.values()))

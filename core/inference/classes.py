"""What a classifier says of inputs: probabilities of its classes, and a table with a line for each input."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from ..atomic import written_beside
from ..errors import UserError
from ..weights.card import Card

TABLES = (".csv", ".json")
ABOVE = 0.5  # probability from which one of several independent classes is named

Row = dict[str, Any]
"""What is told of one input: "input", "predicted" and "probabilities", or "input" and "error"."""


def chances(logits: Tensor, card: Card) -> Tensor:
    """Return the probabilities of the card's classes, float64 (N, classes).

    Raises:
        UserError: the logits are not finite.
    """
    logits = logits.double()
    found = logits.softmax(dim=1) if card.activation == "softmax" else logits.sigmoid()
    if not found.isfinite().all():
        raise UserError("the network's output is not finite; use --precision float32, or check the weights.")
    return found


def class_row(input: Path, probabilities: np.ndarray, card: Card) -> Row:
    """Return what is told of an input, given the probabilities of the classes, (classes,)."""
    names = card.outputs
    if card.activation == "softmax":
        predicted = names[int(probabilities.argmax())]
    else:
        predicted = "; ".join(name for name, each in zip(names, probabilities, strict=True) if each > ABOVE)
    told = {name: float(f"{each:.6g}") for name, each in zip(names, probabilities, strict=True)}
    return {"input": str(input), "predicted": predicted, "probabilities": told}


def write_rows(output: Path, rows: Sequence[Row], card: Card) -> None:
    """Write a table: .csv with a column for each class, or .json with one object a line."""
    with written_beside(output) as part, part.open("w", encoding="utf-8", newline="") as file:
        if output.suffix.lower() == ".json":
            file.write("[\n" + ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n]\n")
            return
        writer = csv.writer(file)
        writer.writerow(["input", "predicted", *(f"probability_{name}" for name in card.outputs), "error"])
        for row in rows:
            told = row.get("probabilities", {})
            values = [told.get(name, "") for name in card.outputs]
            writer.writerow([row["input"], row.get("predicted", ""), *values, row.get("error", "")])

"""Draw how concentrated the attention of trained networks is, beside one another."""

from __future__ import annotations

from pathlib import Path
from typing import Literal


def concentration(runs: list[Path], output: Path, stage: Literal["val", "test"] = "val", quiet: bool = False) -> None:
    """Draw what share of the attention the most attended tiles have, and its entropy, of several runs in one picture.

    Every run with attention leaves the numbers in its folder when it is trained, validated or tested.

    Args:
        runs: Run folders of `fit`, such as one of ACMIL and one of ABMIL.
        output: The PNG file to write.
        stage: Bags of which the attention is taken: those of validation or of test.
        quiet: Print no numbers.

    Raises:
        UserError: a run left no attention, or the output is no PNG file.

    Example:
        foveal wsi concentration --runs runs/wsi/quickstart_acmil runs/wsi/quickstart_abmil --output attention.png
    """
    from ...core.attention_concentration import draw_concentration, read_concentration, summary
    from ...core.errors import UserError

    if output.suffix.lower() != ".png":
        raise UserError(f"--output {output}: give a file whose name ends in .png.")
    found = {run.name: read_concentration(run / f"attention_{stage}.csv") for run in runs}
    if len(found) < len(runs):
        raise UserError(f"--runs: two folders have the same name, {', '.join(run.name for run in runs)}; rename one.")
    draw_concentration(found, output)
    for name, bags in found.items():
        if not quiet:
            print(f"{name}: {summary(bags)}")

"""`foveal wsi infer`: the class of slides, and where the network looks on them."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .feature_run import Settings

logger = logging.getLogger(__name__)


def infer(
    output: Path,
    input: list[Path],
    weights: str,
    features: Path | None = None,
    top: int = 20,
    encoder: str | None = None,
    encoder_weights: Path | None = None,
    mpp: float | None = None,
    size: int | None = None,
    step: int | None = None,
    min_tissue: float = 0.25,
    tissue: Path | None = None,
    method: Literal["stain", "clam"] = "stain",
    slide_mpp: float | None = None,
    batch: int = 32,
    device: str = "auto",
    precision: Literal["float32", "bfloat16", "float16"] = "float32",
    overwrite: bool = False,
    quiet: bool = False,
) -> None:
    """Tell the class of slides, and show where the network looks.

    Finds the tissue, lays tiles, describes them by the encoder of the training, and runs the network. For each slide
    NAME.json with the class and the probabilities of all; NAME_attention.h5 with `coords` and the shares that tiles
    have in the `attention` of the slide and in that of its `branches`; NAME_heatmap.tif, a pyramid to lay over the
    slide; NAME_heatmap.png; NAME_regions.geojson with the most attended tiles for QuPath. A table of all slides in the
    folder is predictions.csv. Slides that are done are skipped when the same command is given again.

    Exported programs and networks without attention give the class alone; for heatmaps give a checkpoint.

    Args:
        output: Folder, for a single slide also a .json file.
        input: Slides, DICOM slides (folders), or folders of slides; or files of features (.h5, .pt), of which there
            are no pictures.
        weights: Checkpoint, safetensors file or exported program.
        features: Folder of the slides' features (.h5), from `features`, CLAM or TRIDENT; made if not given.
        top: Most attended tiles that become regions.
        encoder: As for `features`; that of the training if not given, so are mpp and size.
        encoder_weights: File of the encoder's weights; the published ones, downloaded once, if not given.
        mpp: Micrometres per pixel at which tiles are seen.
        size: Pixels along a side of a tile at that resolution.
        step: Pixels from one tile to the next at that resolution; those of a side if not given.
        min_tissue: Share of a tile that must be tissue, 0 to 1.
        tissue: Folder of outlines by the slides' names (.geojson), from `tissue` or QuPath; found if not given.
        method: How tissue is found where no outlines are given; see `tissue`.
        slide_mpp: Micrometres per pixel of the finest level where the file does not tell.
        batch: Tiles computed at once.
        device: Where to compute: auto, cpu, cuda, cuda:1 and so on.
        precision: What the encoder computes in; lower ones are faster on GPUs.
        overwrite: Replace outputs that exist already.
        quiet: Report nothing but errors.

    Raises:
        UserError: an option, the weights or the encoder does not fit, or an input cannot be used.

    Example:
        foveal wsi infer --weights runs/wsi/acmil_folder/best.ckpt --input slide.svs --output predicted
    """
    from ...core.errors import UserError
    from ...core.inference.command import open_program
    from ...core.inference.device import find_device
    from .feature_facts import expected_facts
    from .feature_run import warn_unused
    from .predictions import Predictor, pair_inputs, run_predictions
    from .scoring import Scorer
    from .slide_bags import MadeFeatures, StoredFeatures, is_bag
    from .slides import free_of_option

    if top < 1:
        raise UserError(f"--top {top}: give at least 1.")
    program, facts = open_program("wsi", weights, device)
    scorer = Scorer(program, find_device(device))
    if not scorer.attends:
        logger.warning("%s tells no attention, so there are no heatmaps; a checkpoint of ACMIL does.", weights)
    items = pair_inputs(input, output, scorer.attends)
    expected = expected_facts(scorer.card, encoder, mpp, size)
    making = {
        "encoder_weights": encoder_weights,
        "step": step,
        "min_tissue": min_tissue,
        "tissue": tissue,
        "method": method,
        "batch": batch,
        "precision": precision,
    }
    bags = None
    if features:
        bags = StoredFeatures(features, slide_mpp, expected)
    elif not all(is_bag(each.input) for each in items):
        settings = _settings(expected, device=device, slide_mpp=slide_mpp, **making)
        bags = MadeFeatures(settings, scorer.card, expected)
    if not isinstance(bags, MadeFeatures):
        unused = making if bags else making | {"slide_mpp": slide_mpp}
        warn_unused(unused, "the features are ready")
    if bags:
        items = [each if is_bag(each.input) else each._replace(uses=bags.uses(each.input)) for each in items]
        items = free_of_option(items, slide_mpp)
        facts |= bags.facts
    facts |= {"command": "infer", "top": top, "expected": expected}
    run_predictions(items, Predictor(scorer, bags, expected, top), facts, output, overwrite, quiet)


def _settings(expected: Mapping[str, Any], **options: Any) -> Settings:
    """Return how features are made; refuse weights that do not tell, unless options do."""
    from ...core.errors import UserError
    from .feature_facts import OPTIONS
    from .feature_run import Settings

    absent = [name for name in ("encoder", "mpp", "patch_size") if name not in expected]
    if absent:
        raise UserError(
            f"--weights: do not tell the {' and '.join(absent)} of the features they were trained on; give "
            f"{' and '.join(OPTIONS[name] for name in absent)}, or ready --features."
        )
    found = {"encoder": expected["encoder"], "mpp": expected["mpp"], "size": expected["patch_size"]}
    return Settings(**found, **options)

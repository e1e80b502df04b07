"""`foveal cloudremoval infer`: one cloud-free image out of several dates."""

from __future__ import annotations

from pathlib import Path
from typing import Literal


def infer(
    output: Path,
    input: list[Path],
    weights: str,
    masks: Path | None = None,
    keep_clear: bool = False,
    cloud_mask: bool = False,
    confidence: bool = False,
    quicklook: bool = False,
    most_cloud: float = 0.95,
    bands: list[str] | None = None,
    quantification: float | None = None,
    offset: float | None = None,
    warp: bool = False,
    cog: bool = True,
    tile: int | Literal["auto", "whole"] = "auto",
    overlap: int | None = None,
    device: str = "auto",
    precision: Literal["float32", "bfloat16", "float16"] = "float32",
    tta: bool = False,
    overwrite: bool = False,
    quiet: bool = False,
) -> None:
    """Make one cloud-free image of a place out of several dates.

    Of a folder of GeoTIFFs with dates in their names or tags, takes the clearest, as many as the network wants. Writes
    a GeoTIFF with the CRS, transform, number type, nodata and bands of the first of them; its tag CLOUD_FREE_FROM tells
    the dates and how cloudy each was. An interrupted run goes on where it was when the same command is given again.

    Args:
        output: The .tif for a single place, else a folder; it also gets a manifest of the run.
        input: A folder of dated GeoTIFFs of one place, or with a folder "image" of them and maybe one "cloud_mask"; or
            folders of such folders.
        weights: Name of shipped weights, or a checkpoint, safetensors file or exported program.
        masks: Folder of cloud masks by name or date, or of such folders by place; 1 or 255 is cloud. Clouds are told
            by their colours if there are none.
        keep_clear: Where the clearest date is 4 pixels and more away from cloud, keep exactly its numbers; also in
            shadows, unless the masks hold them.
        cloud_mask: Also write NAME_clouds.tif, a band for each date.
        confidence: Also write NAME_confidence.tif: bands for the confidence, 0 to 1, how far mirrored views disagree,
            how far the image is from the median of clear dates (both in reflectance), and how many dates are
            clear. Eight times slower.
        quicklook: Also write NAME_quicklook.png with the dates, before and after.
        most_cloud: Share of cloud, 0 to 1, that one date at least must not exceed.
        bands: Names or numbers of the bands to take, in the order of the network's; told by their names if not given.
        quantification: Reflectance is (number + offset) / quantification; told by the files if not given.
        offset: That offset; told by the files if not given, -1000 for Sentinel-2 from baseline 04.00 on, 0 before.
        warp: Bring dates of another grid onto that of the first.
        cog: Write cloud-optimised files with overviews.
        tile: Side of a tile in pixels; "whole" computes the image in one pass.
        overlap: Pixels that neighbouring tiles share; the weights say how many if not given.
        device: Where to compute: auto, cpu, cuda, cuda:1 and so on.
        precision: What the network computes in; lower ones are faster on GPUs.
        tta: Average over flips and transposes; eight times slower.
        overwrite: Replace outputs that exist already.
        quiet: Report nothing but errors.

    Raises:
        UserError: an option, the weights or an input does not fit.

    Example:
        foveal cloudremoval infer --weights best.ckpt --input dates --output clear.tif --keep_clear --quicklook
    """
    from ...core.inference.batch import manifest_of, run_batch
    from ...core.inference.command import open_engine
    from ...data.io.geotiff import SUFFIXES
    from .clearing import Clearing, check_card
    from .places import Reading, pair_places
    from .program import Wanted
    from .selection import check_share

    check_share(most_cloud)
    engine, facts = open_engine("cloudremoval", weights, None, tile, overlap, device, precision)
    check_card(engine.card, weights)
    endings = {"clouds": cloud_mask and ".tif", "confidence": confidence and ".tif", "quicklook": quicklook and ".png"}
    beside = [(what, f"_{what}{suffix}") for what, suffix in endings.items() if suffix]
    reading = Reading(masks, bands, quantification, offset, warp)
    clearing = Clearing(engine, reading, Wanted(keep_clear, cloud_mask, confidence), tta, most_cloud, cog)
    items = pair_places(input, output, masks, beside)
    run_batch(items, clearing, {**facts, **clearing.facts, "tta": tta}, overwrite, quiet, manifest_of(output, SUFFIXES))

"""A config for an archive of dated images of places."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

LAYOUT = """FOLDER/<place>/<date>.tif               red, green, blue and near infrared; 2018-02-10 in the name
FOLDER/<place>/cloud_mask/<date>.tif    if there are masks: 1 or 255 is cloud, else 0"""
BATCH = 4  # patches of a step
EPOCH = 100  # steps, about
PUBLISHED = "PMAA of 32 channels, patches of 256, 100 epochs, configs/cloudremoval/pmaa_new.yaml"


def init(
    input: Path,
    output: Path | None = None,
    dates: int = 3,
    most_cloud: float = 0.01,
    size: Literal["auto", "light", "full"] = "auto",
    seed: int = 0,
    overwrite: bool = False,
) -> None:
    """Look at an archive of places, each with dated GeoTIFFs, and write a config that trains on it.

    Dates with next to no cloud are what the network shall make of the other dates around them. Places are never in two
    parts of the split.

    Args:
        input: Folder of places.
        output: The YAML file to write; FOLDER.yaml here if not given. The split goes beside it.
        dates: Images that the network takes at once.
        most_cloud: Share of cloud, 0 to 1, up to which a date counts as clear.
        size: Of the network and the training: light needs no GPU, full is for one; auto is full where there are a GPU
            and at least ten cases to train on.
        seed: Another seed gives another split.
        overwrite: Replace files that exist already.

    Raises:
        UserError: something is missing or cannot be used.

    Example:
        foveal init cloudremoval archive
    """
    from ...data.datasets.dated_places import DatedPlaces
    from ...data.init_config import Noted, places_of, write_config
    from ...data.init_folders import PARTS, deal, sources, told_split
    from ...data.init_size import size_of
    from .found_places import find_archive
    from .selection import check_share

    check_share(most_cloud)
    places = places_of(input, output, overwrite)
    found = find_archive(DatedPlaces(str(input), dates, most_cloud), input, LAYOUT)
    useful = {name: name for name, samples in found.samples.items() if samples}
    rows = deal(useful, list(PARTS), seed, input, "places with a clear date and enough others")
    rows += [{"name": name, "split": "train"} for name, samples in found.samples.items() if not samples]
    training = sum(found.samples[row["name"]] for row in rows if row["split"] == "train")
    proposed = size_of(size, training, PUBLISHED)
    epochs = proposed.of(20, 100)
    side = min(found.side, proposed.of(64, 256))
    repeats = max(-(-EPOCH * BATCH // training), 1)
    roots = dict.fromkeys(PARTS, input)
    arguments = {"folder": str(input.resolve()), "dates": dates, "most_cloud": most_cloud}
    cosine = {"init_args": {"T_max": epochs}}
    config = {
        "model": {
            "init_args": {
                "net": {
                    "class_path": "foveal.apps.cloudremoval.models.pmaa.PMAA",
                    "init_args": {"dates": Noted(dates, "as many as a sample has")},
                },
                "scheduler": cosine,
                **proposed.of({"overlap": side // 2}, {"discriminator_scheduler": cosine}),
                "tile": Noted(side, "pixels, of what `infer` and `test` take at once; as large as the patches"),
                "licence": Noted("", "of the weights, as that of your images allows"),
            }
        },
        "data": {
            "init_args": sources(
                "foveal.data.datasets.dated_places.DatedPlaces", roots, lambda _: arguments, places.split
            )
            | {
                "patch": Noted(side, f"pixels; the smallest image is {found.side} at its shorter side"),
                "batch_size": Noted(BATCH, "as published"),
                "repeats": Noted(repeats, f"an epoch is about {repeats * training // BATCH} steps"),
            }
        },
        "trainer": {"max_epochs": Noted(epochs, "T_max above must be the same")},
    }
    told = [*found.told, told_split(rows, roots, seed, "place")]
    base = proposed.of("configs/cloudremoval/quickstart_pmaa.yaml", "configs/cloudremoval/pmaa_places.yaml")
    check, infer = ["--input", input, "--dates", str(dates)], "--input NEW_PLACE --output clear.tif"
    write_config(places, "cloudremoval", input, base, proposed, told, config, rows, check, infer)

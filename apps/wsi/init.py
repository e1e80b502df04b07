"""A config for features of slides and a table of their classes."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

LAYOUT = """FOLDER/features/<slide>.h5    as `foveal wsi features`, CLAM or TRIDENT write them; or .pt
FOLDER/labels.csv             with the columns slide, label and, where known, patient"""
EPOCHS = 50  # as published
STEPS = 5000  # of a light training


def init(
    input: Path,
    labels: Path | None = None,
    features: Path | None = None,
    output: Path | None = None,
    label_column: str | None = None,
    size: Literal["auto", "light", "full"] = "auto",
    seed: int = 0,
    overwrite: bool = False,
) -> None:
    """Look at features of slides and a CSV file of classes, and write a config that trains on them.

    Slides of one patient stay in one part, where the table tells whose they are; a column of the split is taken as it
    is.

    Args:
        input: Folder that holds features, or a folder of them, and a CSV file.
        labels: The CSV file, where the folder holds none or several.
        features: Folder of features, or one HDF5 file of all; found in the folder if not given.
        output: The YAML file to write; FOLDER.yaml here if not given. The split goes beside it.
        label_column: Column of the class; found if not given.
        size: Of the network and the training: light needs no GPU, full is for one; auto is full where there are a GPU
            and at least ten cases to train on.
        seed: Another seed gives another split.
        overwrite: Replace files that exist already.

    Raises:
        UserError: something is missing or cannot be used.

    Example:
        foveal init wsi cohort
    """
    from ...data.datasets.feature_bags import stem_of
    from ...data.init_config import Noted, places_of, write_config
    from ...data.init_size import size_of
    from ...data.init_tables import deal_classes, find_table, read_table, rows_of, sources_of, told_classes
    from .encoders import COLOUR_TEXTURE
    from .found_features import find_features, folder_of_slides

    places = places_of(input, output, overwrite)
    found = find_features(input, features, LAYOUT)
    table = find_table(input, labels, LAYOUT)
    things, notes = read_table(table, found.names, [stem_of], "slides", label_column)
    is_complete = len(things) == len(found.names)
    things = deal_classes(things, seed, table, "slides")
    classes = sorted({each.label for each in things})
    training = sum(each.split == "train" for each in things)
    proposed = size_of(size, training, f"{EPOCHS} epochs of the same network, configs/wsi/acmil_camelyon16.yaml")
    epochs = proposed.of(min(max(STEPS // training, 5), EPOCHS), EPOCHS)
    common = {"features": str(found.path.resolve()), "labels": str(places.split.resolve())}
    if slides := folder_of_slides(input, found.names):
        common["slides"] = Noted(str(slides.resolve()), "for the pictures of the report")
    if not is_complete:
        common["skip_unmatched"] = True
    common["classes"] = classes

    config = {
        "model": {
            "init_args": {
                "net": {
                    "class_path": "foveal.apps.wsi.models.acmil.ACMIL",
                    "init_args": {
                        "num_classes": Noted(len(classes), "as many as the table has"),
                        "in_channels": Noted(found.channels, "of the features"),
                        "dim": Noted(found.dim, "of the network, narrower than the features"),
                    },
                },
                "licence": Noted("", "of the weights, as that of your slides allows"),
            }
        },
        "data": {"init_args": sources_of("foveal.data.datasets.feature_bags.FeatureBags", common, things)},
        "trainer": {"max_epochs": Noted(epochs, "each shows every training slide once")},
    }
    told = [*found.told, *notes, *told_classes(things, "slides", seed)]
    base = "configs/wsi/acmil_folder.yaml"
    check = ["--features", found.path, "--labels", places.split]
    if found.encoder == COLOUR_TEXTURE:
        config["model"]["init_args"]["standardise"] = Noted(True, "features made by hand have scales of their own")
    rows = rows_of(things, "slide")
    write_config(places, "wsi", input, base, proposed, told, config, rows, check, "--input SLIDE --output PREDICTED")

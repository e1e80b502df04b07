"""A config for a folder of pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

PUBLISHED = "DLGSANet-light, 500000 steps, configs/superres/dlgsanet_light_div2k_x{scale}.yaml"
LAYOUT = """FOLDER/<name>.png    all pictures in one folder, at least 3
FOLDER/train/<name>.png, FOLDER/val/<name>.png    or split already"""


def init(
    input: Path,
    output: Path | None = None,
    scale: Literal[2, 3, 4] = 4,
    size: Literal["auto", "light", "full"] = "auto",
    seed: int = 0,
    overwrite: bool = False,
) -> None:
    """Look at a folder of pictures, and write a config that trains a network to enlarge such.

    The small pictures are made of the large ones. Pictures in one folder are split by chance; folders train, val and
    test are taken as they are.

    Args:
        input: Folder of pictures: PNG, JPEG, TIFF or BMP.
        output: The YAML file to write; FOLDER.yaml here if not given. The split goes beside it.
        scale: The enlargement to learn.
        size: Of the network and the training: light needs no GPU, full is for one; auto is full where there are a GPU
            and at least ten cases to train on.
        seed: Another seed gives another split.
        overwrite: Replace files that exist already.

    Raises:
        UserError: the folder holds too little, or pictures that cannot be used.

    Example:
        foveal init superres photographs --scale 2
    """
    from ...data.datasets.image_folder import pictures_in
    from ...data.init_config import Noted, places_of, write_config
    from ...data.init_folders import described, look, roots_of, sources, split_of
    from ...data.init_pictures import flat_pictures, patch_of, repeats_for
    from ...data.init_size import size_of

    places = places_of(input, output, overwrite)
    roots = roots_of(input)
    names = {part: flat_pictures(root, LAYOUT) for part, root in roots.items()}
    folders = dict.fromkeys(roots.values())
    reports = [look("superres", root, names=[each.name for each in pictures_in(root)]) for root in folders]
    owners = {name: name for name in names["train"]}
    rows, training, told = split_of(owners, roots, seed, roots["train"], "picture", "pictures")
    proposed = size_of(size, training, PUBLISHED.format(scale=scale))
    steps = proposed.of(3000, 5000)
    patch, why = patch_of(reports, 32, scale)
    repeats, epoch = repeats_for(training, 8)
    layout = "foveal.data.datasets.image_folder.ImageFolder"
    config = {
        "model": {
            "init_args": {
                "net": {"init_args": {"scale": Noted(scale, "times larger along each axis")}},
                "scheduler": {"init_args": {"total_steps": steps}},
                "licence": Noted("", "of the weights, as that of your pictures allows"),
            }
        },
        "data": {
            "init_args": sources(layout, roots, lambda root: {"folder": str(root.resolve())}, places.split)
            | {"patch": Noted(patch, why), "repeats": Noted(repeats, epoch)}
        },
        "trainer": {"max_steps": Noted(steps, "total_steps above must be the same")},
    }
    found = [*(described(each, "pictures") for each in reports), told]
    found.append(f"the config learns to enlarge {scale} times: of each picture a small one is made, and enlarged again")
    base = proposed.of("configs/superres/quickstart_dlgsanet.yaml", "configs/superres/demo_x2.yaml")
    check, infer = ["--input", input], "--input NEW --output LARGE"
    write_config(places, "superres", input, base, proposed, found, config, rows, check, infer)

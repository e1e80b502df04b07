"""A config for images with masks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...data.checks import Report
from ...data.init_config import Noted, Places, write_config
from ...data.init_folders import described, sources, steps_for
from ...data.init_masks import Masked, find_masked
from ...data.init_size import Asked, size_of
from ...data.inventory import take_inventory
from ...data.io.formats import Kind, kind_of

BATCH = 8  # images of a step
EPOCH = 25  # steps, at least
SMALLEST, MULTIPLE = 64, 32  # sides of training images in pixels
PUBLISHED = "MSGA with ResNeXt-101 at 256 x 256, 500 epochs, configs/medseg/msga_chaos.yaml"
PERCENTILES = {"percentiles": [1, 99]}


def init_masks(
    input: Path, labels: Path | None, places: Places, patient: str | None, size: Asked, seed: int, layout: str
) -> None:
    """Write the config of a segmentation; see `init`."""
    found = find_masked("medseg", input, labels, layout, ("image", "dicom", "nifti"), patient, seed)
    kind = _kind(found)
    proposed = size_of(size, found.training, PUBLISHED)
    side, is_crop, why_side = _side(found.reports, proposed.of(128, 256))
    images = sum(len(each.findings) for each in found.reports)
    slices = sum(_slices(each) for each in found.reports) // images  # of a volume
    steps, why = steps_for(found.training * slices, BATCH, most=proposed.of(800, 20000))
    is_volume = kind == "nifti"
    scaled = {"intensity": PERCENTILES} if kind != "image" else {}
    channels = 3 if max(each.facts.channels for report in found.reports for each in report.usable) > 2 else 1
    if is_volume:
        channels = max(each.facts.channels for report in found.reports for each in report.usable)

    def arguments(root: Path) -> dict[str, Any]:
        return found.folders(root, "labels" if is_volume else "masks") | found.arguments | scaled

    classes = len(found.classes)
    names = ["object"] if classes == 2 else [f"class {number}" for number in range(1, classes)]
    net = {
        "num_classes": Noted(classes, "the background counts as one"),
        "in_channels": Noted(channels, {1: "grey", 3: "colours"}.get(channels, "of the volumes")),
        "backbone": proposed.of("resnet18", "resnet34"),
    }
    rate = {"total_steps": steps}
    model = {
        "net": {"class_path": "foveal.apps.medseg.models.msga.MSGA", "init_args": net},
        "classes": Noted(names, "put the names of yours, in the order of their values"),
        "scheduler": {"init_args": rate},
        "pretrained": Noted(None, "imagenet begins with downloaded weights of the backbone, a file with its own"),
        "licence": Noted("", "of the weights, as that of your images allows"),
    }
    if scaled:
        model["intensity"] = Noted(
            PERCENTILES, "what becomes 0 and 1 in each file, as values have no range of their own"
        )
    data = {
        "size": Noted([side, side], why_side),
        "crop": Noted(is_crop, "random parts of that size" if is_crop else "whole images are resized to it"),
        "batch_size": Noted(BATCH, "take less where memory is short"),
        "repeats": Noted(-(-EPOCH * BATCH // (found.training * slices)), f"an epoch is {EPOCH} steps at least"),
    }
    if is_volume:
        data["evaluate_by"] = Noted("group", "scores are those of whole volumes")
    name = "volume_slices.VolumeSlices" if is_volume else "image_masks.ImageMasks"
    config = {
        "model": {"init_args": model},
        "data": {"init_args": sources(f"foveal.data.datasets.{name}", found.roots, arguments, places.split) | data},
        "trainer": {"max_steps": Noted(steps, f"{why}; total_steps above must be the same")},
    }
    noun = "volumes with labels" if is_volume else "images with masks"
    told = [*(described(each, noun) for each in found.reports), found.told_classes, *found.told]
    check = ["--input", found.images, "--labels", found.masks]
    base = "configs/medseg/msga_folder.yaml"
    write_config(places, "medseg", input, base, proposed, told, config, found.rows, check, "--input NEW --output MASKS")


def _kind(found: Masked) -> Kind:
    return kind_of(take_inventory(found.images).items[0].path)


def _side(reports: list[Report], largest: int) -> tuple[int, bool, str]:
    """Return the side of training images, whether they are crops, and why."""
    smallest = min(min(each.facts.extent[-2:]) for report in reports for each in report.usable)
    side = min(max(smallest // MULTIPLE * MULTIPLE, SMALLEST), largest)
    told = f"the smallest image is {smallest} pixels at its shorter side; the network wants multiples of {MULTIPLE}"
    return side, smallest >= side, told


def _slices(report: Report) -> int:
    """Return the number of images in files, those of volumes being their slices."""
    return sum(each.facts.extent[0] if each.facts.spatial == 3 else 1 for each in report.usable)

"""What `init` finds in a folder: the folders of parts, images and labels, patients in names, and a split of them."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..core.errors import UserError
from ..core.messages import counted
from .check import with_progress
from .checks import Report, check_files, check_folder, times
from .datasets.group_split import Part, groups_of
from .datasets.patient_cases import found_group, group_expression
from .fingerprint import Facts
from .io.formats import Kind

PARTS: dict[Part, tuple[str, ...]] = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing"),
}
"""What the folders of parts are called."""
SHARES: dict[Part, float] = {"train": 0.7, "validation": 0.15, "test": 0.15}
IMAGES = ("images", "image", "imgs", "img", "imagesTr", "frames", "pictures", "scans", "volumes")
MASKS = ("masks", "mask", "labels", "label", "labelsTr", "gt", "groundtruth", "annotations", "segmentations")
PATIENTS = (
    r"^(.*\d)[ _.-]*[A-Za-z]+[ _.-]*\d+$",  # Subj_1slice_10, patient001_frame01
    r"^(.*\d)[ _.-]\d+$",  # 00000013_005
    r"(?i)^(.*\d)[ _.-]*(?:left|right|pre|post|lat|ap|pa|od|os|[lrab])$",  # 017_left
)
"""How names begin with a patient, of whom there are several files; the first that fits all names is taken."""
FEWEST_PATIENTS = 3

Roots = Mapping[Part, Path]
"""The folder that each part is read from; parts that share one are told apart by the split file."""


def roots_of(folder: Path) -> Roots:
    """Return the folder of each part: those named train, val and test in it, else the folder itself for all.

    Where only the test data lie apart, the validation is taken from those of the training.
    """
    found = {part: each for part, names in PARTS.items() if (each := folder_named(folder, names))}
    if "train" not in found or len(found) == 1:
        return dict.fromkeys(PARTS, folder)
    return {"train": found["train"], "validation": found.get("validation", found["train"])} | (
        {"test": found["test"]} if "test" in found else {}
    )


def shared_parts(roots: Roots) -> list[Part]:
    """Return the parts that are read from the folder of the training, if others than the training are."""
    parts = [part for part, root in roots.items() if root == roots["train"]]
    return parts if len(parts) > 1 else []


def folder_named(folder: Path, names: Collection[str]) -> Path | None:
    """Return the folder inside another that has one of some names, whatever their case; earlier names go first."""
    inside = {_bare(each.name): each for each in sorted(folder.iterdir()) if each.is_dir()}
    return next((inside[_bare(name)] for name in names if _bare(name) in inside), None)


def find_folder(folder: Path, names: Collection[str], what: str, layout: str) -> Path:
    """Return the folder of images, masks or the like.

    Args:
        folder: that holds it.
        names: what it may be called.
        what: is in it, for the error.
        layout: what was expected, for the error.

    Raises:
        UserError: there is none.
    """
    found = folder_named(folder, names)
    if found:
        return found
    inside = [f"{each.name}/" if each.is_dir() else each.name for each in sorted(folder.iterdir())]
    listed = ", ".join(inside[:6]) + (", ..." if len(inside) > 6 else "") if inside else "nothing"
    raise UserError(f"{folder}: has no folder of {what}; it holds {listed}. {expected(layout)}")


def expected(layout: str) -> str:
    """Return the end of an error that shows a layout, indented below it."""
    return "Expected:\n" + "\n".join(f"  {line}" for line in layout.splitlines())


def look(
    app: str,
    images: Path,
    labels: Path | None = None,
    kinds: tuple[Kind, ...] = ("image",),
    apart: float = 0.0,
    add: Callable[[Report], None] | None = None,
    names: Sequence[str] | None = None,
    options: Sequence[str | Path] = (),
) -> Report:
    """Read every file as `check` does.

    Args:
        app: its name, for the error.
        images: a folder.
        labels: that of their labels.
        kinds: the formats.
        apart: see `checks.check_folder`.
        add: adds what the app looks at beside.
        names: of the files to read, each by itself; None for all, DICOM series as one.
        options: of `check` besides --input and --labels, word by word.

    Raises:
        UserError: a file cannot be used, or labels do not fit; says how many, the first, and how to see all.
    """

    def read(tell: Any) -> Report:
        if names is not None:
            report = check_files(images, names, kinds, tell)
        else:
            report = check_folder(images, labels, kinds, None, tell, apart)
        if add:
            add(report)
        return report

    report = with_progress(read)
    wrong = [f"{each.item.name}: {text}" for each in report.findings for text in each.errors]
    wrong += [f"{name}: labels that belong to no file" for name in report.stray_labels] + report.problems
    if wrong:
        words = ["foveal", app, "check", "--input", images, *(["--labels", labels] if labels else []), *options]
        raise UserError(
            f"{images}: {len(wrong)} {'thing is' if len(wrong) == 1 else 'things are'} wrong, the first is "
            f"{wrong[0].rstrip('.')}; "
            f"`{shlex.join(map(str, words))}` lists all. Mend them, then give the same command again."
        )
    return report


def described(report: Report, noun: str) -> str:
    """Return what files have in common, in a sentence: number, sizes, spacing, channels and values."""
    facts = [each.facts for each in report.usable if each.facts]
    told = [f"{len(facts)} {noun} of {span([each.extent for each in facts])} {_unit(facts)}"]
    if all(each.spacing for each in facts):
        told.append(f"spacing {span([each.spacing for each in facts])} {facts[0].unit}")
    told.append("channels " + _counted(each.channels for each in facts))
    told.append(_counted(each.dtype for each in facts))
    lows = [each.low for each in facts if each.low is not None]
    if lows:
        told.append(f"values {min(lows):g} to {max(each.high for each in facts if each.high is not None):g}")
    return ", ".join(told) + f"; fingerprint {report.digest[:16]}"


def span(extents: Sequence[Sequence[float]]) -> str:
    """Return sizes along axes as images are spoken of, width x height: of all, or from the smallest to the largest."""
    low, high = ([f"{each:.4g}" for each in limit(np.array(extents), axis=0)] for limit in (np.min, np.max))
    return f"{times(low)}" if low == high else f"{times(low)} to {times(high)}"


def patients_of(names: Sequence[str], given: str | None, folder: Path) -> tuple[dict[str, str], str]:
    """Find out whose each file is.

    Args:
        names: of files, without suffix.
        given: the expression whose first group is the patient; None to find it.
        folder: of the files, named in errors.

    Returns:
        {name: patient}, and a sentence about it.

    Raises:
        UserError: the given expression is none, or finds nothing in a name.
    """
    if given is not None:
        compiled = group_expression(given)
        patients = {name: str(found_group(folder / name, compiled)) for name in names}
        return patients, f"{_number(patients)} patients, by the expression {given}"
    for text in PATIENTS:
        matches = [re.search(text, name) for name in names]
        patients = {name: match[1] for name, match in zip(names, matches, strict=True) if match}
        if len(patients) == len(names) and FEWEST_PATIENTS <= _number(patients) < len(names):
            told = f"{_number(patients)} patients, as names begin alike, such as {next(iter(patients.values()))}"
            return patients, f"{told}; if that is wrong, give --patient"
    told = "names tell no patients, so that each file counts as a patient of its own; if that is wrong, give --patient"
    return {name: name for name in names}, told


def deal(
    owners: Mapping[str, str], parts: Sequence[Part], seed: int, where: Path, noun: str = "patients"
) -> list[dict[str, str]]:
    """Return the lines of a split file; nobody is in two parts.

    Args:
        owners: {name: patient, or the name itself}.
        parts: to deal to.
        seed: another seed gives another split.
        where: the data, named in errors.
        noun: what is dealt.

    Raises:
        UserError: there are fewer patients than parts.
    """
    number = _number(owners)
    if number < len(parts):
        raise UserError(
            f"{where}: too few {noun} ({number}); {len(parts)} at least are needed, one each for {', '.join(parts)}."
        )
    share = {part: SHARES[part] if part in parts else 0.0 for part in PARTS}
    share["train"] = 1 - share["validation"] - share["test"]
    shares = (share["train"], share["validation"], share["test"])
    part_of = {each: part for part in parts for each in groups_of(owners.values(), part, shares, seed, where, noun)}
    has_patients = any(name != owner for name, owner in owners.items())
    return [
        {"name": name} | ({"patient": owner} if has_patients else {}) | {"split": part_of[owner]}
        for name, owner in owners.items()
    ]


class Split(NamedTuple):
    """How things are dealt to the parts.

    Attributes:
        rows: lines of the split file; [] where folders are the parts.
        training: how many things are trained on.
        told: a sentence about it.
    """

    rows: list[dict[str, str]]
    training: int
    told: str


def split_of(
    owners: Mapping[str, str], roots: Roots, seed: int, where: Path, thing: str, noun: str = "patients"
) -> Split:
    """Deal the things in the folder of the training to the parts that share it.

    Args:
        owners: see `deal`; so are the seed, `where` and the noun.
        roots: the folder of each part.
        seed: another seed gives another split.
        where: the data, named in errors.
        thing: what is told of, where patients are not known.
        noun: what is dealt.

    Raises:
        UserError: there are fewer patients than parts.
    """
    parts = shared_parts(roots)
    rows = deal(owners, parts, seed, where, noun) if parts else []
    training = sum(row["split"] == "train" for row in rows) or len(owners)
    return Split(rows, training, told_split(rows, roots, seed, thing))


def sources(
    class_path: str, roots: Roots, arguments: Callable[[Path], Mapping[str, Any]], split: Path
) -> dict[str, Any]:
    """Return train, validation and test of a config.

    Args:
        class_path: of the layout.
        roots: the folder of each part.
        arguments: makes those of the layout of a folder.
        split: the file that tells apart the parts that share one.
    """
    shared = shared_parts(roots)

    def source(part: Part) -> dict[str, Any]:
        own = {"part": part, "split": str(split.resolve())} if part in shared else {}
        return {"class_path": class_path, "init_args": {**arguments(roots[part]), **own}}

    test = {"own": source("test")} if "test" in roots else None
    return {"train": [source("train")], "validation": [source("validation")], "test": test}


def told_split(rows: Sequence[Mapping[str, str]], roots: Roots, seed: int, noun: str) -> str:
    """Return how the data are split, in a sentence; by a noun where patients are not known."""
    if not rows:
        return "split by the folders " + ", ".join(f"{root.name} ({part})" for part, root in roots.items())
    counts = Counter(row["split"] for row in rows)
    told = ", ".join(f"{counts[part]} {part}" for part in PARTS if counts[part])
    noun = "patient" if "patient" in rows[0] else noun
    return f"split by {noun}, seed {seed}: {told}"


def steps_for(images: int, batch: int, epochs: int = 100, fewest: int = 1000, most: int = 20000) -> tuple[int, str]:
    """Return how long to train, in steps, and why."""
    steps = min(max(epochs * images // batch, fewest), most)
    steps = round(steps, -2)
    return steps, f"steps; each of the {images} training images is seen about {steps * batch / images:.0f} times"


def _number(owners: Mapping[str, str]) -> int:
    return len({*owners.values()})


def _bare(name: str) -> str:
    return re.sub(r"[ _.-]", "", name.lower())


def _unit(facts: Sequence[Facts]) -> str:
    return "voxels" if any(each.spatial == 3 for each in facts) else "pixels"


def _counted(values: Iterable[Any]) -> str:
    """Return what is most common, and how often where there is more than one."""
    counts = Counter(values)
    if len(counts) == 1:
        return str(next(iter(counts)))
    return " or ".join(f"{value} ({counted(count, 'file')})" for value, count in counts.most_common())

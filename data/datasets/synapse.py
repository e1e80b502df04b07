"""Multi-organ CT of the abdomen: Synapse, also known as BTCV."""

from pathlib import Path
from typing import ClassVar, Literal

from .missing_files import refuse_missing
from .volume_case import VolumeCase

PARTS = {
    "train": (5, 6, 7, 9, 10, 21, 23, 24, 26, 27, 28, 30, 31, 33, 34, 37, 39, 40),
    "test": (1, 2, 3, 4, 8, 22, 25, 29, 32, 35, 36, 38),
}
"""Numbers of the volumes, as TransUNet, nnFormer and D-Former divide them."""


class Synapse:
    """The thirty labelled volumes of the challenge "Beyond the Cranial Vault", in the split that papers report.

    Shows: CT of the abdomen in the portal venous phase, 13 organs. Channels: one. Units: HU. Resolution: 0.54-0.98 mm,
    slices 2.5-5 mm apart. Layout: `imagesTr/img0005_0000.nii.gz` with `labelsTr/img0005.nii.gz`; without `_0000` too.
    Split: 18 volumes to train, 12 to test; one volume a patient. Licence: by registration at synapse.org (syn3193805).
    Citation: Landman et al., "MICCAI Multi-Atlas Labeling Beyond the Cranial Vault", 2015.

    Args:
        folder: that holds imagesTr and labelsTr.
        part: which part of the published split.
    """

    classes: ClassVar[tuple[str, ...]] = (
        "spleen",
        "right kidney",
        "left kidney",
        "gallbladder",
        "oesophagus",
        "liver",
        "stomach",
        "aorta",
        "inferior vena cava",
        "portal and splenic veins",
        "pancreas",
        "right adrenal gland",
        "left adrenal gland",
    )
    channels: ClassVar[tuple[str, ...]] = ("CT",)
    modality: ClassVar[str] = "CT"
    licence: ClassVar[str] = "Synapse syn3193805: use by registration"

    def __init__(self, folder: Path, part: Literal["train", "test"]) -> None:
        self.folder = Path(folder)
        self.part = part

    def cases(self) -> list[VolumeCase]:
        """Return the volumes of the part by their numbers.

        Raises:
            UserError: volumes or labels are missing.
        """
        cases = [self._case(f"img{number:04}") for number in sorted(PARTS[self.part])]
        paths = [path for case in cases for path in (*case.images, case.label)]
        advice = "Get them from synapse.org (syn3193805) and name them so."
        refuse_missing(paths, f"files of the {self.part} part", advice)
        return cases

    def _case(self, name: str) -> VolumeCase:
        image = self.folder / "imagesTr" / f"{name}_0000.nii.gz"
        if not image.is_file() and (plain := image.with_name(f"{name}.nii.gz")).is_file():
            image = plain
        return VolumeCase(name, (image,), self.folder / "labelsTr" / f"{name}.nii.gz", name)

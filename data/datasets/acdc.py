"""Cine MR of the heart: ACDC."""

import re
from pathlib import Path
from typing import ClassVar

from ...core.errors import UserError
from .channel_files import ENDINGS
from .group_split import Part, Shares
from .masked_samples import natural_order
from .missing_files import refuse_missing
from .patient_cases import PatientCases
from .stem_pairs import stem_of
from .volume_case import VolumeCase

FRAME = re.compile(r"(patient\d+)_frame\d+")


class ACDC(PatientCases):
    """The Automated Cardiac Diagnosis Challenge: each patient's heart at the end of diastole and of systole.

    Shows: cine MR, short axis, of healthy and diseased hearts. Channels: one. Units: arbitrary. Resolution: 0.8-1.9 mm,
    slices 5-10 mm apart. Layout: as published, `patient001/patient001_frame01.nii.gz` with `..._frame01_gt.nii.gz`, or
    as nnU-Net has it, `imagesTr/patient001_frame01_0000.nii.gz` with `labelsTr/patient001_frame01.nii.gz`. Split: by
    the patient, 70 % to train, 10 % to validate and 20 % to test, or by `VolumeData`'s folds. Licence: CC BY-NC-SA 4.0.
    Citation: Bernard et al., "Deep learning techniques for automatic MRI cardiac multi-structures segmentation and
    diagnosis: is the problem solved?", IEEE TMI 2018.

    Args:
        folder: that holds the patients, or imagesTr and labelsTr.
        part: which part of the patients to take; None for all.
        shares: of the patients that train, validate and test.
        seed: another seed gives another split into parts.
    """

    classes: ClassVar[tuple[str, ...]] = ("right ventricle", "myocardium", "left ventricle")
    channels: ClassVar[tuple[str, ...]] = ("cine MR",)
    modality: ClassVar[str] = "MR"
    licence: ClassVar[str] = "CC BY-NC-SA 4.0"

    def __init__(self, folder: Path, part: Part | None = None, shares: Shares = (0.7, 0.1, 0.2), seed: int = 0) -> None:
        super().__init__(part=part, shares=shares, seed=seed)
        self.folder = Path(folder)

    def cases(self) -> list[VolumeCase]:
        """Return the frames of the part by patient.

        Raises:
            UserError: there are none, labels of some are missing, or the part is empty.
        """
        images = {stem_of(each).removesuffix("_0000"): each for each in self._files()}
        frames = {name: FRAME.fullmatch(name) for name in sorted(images, key=natural_order)}
        cases = [
            VolumeCase(name, (images[name],), self._label(images[name], name), match[1])
            for name, match in frames.items()
            if match
        ]
        if not cases:
            raise UserError(f"{self.folder}: holds no patient001_frame01.nii.gz or the like; give the folder of ACDC.")
        refuse_missing([each.label for each in cases], "frames' labels")
        return self.chosen(cases, self.folder)

    def _files(self) -> list[Path]:
        nested = self.folder / "imagesTr"
        files = nested.iterdir() if nested.is_dir() else self.folder.rglob("patient*_frame*")
        return [each for each in files if each.name.endswith(ENDINGS)]

    def _label(self, image: Path, name: str) -> Path:
        ending = image.name[len(stem_of(image)) :]
        if image.parent.name == "imagesTr":
            return self.folder / "labelsTr" / f"{name}{ending}"
        return image.with_name(f"{name}_gt{ending}")

"""The tissues of the MNI152 template, which comes with nilearn."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar, Literal

import nibabel
import numpy as np

from ...core.atomic import written_beside
from ...core.errors import UserError
from .cache import user_cache
from .volume_case import VolumeCase

FILE = "mni_icbm152_{}_tal_nlin_sym_09a_converted.nii.gz"
SIDE = slice(98, 190)  # along i: right of the middle of the head; the other side is its mirror image
HEIGHT = slice(0, 176)  # along k: the brain, and some air above
LENGTHS = {"train": slice(6, 134), "validation": slice(144, 216)}  # along j, 1 cm apart


class MNITissues:
    """Two pieces of an average head: the back of one side to train on, the front of the same side to be scored.

    Shows: the average of 152 T1-weighted MR images of young adults, without the skull. Labels: 1 grey matter, 2 white
    matter, where either is more probable than the other and than the rest. Units: 0..255, arbitrary. Resolution: 1 mm;
    92 x 128 x 176 and 92 x 72 x 176 voxels. The template is symmetric, so that one side holds all there is to see: the
    other side would be no test. It is one head: what is learnt says nothing of other people. Around it lies some of the
    empty space, as networks must have seen patches of nothing.
    Layout: files inside nilearn's wheel; the pieces are kept in the user's cache. Licence: may be used, copied, changed
    and distributed without fee, with the copyright notice of the McConnell Brain Imaging Centre. Citation: Fonov et
    al., "Unbiased average age-appropriate atlases for pediatric studies", NeuroImage 2011.

    Args:
        part: the piece.
    """

    classes: ClassVar[list[str]] = ["grey matter", "white matter"]
    channels: ClassVar[list[str]] = ["T1"]
    modality: ClassVar[str] = "MR"
    licence: ClassVar[str] = "MNI ICBM 152: (c) 1993-2009 Louis Collins, McConnell Brain Imaging Centre"

    def __init__(self, part: Literal["train", "validation"]) -> None:
        self.part = part

    def cases(self) -> list[VolumeCase]:
        """Return the piece.

        Raises:
            UserError: nilearn is not installed, or its version has no such template.
        """
        folder = user_cache() / "mni_tissues"
        image, label = (folder / f"{self.part}_{kind}.nii" for kind in ("t1", "tissues"))
        if not (image.is_file() and label.is_file()):
            self._write(image, label)
        return [VolumeCase(self.part, (image,), label, self.part)]

    def _write(self, image: Path, label: Path) -> None:
        place = (SIDE, LENGTHS[self.part], HEIGHT)
        t1, grey, white = (nibabel.load(template_file(kind)).slicer[place] for kind in ("t1", "gm", "wm"))
        chances = [np.asarray(each.dataobj, np.float32) / 255 for each in (grey, white)]
        tissues = np.argmax([1 - chances[0] - chances[1], *chances], axis=0).astype(np.uint8)
        for path, piece in ((image, t1), (label, nibabel.Nifti1Image(tissues, t1.affine))):
            with written_beside(path) as part:
                nibabel.save(piece, part)


def template_file(kind: Literal["t1", "gm", "wm"]) -> Path:
    """Return the file of the template or of one of its tissue maps, without importing nilearn.

    Raises:
        UserError: it is not there.
    """
    package = find_spec("nilearn")
    folders = [Path(each) for each in package.submodule_search_locations or ()] if package else []
    path = next((file for each in folders if (file := each / "datasets" / "data" / FILE.format(kind)).is_file()), None)
    if path is None:
        found = "holds no MNI152 template" if package else "is not installed"
        raise UserError(f"nilearn {found}; install it by `pip install 'foveal[samples]'`.")
    return path

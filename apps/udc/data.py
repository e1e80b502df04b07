"""Training patches and evaluation pictures for restoration."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.utils.data import Dataset

from ...core.errors import UserError
from ...data.datasets.pairs import Pair
from ...data.pair_data import PairData
from .degraded_photographs import DegradedPhotographs
from .physics import UnderDisplay


class RestorationData(PairData):
    """Pairs of a picture taken through a display (the "low" side) and the same without (the "high" side).

    Pairs are two files (`PairedFolders`), or made of clean photographs (`ImageFolder`, `SamplePhotographs`) by a
    camera.

    Args:
        camera: what degrades clean photographs; None where the sources give pairs of files. Its crops are not flipped
            or turned, as a display's stripes are not either.
        *args: see `PairData`.
        **kwargs: see `PairData`.

    Raises:
        UserError: augmentation is asked for beside a camera.
    """

    cache_name = "udc"

    def __init__(self, *args: Any, camera: UnderDisplay | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if camera and kwargs.get("augment"):
            raise UserError("data.augment: has no effect on photographs that data.camera degrades; leave one out.")
        self.camera = camera

    def patches(self, pairs: list[Pair]) -> Dataset[tuple[Tensor, Tensor]]:
        """Return random patches, (degraded, clean)."""
        self._check_degraded(pairs)
        return DegradedCrops(self._photographs(pairs)) if self.camera else super().patches(pairs)

    def wholes(self, sets: dict[str, list[Pair]]) -> Dataset[dict[str, Any]]:
        """Return the whole pictures of every set."""
        for pairs in sets.values():
            self._check_degraded(pairs)
        if not self.camera:
            return super().wholes(sets)
        return DegradedWholes({name: self._photographs(pairs) for name, pairs in sets.items()})

    def fingerprint(self) -> dict[str, Any]:
        """Return what identifies the data in use, and the camera."""
        return super().fingerprint() | ({"camera": self.camera.digest} if self.camera else {})

    def _photographs(self, pairs: list[Pair]) -> DegradedPhotographs:
        return DegradedPhotographs(pairs, self.camera, self.patch, self.seed, self.cache.folder)

    def _check_degraded(self, pairs: list[Pair]) -> None:
        """Refuse photographs that nothing degrades, which would be restored to themselves."""
        alone = next((pair for pair in pairs if pair.low is None), None)
        if alone and not self.camera:
            raise UserError(
                f"{alone.high}: has no partner taken through a display; give data.camera to make one, or pairs of "
                "files by PairedFolders."
            )
        if self.camera and not all(pair.low is None for pair in pairs):
            raise UserError("data.camera degrades clean photographs, but the data are pairs of files; leave one out.")


class DegradedCrops(Dataset[tuple[Tensor, Tensor]]):
    """Random crops as `Restoration` trains on them: (degraded, clean).

    Args:
        photographs: what is cropped and degraded.
    """

    def __init__(self, photographs: DegradedPhotographs) -> None:
        self.photographs = photographs

    def __getitem__(self, number: int) -> tuple[Tensor, Tensor]:
        """Return the crop of this number, float32 in 0..1, (3, patch, patch) twice."""
        clean, degraded = self.photographs[number]
        return degraded, clean


class DegradedWholes(Dataset[dict[str, Any]]):
    """Whole photographs of one or several named sets, degraded, as `Restoration` evaluates them.

    Args:
        sets: {set name: photographs}.
    """

    def __init__(self, sets: dict[str, DegradedPhotographs]) -> None:
        self.cases = [(name, each, index) for name, each in sets.items() for index in range(len(each))]

    def __len__(self) -> int:
        """Return the number of photographs in all sets."""
        return len(self.cases)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return {"set", "name", "low", "high"}; the images are float32 in 0..1, (3, H, W)."""
        name, photographs, inner = self.cases[index]
        clean, degraded = photographs.whole(inner)
        return {"set": name, "name": photographs.photographs[inner].name, "low": degraded, "high": clean}

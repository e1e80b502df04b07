"""Labelled volumes, for training and evaluation of networks that segment them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor

from ..core.activation_memory import activation_bytes
from ..core.errors import UserError
from .datasets.cache import user_cache
from .datasets.sampling import CountingSampler
from .datasets.volume_case import Modality, VolumeCase, VolumeSource, in_fold
from .datasets.volume_patches import TrainingPatches
from .every_case import every_case
from .loaders import LoadedData, digest_of, licences_of, shared_with_training
from .volume_augmentation import VolumeAugmentation
from .volume_cache import PREPARING, VolumeCache
from .volume_checks import VolumeFacts
from .volume_plan import Extent, VolumePlan, plan_volumes

logger = logging.getLogger(__name__)

BATCHES = 250  # of an epoch, as nnU-Net has them


class VolumeData(LoadedData):
    """Volumes with labels. The channels and the number of classes are the network's.

    Every case is read and checked once before training; what cannot be used is told then. From all cases of `train`,
    whichever fold they are in, a plan is made as nnU-Net does (`VolumePlan`), so that networks of all folds can be run
    as one: spacing, axes, scaling of values and size of patches. By it cases are prepared and kept on disk, and patches
    are read from there, or from memory where all are small.

    A batch is {"image": float32 (N, C, D, H, W) as the network takes it, "mask": class numbers, int64 (N, D, H, W)}. A
    case of evaluation is {"set", "name", "images": paths, one for each channel or one of all, "label": path, "relabel":
    what label values become}; `open_volume` and `open_labels` read it.

    Args:
        train: training volumes.
        validation: volumes scored after every epoch; None takes one fold of the patients of `train`.
        test: {name of the set: volumes} scored by `test`; None means the validation volumes.
        fold: number of the fold that validates where `validation` is None, from 0.
        folds: how many folds there are, each with as many patients as the others.
        split_seed: another seed gives other folds.
        batch_size: patches of one step over all processes.
        patches_per_epoch: None for 250 batches.
        patch_size: (D, H, W) in voxels of the network's grid; None for the plan's, the largest that memory allows.
        memory_mb: megabytes that what a step keeps for its gradients may take on one GPU, for the plan's patch; the
            whole step takes about half as much again.
        foreground_share: of each batch, that is centred on objects at least, of a class drawn at random.
        augment: dictionary transforms of MONAI on the keys image and mask, applied to patches.
        context: voxels around a patch along D, H and W that the augmentation sees too and that are cut off after it, so
            that turned patches have no empty corners.
        modality: "CT" or "MR"; None where the layout tells.
        relabel: {stored label value: what it becomes}, to merge classes or to close gaps; others stay.
        spacing: millimetres along (D, H, W) of the network's grid; None for the plan's.
        orientation: where D, H and W grow to, such as SPL; None for the plan's.
        window: values of CT (HU) that become -1 and 1; None scales by the values of objects in the training cases.
        workers: loading processes, and threads that check and prepare, each of which holds a few copies of a volume.
        seed: seed of the patches and the augmentation.
        cache: folder for prepared volumes; None means the user's cache folder.
    """

    def __init__(
        self,
        train: list[VolumeSource],
        validation: list[VolumeSource] | None = None,
        test: dict[str, VolumeSource] | None = None,
        fold: int = 0,
        folds: int = 5,
        split_seed: int = 0,
        batch_size: int = 2,
        patches_per_epoch: int | None = None,
        patch_size: tuple[int, int, int] | None = None,
        memory_mb: int = 6000,
        foreground_share: float = 1 / 3,
        augment: list[Any] | None = None,
        context: tuple[int, int, int] = (0, 0, 0),
        modality: Modality | None = None,
        relabel: dict[int, int] | None = None,
        spacing: tuple[float, float, float] | None = None,
        orientation: str | None = None,
        window: tuple[float, float] | None = None,
        workers: int = 2,
        seed: int = 0,
        cache: Path | None = None,
    ) -> None:
        super().__init__(workers, seed)
        if not 0 <= foreground_share <= 1:
            raise UserError(f"data.foreground_share {foreground_share}: give a share from 0 to 1.")
        if folds < 2 or not 0 <= fold < folds:
            raise UserError(f"data.fold {fold} of data.folds {folds}: give at least 2 folds, and one of them from 0.")
        self.train_sources = train
        self.validation_sources = validation
        self.test_sources = test
        self.fold = fold
        self.folds = folds
        self.split_seed = split_seed
        self.batch_size = batch_size
        self.length = BATCHES * batch_size if patches_per_epoch is None else patches_per_epoch
        self.patch_size = patch_size and (patch_size[0], patch_size[1], patch_size[2])
        self.memory_mb = memory_mb
        self.foreground_share = foreground_share
        self.augmentation = VolumeAugmentation(augment or ())
        self.context = (context[0], context[1], context[2])
        self.given_modality = modality
        self.relabel = dict(relabel or {})
        self.spacing = spacing and (spacing[0], spacing[1], spacing[2])
        self.orientation = orientation
        self.window = window
        self.cache = Path(cache or user_cache() / "volumes")
        self.used: dict[str, list[VolumeCase]] = {}  # what the stage that was set up reads

    def setup(self, stage: str) -> None:
        """List, read and check what the stage needs, and prepare it, so that what is wrong is told before any work."""
        self._check_options()
        sets = self._sets(stage)
        self.used = ({"train": self._parts[0]} if stage == "fit" else {}) | sets
        for name, cases in self.used.items():
            if not cases:
                raise UserError(f"the {name} set is empty; give data.{name} volumes.")
        self._warn_of_shared()
        self._checked([case for cases in self.used.values() for case in cases], "checking volumes")
        self.evaluation = [self._evaluation_case(name, case) for name, cases in sets.items() for case in cases]
        if stage == "fit":
            self._set_up_training()

    @cached_property
    def plan(self) -> VolumePlan:
        """How volumes are brought to the network, from the cases of all folds, so that these have one plan."""
        self._check_classes(self._checked(self._parts[0]))
        return plan_volumes(
            self._checked(_listed(self.train_sources)),
            self._modality(),
            self.channels,
            self.classes,
            self._multiple(),
            self._cost,
            self.spacing,
            self.orientation,
            self.window,
            self.patch_size,
        )

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes but the background; () where no layout has one for each.

        Raises:
            UserError: a layout has more or fewer than the network.
        """
        wanted = self.net.num_classes - 1
        for source in self.train_sources:
            names = [name for value, name in enumerate(source.classes, 1) if value not in self.relabel]
            if len(names) == wanted:
                return tuple(names)
            if names and not self.relabel:
                raise UserError(
                    f"the data has {len(names)} classes ({', '.join(names)}) and the background, the network "
                    f"{wanted + 1} in all; set model.net.num_classes to {len(names) + 1}, or merge some by "
                    "data.relabel."
                )
        return ()

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the channels.

        Raises:
            UserError: a layout has more or fewer than the network.
        """
        wanted = self.net.in_channels
        names = next((tuple(each.channels) for each in self.train_sources if each.channels), None)
        if names and len(names) != wanted:
            raise UserError(
                f"the data has {len(names)} channels ({', '.join(names)}), the network {wanted}; set "
                f"model.net.in_channels to {len(names)}."
            )
        modality = self._modality()
        return names or ((modality,) if wanted == 1 else tuple(f"{modality} {n}" for n in range(1, wanted + 1)))

    def class_counts(self) -> Tensor:
        """Return the voxels of each class in the training labels, int64 (classes,), as they are stored."""
        return torch.tensor([each.counts for each in self._checked(self._parts[0])]).sum(dim=0)

    def sampler(self, rank: int, world: int) -> CountingSampler:
        """Return the order of the patches, which is that of their numbers."""
        return CountingSampler(self.length - self.length % self.batch_size, self.seed, rank, world)

    def state_dict(self) -> dict[str, Any]:
        """Return the plan, for the checkpoint."""
        return self.plan.plain()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Refuse to go on with a training by another plan.

        Raises:
            UserError: the plan of the training data brings volumes to the network in another way now.
        """
        if self.trainer.state.fn != TrainerFn.FITTING:
            return
        plan = self.plan.plain()
        changed = [name for name in PREPARING if plan[name] != state[name]]
        if changed:
            raise UserError(
                f"the plan of the training data has another {changed[0]} now ({plan[changed[0]]}) than when the "
                f"training began ({state[changed[0]]}); go on with the same data and options, or train anew."
            )

    def fingerprint(self) -> dict[str, Any]:
        """Return what identifies the data in use: licences, and numbers and a digest of each part.

        Names stand in the digest alone, as they may tell who the patients are.
        """
        licences = licences_of(self.train_sources, self.validation_sources or (), (self.test_sources or {}).values())
        return {"licences": licences} | {name: _facts(cases) for name, cases in self.used.items()}

    @cached_property
    def _parts(self) -> tuple[list[VolumeCase], list[VolumeCase]]:
        """The training and the validation cases."""
        cases = _listed(self.train_sources)
        if self.validation_sources is not None:
            return cases, _listed(self.validation_sources)
        return in_fold(cases, self.fold, self.folds, self.split_seed)

    def _sets(self, stage: str) -> dict[str, list[VolumeCase]]:
        """Return the cases that the stage scores, by set."""
        if stage in ("fit", "validate") or not self.test_sources:
            return {"validation": self._parts[1]}
        return {name: source.cases() for name, source in self.test_sources.items()}

    def _check_options(self) -> None:
        self.check_batch_size()
        if self.length < self.batch_size:
            raise UserError(
                f"data.patches_per_epoch {self.length} is less than data.batch_size {self.batch_size}; raise it."
            )
        multiple = self._multiple()
        if self.patch_size and any(
            side < 1 or side % each for side, each in zip(self.patch_size, multiple, strict=True)
        ):
            raise UserError(
                f"data.patch_size {_times(self.patch_size)}: the network takes sizes that are multiples of "
                f"{_times(multiple)}."
            )
        if self.patch_size and not self._takes(self.patch_size):
            raise UserError(f"data.patch_size {_times(self.patch_size)}: the network does not take this size.")

    def _checked(self, cases: Sequence[VolumeCase], told: str = "") -> list[VolumeFacts]:
        """Return the facts of cases, read where the cache has them not.

        Raises:
            UserError: cases cannot be used; says how many and which is the first.
        """
        return self._each(cases, self._cached.facts, told)

    def _set_up_training(self) -> None:
        cases, card = self._parts[0], self.plan.card()
        volumes = self._each(cases, lambda case: self._cached.prepared(case, card), "preparing volumes")
        self.training = TrainingPatches(
            volumes,
            self.plan.patch_size,
            self.context,
            self.batch_size,
            self.foreground_share,
            self.seed,
            self.augmentation,
        )

    def _each(self, cases: Sequence[VolumeCase], function: Callable[[VolumeCase], Any], told: str = "") -> list[Any]:
        """Call a function that keeps its results with each case, on all threads; processes begin at other cases."""
        first = self.trainer.global_rank * len(cases) // self.trainer.world_size
        return every_case(cases, function, self.workers, "cases", first, "" if self.trainer.global_rank else told)

    def _check_classes(self, facts: Sequence[VolumeFacts]) -> None:
        absent = np.flatnonzero(np.sum([each.counts for each in facts], axis=0) == 0)
        if absent.size:
            number = int(absent[0])
            name = f" ({self.classes[number - 1]})" if number and self.classes else ""
            raise UserError(
                f"no training label holds the class {number}{name}; correct the labels or data.relabel, or give a "
                f"network of fewer than {self.net.num_classes} classes."
            )

    def _warn_of_shared(self) -> None:
        patients = {name: [case.group for case in cases] for name, cases in self.used.items()}
        for name, shared in shared_with_training(patients):
            logger.warning(
                "%d patients of the %s set are trained on too, such as %s; its scores say nothing of new patients.",
                *(len(shared), name, shared[0]),
            )

    def _takes(self, patch: Extent) -> bool:
        """Tell whether the network takes a patch; True where that cannot be told beforehand."""
        try:
            return self._cost(patch) is not None
        except UserError:
            return True

    def _cost(self, patch: Extent) -> float | None:
        """Return the memory of a step on a patch as a share of what is allowed; None where the network refuses it.

        Raises:
            UserError: the network does not run on PyTorch's meta device.
        """
        net = self.net
        samples = self.batch_size // self.trainer.world_size
        try:
            return activation_bytes(net, (samples, net.in_channels, *patch)) / (self.memory_mb * 1e6)
        except ValueError:
            return None
        except RuntimeError as error:
            raise UserError(
                f"the memory that {type(net).__name__} needs cannot be foreseen ({str(error).splitlines()[0]}); give "
                "data.patch_size."
            ) from error

    def _modality(self) -> Modality:
        told = {each.modality for each in self.train_sources} - {None}
        if self.given_modality is None and len(told) != 1:
            raise UserError("the data does not say whether it is CT or MR; set data.modality.")
        return self.given_modality or told.pop()

    def _evaluation_case(self, name: str, case: VolumeCase) -> dict[str, Any]:
        files = {"images": [*case.images], "label": case.label, "relabel": self.relabel}
        return {"set": name, "name": case.name, **files}

    @property
    def _cached(self) -> VolumeCache:
        net = self.net
        return VolumeCache(self.cache, net.in_channels, net.num_classes, self.relabel)

    def _multiple(self) -> Extent:
        multiple = self.net.size_multiple
        return (multiple,) * 3 if isinstance(multiple, int) else multiple


def _listed(sources: Sequence[VolumeSource]) -> list[VolumeCase]:
    return [case for source in sources for case in source.cases()]


def _facts(cases: Sequence[VolumeCase]) -> dict[str, Any]:
    files = [path for each in cases for path in (*each.images, each.label)]
    return {
        "cases": len(cases),
        "patients": len({each.group for each in cases}),
        "bytes": sum(path.stat().st_size for path in files),
        "sha256": digest_of(f"{each.group}\t{each.name}" for each in cases),
    }


def _times(sizes: Sequence[int]) -> str:
    return " x ".join(map(str, sizes))

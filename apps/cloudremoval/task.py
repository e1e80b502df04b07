"""Training and evaluation of networks that make one cloud-free image of several dates."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn

from ...core.adversarial_task import AdversarialTask
from ...core.cases import Case
from ...core.errors import UserError
from ...core.inference.arrays import ArraySink, ArraySource
from ...core.inference.engine import Engine
from ...core.losses.adversarial import discriminator_loss, generator_loss
from ...core.losses.cloud_removal import CloudRemovalLoss, image_error
from ...core.results import results_table
from ...core.weights.card import Card
from ...core.weights.load import load_model
from ...data.datasets.scene_series import CHANNELS
from .clouds import cloud_mask
from .composites import least_cloudy, median_of_clear
from .discriminator import PatchDiscriminator
from .models.cloud_teacher import CloudTeacher
from .pictures import alike_pictures
from .program import kept_share
from .scores import compared, mostly_cloudy

MIDDLE = 0.5
"""Of 0..1: subtracted from every band, which then is divided by it, so that the network sees -1..1."""


class CloudRemoval(AdversarialTask):
    """Trains PMAA, or a plain network, and scores what it makes beside what needs no network (Zou et al., ECAI 2023).

    The image shall equal the truth, mean absolute error with weight 100, and shall pass for real with the
    discriminator, which learns first from each batch. The masks of clear sky shall equal those of the frozen cloud
    teacher or, without one, 1 where the data know no cloud and 0 where they know one; where they know nothing, masks
    are free. A network that gives the image alone has neither masks nor auxiliary images. Schedules advance every
    epoch.

    A case is computed through the engine, as `infer` computes. Scores are those of protocol A and B, see `scores`; a
    pixel is cloudy there if it is so on more than half of the dates. Beside the network's are those of its image where
    the clearest date was kept ("keep_clear"), of the clearest date as it is ("least_cloudy") and of the median of the
    clear dates ("median"). Where the data know nothing of clouds, `cloud_mask` tells them. Intervals are over places.

    Args:
        net: the network, (N, dates * bands, H, W) in -1..1 -> (N, num_outputs, H, W); it declares these numbers,
            `in_channels`, `size_multiple`, `smallest_size` and `scale`, which is 1.
        optimizer: makes the network's optimiser.
        discriminator_optimizer: makes the discriminator's optimiser.
        scheduler: makes the network's learning-rate schedule.
        discriminator_scheduler: makes the discriminator's learning-rate schedule.
        discriminator_widths: channels of the discriminator after each halving; none trains without a discriminator.
        teacher: weights of the cloud teacher.
        auxiliary_weight: weight of the auxiliary images' mean absolute error; 50 where the authors use it.
        tile: side of a tile in pixels; smaller images are computed whole.
        overlap: pixels that neighbouring tiles share.
        licence: licence of the trained weights, written to their card.
    """

    app = "cloudremoval"
    monitor = "val/psnr_b"
    units: ClassVar[dict[str, str]] = {"psnr": "dB", "sam": "°"}
    picture_titles = ("least cloudy date", "median of clear dates", "network", "truth")
    exhibit_kind = "slider"
    exhibit_facts: ClassVar[dict[str, Any]] = {"before": "least cloudy date", "after": "network"}

    def __init__(
        self,
        net: nn.Module,
        optimizer: OptimizerCallable = torch.optim.AdamW,
        discriminator_optimizer: OptimizerCallable = torch.optim.AdamW,
        scheduler: LRSchedulerCallable | None = None,
        discriminator_scheduler: LRSchedulerCallable | None = None,
        discriminator_widths: Sequence[int] = (64, 64, 128, 256, 512),
        teacher: Path | None = None,
        auxiliary_weight: float = 0.0,
        tile: int = 256,
        overlap: int = 32,
        licence: str = "",
    ) -> None:
        seen = net.in_channels + net.num_outputs
        discriminator = PatchDiscriminator(seen, discriminator_widths) if discriminator_widths else None
        optimizers = (optimizer, discriminator_optimizer, scheduler, discriminator_scheduler)
        super().__init__(net, discriminator, *optimizers, licence)
        self.teacher = teacher
        self.loss = CloudRemovalLoss(auxiliary_weight=auxiliary_weight)
        self.tile = tile
        self.overlap = overlap
        self.frozen: list[CloudTeacher] = []  # a list, so that the teacher is no part of what is saved

    def setup(self, stage: str) -> None:
        """Load the cloud teacher, and refuse data that are not for this network.

        Raises:
            UserError: other bands than the network's, patches too small for the discriminator, or weights that are no
                cloud teacher of these bands.
        """
        data = self.trainer.datamodule
        if len(data.channels) != self.net.bands:
            raise UserError(
                f"the data have the bands {', '.join(data.channels)}, the network takes {self.net.bands}; set "
                "model.net.init_args.bands."
            )
        if stage == "fit":
            self._check_patch(data.patch)
            self.frozen = [self._loaded(self.teacher)] if self.teacher else []

    def training_step(self, batch: dict[str, Tensor], index: int) -> None:
        """Let the discriminator learn, then the network, both by the same images."""
        dates, truth = self.seen(batch)
        made = self.net(dates)
        if self.discriminator is None:
            self.learn(self.optimizers(), self.distance(made, truth, batch), "train/loss")
            return
        generator, discriminator = self.optimizers()
        image = _image(made)
        with self.toggled_optimizer(discriminator):
            verdicts = self.verdict(dates, image.detach()), self.verdict(dates, truth)
            self.judge(discriminator, discriminator_loss(*verdicts), "train/discriminator")
        with self.toggled_optimizer(generator):
            loss = generator_loss(self.verdict(dates, image)) + self.distance(made, truth, batch)
            self.learn(generator, loss, "train/loss")

    def training_loss(self, batch: dict[str, Tensor]) -> Tensor:
        """Return the network's loss without the discriminator's verdict."""
        dates, truth = self.seen(batch)
        return self.distance(self.net(dates), truth, batch)

    def seen(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return what the network takes, (N, dates * bands, H, W), and shall give, (N, num_outputs, H, W), in -1..1."""
        return _centred(batch["images"]).flatten(1, 2), _centred(batch["truth"])[:, : self.net.num_outputs]

    def distance(self, made: Tensor | tuple[Tensor, Tensor, Tensor], truth: Tensor, batch: dict[str, Tensor]) -> Tensor:
        """Return how far what the network made in training is from the truth and from the clouds."""
        if isinstance(made, Tensor):
            return self.loss.image_weight * image_error(made.float(), truth)
        image, masks, auxiliary = (each.float() for each in made)
        return self.loss(image, truth, masks, self._taught(batch, masks.detach()), auxiliary)

    def evaluate(self, batch: dict[str, Any]) -> tuple[Case, list[np.ndarray]]:
        """Score one place, and what needs no network beside it."""
        images, truth, clouds = (batch[name][0].float().cpu() for name in ("images", "truth", "clouds"))
        clouds = _known(clouds, images)
        bands, best = self.net.num_outputs, int(clouds.mean(dim=(1, 2, 3)).argmin())
        made, dates = self._cloud_free(images), torch.cat([images, clouds], dim=1)[None]
        kept = kept_share(clouds[None, best, 0])[0]
        estimates = {
            "": made,
            "keep_clear": kept * images[best, :bands] + (1 - kept) * made,
            "least_cloudy": least_cloudy(dates, best)[0, :bands],
            "median": median_of_clear(dates)[0, :bands],
        }
        case: Case = {key: batch[key][0] for key in ("set", "name", "place")}
        case |= compared(estimates, truth[:bands], mostly_cloudy(clouds), getattr(self.data, "protocol", "reflectance"))
        shown = (*(estimates[name] for name in ("least_cloudy", "median", "")), truth[:bands])
        return case | {"cover": clouds.mean().item()}, alike_pictures(shown)

    def predict_step(self, batch: dict[str, Any], index: int) -> Tensor:
        """Return the cloud-free image, (1, num_outputs, H, W)."""
        return self._cloud_free(batch["images"][0].float().cpu())[None]

    def results(self) -> str:
        """Return the table of both protocols, with intervals over places."""
        return f"{results_table(self.cases, by='place')}\n_a: protocol A, display; _b: protocol B, reflectance"

    def card(self) -> Card:
        """Return the weights card of the network as it stands."""
        bands = self.net.bands
        channels = tuple(getattr(self.data, "channels", CHANNELS if bands == len(CHANNELS) else _numbered(bands)))
        multiple = self.net.size_multiple
        facts = self.card_facts(
            channels=channels,
            dates=self.net.dates,
            unit=getattr(self.data, "unit", "reflectance"),
            mean=(MIDDLE,) * bands,
            std=(MIDDLE,) * bands,
            outputs=channels[: self.net.num_outputs],
            tile=-(-self.tile // multiple) * multiple,
            overlap=self.overlap,
        )
        return Card(**facts)

    def _cloud_free(self, images: Tensor) -> Tensor:
        """Return the image that the engine computes of (dates, bands, H, W)."""
        sink = ArraySink(images.shape[-2:])
        Engine(self.net, self.card(), self.device).run(ArraySource(images.numpy(), spatial=2), sink)
        return torch.from_numpy(sink.array)

    def _taught(self, batch: dict[str, Tensor], masks: Tensor) -> Tensor:
        """Return what the masks (N, dates, 1, H, W) shall be: near 1 on clear ground, near 0 on cloud."""
        if not self.frozen:
            return torch.where(batch["clouds"].isnan(), masks, 1 - batch["clouds"])
        images = batch["images"]
        teacher = self.frozen[0].to(images.device)
        with torch.no_grad():
            return teacher(_centred(images).flatten(0, 1)).view_as(masks)

    def _check_patch(self, patch: int) -> None:
        halvings = 0 if self.discriminator is None else len(self.discriminator.layers) + 1
        if patch < 2 ** (halvings + 1) and halvings:
            raise UserError(
                f"data.patch {patch}: a discriminator with {halvings} halvings needs {2 ** (halvings + 1)} pixels; "
                "give larger patches, or fewer model.discriminator_widths."
            )

    def _loaded(self, path: Path) -> CloudTeacher:
        teacher = load_model(path)
        if not isinstance(teacher, CloudTeacher) or teacher.in_channels != self.net.bands:
            raise UserError(
                f"{path}: is no cloud teacher of {self.net.bands} bands; leave model.teacher out without one."
            )
        return teacher


def _centred(values: Tensor) -> Tensor:
    return (values - MIDDLE) / MIDDLE


def _image(made: Tensor | tuple[Tensor, Tensor, Tensor]) -> Tensor:
    return made if isinstance(made, Tensor) else made[0]


def _known(clouds: Tensor, images: Tensor) -> Tensor:
    """Return clouds without unknown ones, (T, 1, H, W); they are looked for in (T, B, H, W), or none are there."""
    if not clouds.isnan().any():
        return clouds
    found = cloud_mask(images).float() if images.shape[1] == len(CHANNELS) else torch.zeros_like(clouds)
    return torch.where(clouds.isnan(), found, clouds)


def _numbered(bands: int) -> tuple[str, ...]:
    return tuple(f"band {number}" for number in range(1, bands + 1))

"""Clearing one place: its dates in, the cloud-free image and what stands beside it out."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import asdict

from ...core.errors import UserError
from ...core.inference.batch import Item
from ...core.inference.engine import Engine, Progress
from ...core.inference.fan import Fan, Part
from ...core.weights.card import Card
from ...data.io.geotiff import GeoTiffSink
from .beside import ConfidenceSink, names_of, open_clouds, tell_dates
from .cloudy_series import CloudySeries
from .places import Reading, find_place, open_series
from .program import CloudFree, Wanted
from .quicklook import QuickLook
from .selection import choose_dates, clearest, told


class Clearing:
    """Makes the outputs of places.

    Args:
        engine: of the network alone.
        reading: how the files are read.
        wanted: what is made beside the image.
        tta: the image is the mean over mirrored and turned views.
        most_cloud: the share of cloud that one date at least must not exceed.
        cog: write cloud-optimised files.

    Attributes:
        facts: what outputs depend on beside the network and the inputs.
    """

    def __init__(
        self, engine: Engine, reading: Reading, wanted: Wanted, tta: bool, most_cloud: float, cog: bool
    ) -> None:
        self.engine = engine
        self.reading = reading
        self.wanted = wanted
        self.tta = tta
        self.most_cloud = most_cloud
        self.cog = cog
        self.facts = {**asdict(reading), **asdict(wanted), "most_cloud": most_cloud, "cog": cog}

    def __call__(self, item: Item, fingerprint: str, progress: Progress) -> str:
        """Make the outputs of a place; return which dates were taken."""
        card = self.engine.card
        with ExitStack() as stack:
            place = find_place(item.input, self.reading.masks)
            series = stack.enter_context(open_series(place, card, self.reading))
            every = series.shape[0]
            cover = self._chosen(series)
            program = CloudFree(self.engine.program, card, clearest(cover), self.wanted, self.tta)
            fan = Fan(self._parts(item, series, program, cover, fingerprint, stack))
            self.engine.with_program(program).run(series, fan, progress)
            return f"{told(names_of(series), cover)} cloud; {series.shape[0]} of {every} dates"

    def _chosen(self, series: CloudySeries) -> list[float]:
        """Keep the clearest dates of a series; return the cover of each."""
        cover = series.cover
        chosen = choose_dates(cover, self.engine.card.dates, self.most_cloud, series.dates)
        series.keep(chosen)
        return [cover[index] for index in chosen]

    def _parts(
        self,
        item: Item,
        series: CloudySeries,
        program: CloudFree,
        cover: list[float],
        fingerprint: str,
        stack: ExitStack,
    ) -> list[Part]:
        """Return the outputs, each with its channels of the program."""
        card, beside = self.engine.card, item.beside
        image = stack.enter_context(GeoTiffSink.like(item.output, series.source, card, fingerprint, cog=self.cog))
        tell_dates(image, names_of(series), cover)
        parts = [Part(image, program.image, "none")]
        if "clouds" in beside:
            clouds = open_clouds(beside["clouds"], series, cover, fingerprint, self.cog)
            parts.append(Part(stack.enter_context(clouds), program.clouds, "none"))
        if "confidence" in beside:
            confidence = ConfidenceSink(beside["confidence"], series, fingerprint, self.cog)
            parts.append(Part(stack.enter_context(confidence), program.confidence, "none"))
        if "quicklook" in beside:
            titles = [f"{name}, {each:.0%} cloud" for name, each in zip(names_of(series), cover, strict=True)]
            look = QuickLook(beside["quicklook"], image, series, card, program.best, titles)
            parts.append(Part(look, program.image, "none"))
        return parts


def check_card(card: Card, weights: str) -> None:
    """Refuse weights that make no image of the bands they take.

    Raises:
        UserError: they do.
    """
    strange = [name for name in card.outputs if name not in card.channels]
    if strange or card.activation != "none" or card.scale != 1:
        made = ", ".join(card.outputs or card.channels)
        raise UserError(f"--weights {weights}: make {made}, no cloud-free image; give those of a network that does.")

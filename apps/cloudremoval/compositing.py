"""Making the composite of one place: its dates in, the image out."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import asdict, replace
from functools import partial
from typing import Literal

from ...core.inference.batch import Item
from ...core.inference.engine import Engine, Progress
from ...core.weights.card import Card
from ...data.io.geotiff import GeoTiffSink
from .beside import names_of, tell_dates
from .cloudy_series import CloudySeries
from .composites import least_cloudy, median_of_clear
from .places import Reading, find_place, open_series
from .selection import choose_dates, clearest

TILE = 256  # pixels along a side: many dates are in memory at once
CARD = Card(
    name="composite",
    app="cloudremoval",
    network={"class_path": f"{median_of_clear.__module__}.{median_of_clear.__name__}"},
    tile=TILE,
    overlap=0,
    channels=("red", "green", "blue", "nir"),
    unit="reflectance",
)
"""What is read where no bands are chosen."""


class Compositing:
    """Makes the composites of places.

    Args:
        method: how.
        reading: how the files are read.
        most_cloud: the share of cloud that one date at least must not exceed.
        cog: write cloud-optimised files.

    Attributes:
        facts: what outputs depend on beside the inputs.
    """

    def __init__(
        self, method: Literal["median", "least-cloudy"], reading: Reading, most_cloud: float, cog: bool
    ) -> None:
        self.method = method
        self.reading = reading
        self.most_cloud = most_cloud
        self.cog = cog
        self.facts = {"method": method, **asdict(reading), "most_cloud": most_cloud, "cog": cog}

    def __call__(self, item: Item, fingerprint: str, progress: Progress) -> str:
        """Make the composite of a place; return what it was made of."""
        with ExitStack() as stack:
            place = find_place(item.input, self.reading.masks)
            series = stack.enter_context(open_series(place, CARD, self.reading))
            cover = series.cover
            choose_dates(cover, 1, self.most_cloud, series.dates)  # refuses a place of which nothing is seen
            card = card_of(series)
            image = replace(card, channels=card.outputs)
            sink = stack.enter_context(GeoTiffSink.like(item.output, series.source, image, fingerprint, self.cog))
            if self.method == "median":
                compose = median_of_clear
                note = f"median of {len(cover)} dates; {series.never_clear:.2%} of the scene is clear on none of them"
                tell_dates(sink, names_of(series), cover)
            else:
                best = clearest(cover)
                compose = partial(least_cloudy, best=best)
                note = f"{series.files[best].name}, {cover[best]:.0%} cloud"
                tell_dates(sink, names_of(series)[best : best + 1], cover[best : best + 1])
            Engine(lambda x: compose(x.unflatten(1, (card.dates, -1))), card).run(series, sink, progress)
            return note


def card_of(series: CloudySeries) -> Card:
    """Return the card of what is run on a series: bands by their numbers, as several may have the same description."""
    dates, channels, *_ = series.shape
    bands = tuple(f"band {number}" for number in range(1, channels))
    return replace(CARD, dates=dates, channels=(*bands, "cloud"), outputs=bands)

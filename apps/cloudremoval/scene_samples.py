"""Dates of places, what is cloud on them, and the cloud-free image: patches for training and whole cases for tests.

Arrays are float32; T dates, B bands, H W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np

from ...core.errors import UserError
from ...data.datasets.scene_files import SceneFiles
from ...data.datasets.scene_series import SceneImage, SceneSeries

TRIES = 10  # windows that are drawn until one has a clear truth
MOST_CLOUD = 0.02  # share of a truth that may be cloud
Window = tuple[slice, slice]


class Sample(NamedTuple):
    """What a network is trained on or scored by.

    Attributes:
        images: (T, B, h, w); 0 where nothing counts.
        truth: (B, h, w); 0 where nothing counts.
        clouds: (T, 1, h, w): 1 on cloud and where nothing counts, 0 elsewhere, NaN where not known.
    """

    images: np.ndarray
    truth: np.ndarray
    clouds: np.ndarray


class SceneCase(NamedTuple):
    """A case of evaluation.

    Attributes:
        name: what reports call it.
        place: whose samples are not independent of one another.
        index: of the scene.
        window: of the scene.
    """

    name: str
    place: str
    index: int
    window: Window


class Samples(Protocol):
    """Scenes that samples are cut out of.

    Attributes:
        dates: input images of each sample.
        places: every place that is seen.
        names: of the scenes.
    """

    dates: int
    places: set[str]
    names: list[str]

    def patch(self, index: int, side: int, generator: np.random.Generator) -> Sample:
        """Return a random square of a scene."""
        ...

    def cases(self, side: int) -> list[SceneCase]:
        """Return the cases, none larger than `side` in pixels along an axis."""
        ...

    def case(self, case: SceneCase) -> Sample:
        """Return one of the cases."""
        ...


class SeriesSamples:
    """Samples as the files give them.

    Args:
        series: the scenes; all are decoded, so that what is wrong is told before any work.
        files: opens them.

    Raises:
        UserError: a file cannot be read; or scenes have different numbers of dates, or dates of one other sizes.
    """

    def __init__(self, series: Sequence[SceneSeries], files: SceneFiles) -> None:
        self.series = list(series)
        self.files = files
        self.dates = len(self.series[0].images)
        self.names = [each.name for each in self.series]
        self.places = {each.place for each in self.series}
        if other := next((each for each in self.series if len(each.images) != self.dates), None):
            raise UserError(
                f"{other.truth.files[0]}: has {len(other.images)} cloudy dates, {self.series[0].name} has {self.dates}"
                "; samples of one set have the same number."
            )
        for each in self.series:
            for image in each.images:
                check_size(image, files.values(image), each.truth, files.values(each.truth))

    def patch(self, index: int, side: int, generator: np.random.Generator) -> Sample:
        """Return a random square whose truth is clear, or the clearest that was found."""
        series = self.series[index]
        return self._cut(series, clear_window(self.files, series.truth, side, generator))

    def cases(self, side: int) -> list[SceneCase]:
        """Return the parts of the scenes whose truth is clear."""
        return [
            SceneCase(name, series.place, index, window)
            for index, series in enumerate(self.series)
            for name, window in clear_parts(self.files, series.truth, side, series.name)
        ]

    def case(self, case: SceneCase) -> Sample:
        """Return one of the cases."""
        return self._cut(self.series[case.index], case.window)

    def _cut(self, series: SceneSeries, window: Window) -> Sample:
        images = np.stack([filled(self.files.values(image)[:, *window]) for image in series.images])
        clouds = np.stack([self.files.clouds(image)[:, *window] for image in series.images])
        return Sample(images, filled(self.files.values(series.truth)[:, *window]), clouds)


def clear_window(files: SceneFiles, truth: SceneImage, side: int, generator: np.random.Generator) -> Window:
    """Return a random square window in which an image is clear, or the clearest of those drawn.

    Raises:
        UserError: the image is smaller.
    """
    clouds = files.clouds(truth)[0]
    windows = []
    for _ in range(TRIES):
        window = random_window(truth, clouds.shape, side, generator)
        share = np.nan_to_num(clouds[window]).mean()
        if share <= MOST_CLOUD:
            return window
        windows.append((share, len(windows), window))
    return min(windows)[2]


def random_window(image: SceneImage, size: tuple[int, ...], side: int, generator: np.random.Generator) -> Window:
    """Return a random square window.

    Raises:
        UserError: the image is smaller.
    """
    check_square(image, size, side, "data.patch")
    top, left = (int(generator.integers(length - side + 1)) for length in size)
    return slice(top, top + side), slice(left, left + side)


def check_square(image: SceneImage, size: tuple[int, ...], side: int, setting: str) -> None:
    """Refuse an image that is smaller than a square that is cut out of it.

    Args:
        image: the image.
        size: its height and width in pixels.
        side: that of the square.
        setting: what tells that.

    Raises:
        UserError: it is smaller.
    """
    if min(size) < side:
        raise UserError(
            f"{image.files[0]}: is {size[1]}x{size[0]} pixels, smaller than a square of {side}; lower {setting}."
        )


def clear_parts(files: SceneFiles, truth: SceneImage, side: int, name: str) -> list[tuple[str, Window]]:
    """Return the parts of an image that are clear, with their names; the whole where it is no larger than a part."""
    clouds = files.clouds(truth)[0]
    height, width = clouds.shape
    if max(height, width) <= side:
        return [(name, (slice(0, height), slice(0, width)))]
    corners = [(top, left) for top in range(0, height, side) for left in range(0, width, side)]
    windows = [(slice(top, min(top + side, height)), slice(left, min(left + side, width))) for top, left in corners]
    clear = [each for each in windows if np.nan_to_num(clouds[each]).mean() <= MOST_CLOUD]
    return [(f"{name} {rows.start}-{columns.start}", (rows, columns)) for rows, columns in clear]


def check_size(image: SceneImage, values: np.ndarray, truth: SceneImage, wanted: np.ndarray) -> None:
    """Refuse an image of another size than the truth.

    Raises:
        UserError: it has one.
    """
    if values.shape[1:] != wanted.shape[1:]:
        raise UserError(
            f"{image.files[0]}: is {values.shape[2]}x{values.shape[1]} pixels, {truth.files[0].name} is "
            f"{wanted.shape[2]}x{wanted.shape[1]}; bring the dates of a place onto one grid, as with gdalwarp."
        )


def filled(values: np.ndarray) -> np.ndarray:
    """Return values with 0 where nothing counts."""
    return np.nan_to_num(values, nan=0.0)

"""Cloudy dates made of clear images and real clouds of other dates or places, for archives without cloudy/clear pairs.

A date becomes x = (1 - a) * clear + a * cloudy, where a is how opaque the cloud of a cloudy image is. Of a mask alone
it would have hard edges, and roads and roofs that a mask takes for cloud would be pasted in. So

    a = S(blurred mask; 0.5, 1) * S(blurred darkest visible band; 0.1, 0.3),    S(x; low, high) = smoothstep,

as clouds are bright in red, green and blue alike, thin ones less (the whiteness and brightness that Fmask tests: Zhu
and Woodcock, "Object-based cloud and cloud shadow detection in Landsat imagery", Remote Sensing of Environment 2012,
sec. 3.1.1). What is not made: the shadows that clouds throw on the clear image.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...core.errors import UserError
from ...data.datasets.scene_files import SceneFiles
from ...data.datasets.scene_series import SceneImage, SceneSource, nearest
from .scene_samples import (
    Sample,
    SceneCase,
    Window,
    check_size,
    check_square,
    clear_parts,
    clear_window,
    filled,
    random_window,
)

MASK_BLUR = 3.0  # pixels
BRIGHTNESS_BLUR = 1.0
EDGE = (0.5, 1.0)  # of the blurred mask: from no cloud to all of it
BRIGHTNESS = (0.1, 0.3)  # reflectance of the darkest visible band: from clear to opaque
OPAQUE = 0.1  # from which a pixel counts as cloud
VISIBLE = slice(0, 3)
EVALUATION = 1  # keeps the draws of cases apart from those of the training


class ComposedClouds:
    """Samples composed of clear images and clouds.

    The dates of a sample are those of its scene that are clear and nearest to the truth in time, the truth among them;
    where there are too few they come again. Each gets the cloud of a random image, turned and flipped at random,
    and a gain of its own.

    Args:
        ground: layouts whose clear images are the truth.
        clouds: layouts whose cloudy images give clouds; those of which it is known where cloud is.
        dates: input images of a sample.
        most_cloud: share of cloud, 0..1, up to which an image is ground, if it is not known to be clear.
        cover: shares of cloud, 0..1, from and to which an image gives clouds.
        clear_dates: probability that a date stays clear.
        jitter: the gain of a date is from 1 - jitter to 1 + jitter, that of each of its bands a quarter of that around.
        cases: of each ground image where it is evaluated; always the same.
        seed: of the cases.
    """

    protocol = "reflectance"
    unit = "reflectance"

    def __init__(
        self,
        ground: list[SceneSource],
        clouds: list[SceneSource],
        dates: int = 3,
        most_cloud: float = 0.01,
        cover: tuple[float, float] = (0.1, 1.0),
        clear_dates: float = 0.1,
        jitter: float = 0.1,
        cases: int = 1,
        seed: int = 0,
    ) -> None:
        self.ground = ground
        self.clouds = clouds
        self.dates = dates
        self.most_cloud = most_cloud
        self.cover = cover
        self.clear_dates = clear_dates
        self.jitter = jitter
        self.num_cases = cases
        self.seed = seed

    @property
    def licence(self) -> str:
        """Terms of the images."""
        return "; ".join(dict.fromkeys(each.licence for each in (*self.ground, *self.clouds) if each.licence))

    def samples(self, files: SceneFiles) -> ComposedSamples:
        """Return the samples.

        Raises:
            UserError: an image is missing, none is clear, or none gives clouds.
        """
        ground = [
            image
            for source in self.ground
            for image in source.images()
            if image.is_clear or files.cover(image) <= self.most_cloud
        ]
        lowest, highest = self.cover
        clouds = [
            image
            for source in self.clouds
            for image in source.images()
            if not image.is_clear and lowest <= files.cover(image) <= highest
        ]
        if not ground:
            raise UserError(f"data: no image of the ground has at most {self.most_cloud:.1%} cloud; raise most_cloud.")
        if not clouds:
            raise UserError(f"data: no image has {lowest:.0%} to {highest:.0%} cloud to compose with; widen cover.")
        return ComposedSamples(self, ground, clouds, files)


class ComposedSamples:
    """Samples of `ComposedClouds`.

    Args:
        plan: how they are composed.
        ground: clear images; all are decoded, so that what is wrong is told before any work.
        clouds: cloudy images.
        files: opens them.

    Raises:
        UserError: a file cannot be read, or images of a scene have different sizes.
    """

    def __init__(
        self, plan: ComposedClouds, ground: Sequence[SceneImage], clouds: Sequence[SceneImage], files: SceneFiles
    ) -> None:
        self.plan = plan
        self.ground = list(ground)
        self.clouds = list(clouds)
        self.files = files
        self.dates = plan.dates
        self.names = [_name(image) for image in self.ground]
        self.places = {image.place for image in (*self.ground, *self.clouds)}
        for truth in self.ground:
            for image in self._dates(truth):
                check_size(image, files.values(image), truth, files.values(truth))

    def patch(self, index: int, side: int, generator: np.random.Generator) -> Sample:
        """Return a random square of a clear image under clouds."""
        return self._composed(index, clear_window(self.files, self.ground[index], side, generator), generator)

    def cases(self, side: int) -> list[SceneCase]:
        """Return each clear image, or its parts, under clouds, as often as the plan says.

        Raises:
            UserError: an image that gives clouds is smaller than a case.
        """
        numbers = [f" #{number}" for number in range(1, self.plan.num_cases + 1)] if self.plan.num_cases > 1 else [""]
        cases = [
            SceneCase(f"{name}{number}", image.place, index, window)
            for index, image in enumerate(self.ground)
            for name, window in clear_parts(self.files, image, side, self.names[index])
            for number in numbers
        ]
        longest = max((each.stop - each.start for case in cases for each in case.window), default=0)
        for image in self.clouds:
            check_square(image, self.files.values(image).shape[1:], longest, "data.case_side")
        return cases

    def case(self, case: SceneCase) -> Sample:
        """Return one of the cases, always under the same clouds."""
        key = [self.plan.seed, EVALUATION, *case.name.encode()]
        return self._composed(case.index, case.window, np.random.default_rng(key))

    def _composed(self, index: int, window: Window, generator: np.random.Generator) -> Sample:
        truth = self.ground[index]
        images, clouds = [], []
        for image in self._dates(truth):
            values = self.files.values(image)
            image_clouds = self.files.clouds(image)[:, *window]
            under, opacity = self._under_clouds(filled(values[:, *window]), generator)
            images.append(np.where(np.isnan(values[:1, *window]), 0, under))
            clouds.append(np.maximum(opacity > OPAQUE, np.nan_to_num(image_clouds)))
        wanted = filled(self.files.values(truth)[:, *window])
        return Sample(np.stack(images).astype(np.float32), wanted, np.stack(clouds).astype(np.float32))

    def _dates(self, truth: SceneImage) -> list[SceneImage]:
        """Return the clear images of the truth's scene that are nearest in time, in order."""
        if truth.day is None:
            return [truth] * self.dates
        scene = nearest([image for image in self.ground if image.scene == truth.scene and image.day], truth.day)
        return sorted((scene[number % len(scene)] for number in range(self.dates)), key=lambda image: image.day)

    def _under_clouds(self, clear: np.ndarray, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Return a date under clouds, (B, h, w), and how opaque they are, (1, h, w)."""
        jitter = self.plan.jitter
        gain = generator.uniform(1 - jitter, 1 + jitter)
        gains = gain * generator.uniform(1 - jitter / 4, 1 + jitter / 4, (len(clear), 1, 1))
        if generator.random() < self.plan.clear_dates:
            return gains * clear, np.zeros_like(clear[:1])
        cloudy, mask = self._cloud(clear.shape[1:], generator)
        alpha = opacity(cloudy, mask)
        return gains * ((1 - alpha) * clear + alpha * cloudy), alpha

    def _cloud(self, size: tuple[int, ...], generator: np.random.Generator) -> tuple[np.ndarray, ...]:
        """Return a random part of a cloudy image, (B, h, w), and its mask, (1, h, w), turned and flipped."""
        chosen = self.clouds[int(generator.integers(len(self.clouds)))]
        values, mask = self.files.values(chosen), self.files.clouds(chosen)
        side = max(size)
        window = random_window(chosen, values.shape[1:], side, generator)
        gaps = np.isnan(values[:1, *window])
        parts = filled(values[:, *window]), np.where(gaps, 0, np.nan_to_num(mask[:, *window]))
        return tuple(each[:, : size[0], : size[1]] for each in turned(parts, generator))


def opacity(cloudy: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return how opaque the cloud in an image is, 0..1, (1, H, W); see the head of this file.

    Args:
        cloudy: reflectance, (B, H, W), red, green and blue first.
        mask: 1 on cloud, else 0, (1, H, W).
    """
    from scipy.ndimage import gaussian_filter

    edge = gaussian_filter(mask[0].astype(np.float32), MASK_BLUR, mode="nearest")
    darkest = gaussian_filter(cloudy[VISIBLE].min(axis=0), BRIGHTNESS_BLUR, mode="nearest")
    return (_smoothstep(edge, *EDGE) * _smoothstep(darkest, *BRIGHTNESS))[None]


def turned(arrays: Sequence[np.ndarray], generator: np.random.Generator) -> list[np.ndarray]:
    """Return square arrays (..., H, H) turned by quarters and flipped at random, all alike."""
    quarters, is_flipped = int(generator.integers(4)), generator.random() < 0.5
    turned = [np.rot90(each, quarters, (-2, -1)) for each in arrays]
    return [np.ascontiguousarray(each[..., ::-1] if is_flipped else each) for each in turned]


def _smoothstep(values: np.ndarray, low: float, high: float) -> np.ndarray:
    share = np.clip((values - low) / (high - low), 0, 1)
    return share * share * (3 - 2 * share)


def _name(image: SceneImage) -> str:
    return f"{image.scene} {image.day:%Y-%m-%d}" if image.day else image.scene

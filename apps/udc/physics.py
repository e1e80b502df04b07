"""What a display in front of a camera does to a picture, by physics: less light, diffraction, noise and rounding.

The picture is taken as the light of a scene. Each colour is spread by the diffraction of the display's openings
(Fraunhofer: the point spread is the squared magnitude of the Fourier transform of what the pupil lets through; Goodman,
"Introduction to Fourier Optics", sec. 5.2) and dimmed by the display; pixels count electrons (Poisson) and are read out
with noise (normal); the gain brings the light back as far as it goes, and the converter rounds.

Where the numbers are from: [Z] Zhou, Ren, Emerton, Lim, Large, "Image Restoration for Under-Display Camera", CVPR
2021, table 1 (open area and transmission of both displays); [Y] Yang and Sankaranarayanan, "Designing Display Pixel
Layouts for Under-Panel Cameras", ICCP 2021, and the parameters of their published simulation (camera, display pitch,
wavelengths, full exposure and read noise). What neither gives is chosen, and says so.

Arrays are (C, H, W), colours in the order red, green, blue.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from scipy.fft import irfft2, next_fast_len, rfft2

from ...core.errors import UserError
from ...data.datasets.cache import recipe_of
from .attenuation import Display

Layout = Literal["stripes", "diamonds"]
Colours = tuple[float, float, float]

BAND_SAMPLES = 3  # wavelengths of a colour


@dataclass(frozen=True)
class Panel:
    """A display, and the gain of the camera behind it.

    Attributes:
        layout: the openings: vertical "stripes", or two squares for each pixel in the order of "diamonds".
        open_area: share of the display that is open, 0 to 1.
        pitch_um: side of a display pixel in micrometres.
        transmission: share of the light of each colour that comes through, 0 to 1.
        gain: by which the camera multiplies what it reads, 1 without a display.
    """

    layout: Layout
    open_area: float
    pitch_um: float
    transmission: Colours
    gain: float

    def opening(self, samples: int) -> np.ndarray:
        """Return how open each part of one display pixel is, (samples, samples) in 0..1."""
        if self.layout == "stripes":
            return np.broadcast_to(_covered(0.5, self.open_area, samples), (samples, samples))
        side = (self.open_area / 2) ** 0.5
        first, second = _covered(0.25, side, samples), _covered(0.75, side, samples)
        return np.outer(first, first) + np.outer(second, second)


PANELS: dict[Display, Panel] = {
    # Layout, open area and mean transmission: [Z]; pitch: [Y], 150 pixels an inch. That a plastic substrate takes most
    # of the blue, and how much of it, is chosen after the yellow pictures of the benchmark, as is the gain that leaves
    # them dark. Five times the light of a transparent display is what came in.
    "poled": Panel("diamonds", 0.23, 168.0, (0.040, 0.032, 0.015), 8.0),
    "toled": Panel("stripes", 0.21, 168.0, (0.20, 0.20, 0.20), 5.0),
}


class UnderDisplay:
    """Takes a picture through a display.

    Args:
        display: "poled", dark, yellow and noisy; "toled", smeared along the rows; or a panel of one's own.
        focal_length_mm: of the lens. [chosen, a small camera; Y has 10]
        f_number: focal length by the diameter of the pupil. [Y]
        pixel_um: side of a pixel of the picture on the sensor; 4 x 4 sensor pixels of 2 micrometres. [Y; the number of
            pixels is chosen, as a picture is reduced before it is shown]
        wavelengths_nm: middle of the band of each colour. [Y]
        bandwidth_nm: width of each band. [chosen]
        electrons: of a white pixel without the display. [Y, an exposure of 40 dB]
        read_noise: deviation of the noise of reading, in electrons. [Y]
        bits: of the converter. [chosen]
        reach: how far light is followed, in pixels.
        light: "srgb" for pictures as screens show them, "linear" for such as are proportional to light.

    Raises:
        UserError: a number is out of its range.
    """

    def __init__(
        self,
        display: Display | Panel = "toled",
        focal_length_mm: float = 6.0,
        f_number: float = 2.5,
        pixel_um: float = 8.0,
        wavelengths_nm: Colours = (610.0, 530.0, 470.0),
        bandwidth_nm: float = 40.0,
        electrons: float = 10_000.0,
        read_noise: float = 4.87,
        bits: int = 12,
        reach: int = 24,
        light: Literal["srgb", "linear"] = "srgb",
    ) -> None:
        if isinstance(display, str) and display not in PANELS:
            raise UserError(f"display must be one of {', '.join(PANELS)}, not {display!r}")
        self.panel = PANELS[display] if isinstance(display, str) else display
        _check_positive(
            focal_length_mm=focal_length_mm, f_number=f_number, pixel_um=pixel_um, electrons=electrons, bits=bits
        )
        self.focal_length_um = focal_length_mm * 1000
        self.pupil_um = self.focal_length_um / f_number
        self.pixel_um = pixel_um
        self.wavelengths_um = tuple(each / 1000 for each in wavelengths_nm)
        self.bandwidth_um = bandwidth_nm / 1000
        self.electrons = electrons
        self.read_noise = read_noise
        self.bits = bits
        self.reach = reach
        self.light = light
        self._check()

    def __call__(self, picture: np.ndarray, seed: int | np.random.Generator) -> np.ndarray:
        """Return the picture taken through the display, float32 (3, H, W) in 0..1, from one in 0..1.

        Args:
            picture: float32 (3, H, W).
            seed: of the noise, or what draws it.
        """
        return self.recorded(self.exposed(picture), np.random.default_rng(seed))

    def exposed(self, picture: np.ndarray) -> np.ndarray:
        """Return the electrons that each pixel collects on average, float32 (3, H, W).

        What lies within `reach` of a border would need what lies beyond: the picture is mirrored there.
        """
        light = decoded(picture) if self.light == "srgb" else picture
        through = self.electrons * np.array(self.panel.transmission, np.float32)[:, None, None]
        return spread(light, self.point_spread) * through

    def recorded(self, electrons: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """Return what the camera makes of the electrons, float32 (3, H, W) in 0..1; each pixel draws for itself."""
        counted = generator.poisson(electrons) + self.read_noise * generator.standard_normal(
            electrons.shape, np.float32
        )
        levels = 2**self.bits - 1
        light = np.clip(np.round(counted * (self.panel.gain / self.electrons * levels)), 0, levels) / levels
        return (encoded(light) if self.light == "srgb" else light).astype(np.float32)

    @cached_property
    def point_spread(self) -> np.ndarray:
        """How the light of one pixel spreads over its neighbours, float32 (3, 2 reach + 1, 2 reach + 1); sums are 1."""
        return np.stack([self._colour_spread(each) for each in self.wavelengths_um])

    @property
    def digest(self) -> str:
        """A short text that differs where what is exposed does."""
        facts = {name: value for name, value in vars(self).items() if name not in ("point_spread", "panel")}
        return recipe_of(sorted(facts.items()), asdict(self.panel))

    def _colour_spread(self, wavelength_um: float) -> np.ndarray:
        offsets = (np.arange(BAND_SAMPLES) + 0.5) / BAND_SAMPLES - 0.5
        total = sum(self._diffracted(wavelength_um + each * self.bandwidth_um) for each in offsets)
        return (total / total.sum()).astype(np.float32)

    def _diffracted(self, wavelength_um: float) -> np.ndarray:
        """Return the light that falls on each pixel around the image of a point, (2 reach + 1, 2 reach + 1)."""
        pupil, step_um = self._pupil(wavelength_um)
        blur_um = wavelength_um * self.focal_length_um / self.pupil_um
        samples = int(np.ceil(2 * self.pixel_um / blur_um))  # what the pupil lets through varies no faster
        side = 2 * self.reach + 1
        points = _centred(side * samples, self.pixel_um / samples)
        phase = np.outer(points, _centred(len(pupil), step_um)) * (-2j * np.pi / (wavelength_um * self.focal_length_um))
        wave = np.exp(phase).astype(np.complex64)
        upper = wave[: (len(points) + 1) // 2]  # the other half is the same turned by half a turn
        light = np.abs(upper @ pupil.astype(np.complex64) @ wave.T) ** 2
        light = np.concatenate([light, light[: len(points) // 2][::-1, ::-1]])
        return light.reshape(side, samples, side, samples).sum((1, 3), dtype=np.float64)

    def _pupil(self, wavelength_um: float) -> tuple[np.ndarray, float]:
        """Return the share of the light's amplitude that passes each place of the pupil, and their distance.

        Samples of the pupil repeat the image of a point; they are so fine that it repeats at four times the reach.
        """
        widest_um = wavelength_um * self.focal_length_um / (4 * max(self.reach, 1) * self.pixel_um)
        samples = int(np.ceil(self.panel.pitch_um / widest_um))
        step_um = self.panel.pitch_um / samples
        side = 2 * round(self.pupil_um / step_um / 2) + 1
        cells = -(-side // samples)
        display = np.tile(self.panel.opening(samples), (cells, cells))[:side, :side]
        place = _centred(side, step_um)
        return display * (np.hypot(*np.meshgrid(place, place)) <= self.pupil_um / 2), step_um

    def _check(self) -> None:
        shares = (self.panel.open_area, *self.panel.transmission)
        if not all(0 < each <= 1 for each in shares):
            raise UserError(f"display: open area and transmission must be above 0 and at most 1, found {shares}")
        if self.reach < 0 or self.read_noise < 0:
            raise UserError(f"reach and read_noise must not be negative, found {self.reach} and {self.read_noise}")


def _check_positive(**numbers: float) -> None:
    """Refuse numbers that are not above 0, by the names that they were given under."""
    for name, value in numbers.items():
        if value <= 0:
            raise UserError(f"{name} must be above 0, found {value}")


def spread(light: np.ndarray, kernels: np.ndarray) -> np.ndarray:
    """Return each channel (C, H, W) convolved with its kernel (C, K, K), K odd; mirrored at the borders, float32."""
    reach = kernels.shape[-1] // 2
    height, width = light.shape[1:]
    wide = np.pad(light, ((0, 0), (reach, reach), (reach, reach)), mode="symmetric")
    size = [next_fast_len(each, real=True) for each in wide.shape[1:]]
    product = rfft2(wide.astype(np.float32), size) * rfft2(kernels.astype(np.float32), size)
    full = irfft2(product, size)
    return np.maximum(full[:, 2 * reach : 2 * reach + height, 2 * reach : 2 * reach + width], 0).astype(np.float32)


def decoded(picture: np.ndarray) -> np.ndarray:
    """Return the light, 0..1, of values of sRGB, 0..1 (IEC 61966-2-1)."""
    return np.where(picture <= 0.04045, picture / 12.92, ((np.maximum(picture, 0) + 0.055) / 1.055) ** 2.4)


def encoded(light: np.ndarray) -> np.ndarray:
    """Return the values of sRGB, 0..1, of light, 0..1 (IEC 61966-2-1)."""
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * np.maximum(light, 0) ** (1 / 2.4) - 0.055)


def _centred(count: int, step: float) -> np.ndarray:
    """Return `count` places `step` apart around zero."""
    return (np.arange(count) - (count - 1) / 2) * step


def _covered(middle: float, width: float, samples: int) -> np.ndarray:
    """Return how much of each sample of a cell's side an opening covers, (samples,), from shares of the side."""
    edges = np.arange(samples + 1) / samples
    return np.diff(np.clip(edges, middle - width / 2, middle + width / 2)) * samples

"""MPGNet: simulates what a display in front of a camera does to a picture, learnt from pairs.

Zhou, Song, Du: "Modular Degradation Simulation and Restoration for Under-Display Camera", ACCV 2022, arXiv 2209.11455;
where figure and the authors' code differ, this is the code.

Shapes: N batch, H height, W width; pictures are RGB in 0..1.
"""

from __future__ import annotations

from torch import Tensor, nn

from ..attenuation import Attenuation, Display
from ..blur import Blur
from ..noise import Draws, Noise


class MPGNet(nn.Module):
    """The generator: less light, then blur, then noise.

    Args:
        display: "poled" or "toled", which differ in how the light is bounded.
        paired_rounding: see `Noise`.
        width: channels of blur and noise at full resolution, 64 in the paper.
    Shape: (N, 3, H, W), multiples of 4 from 8 -> the same, not clipped.

    Raises:
        ValueError: another display.
    """

    in_channels = 3
    size_multiple = 4
    smallest_size = 8
    scale = 1

    def __init__(self, display: Display = "poled", paired_rounding: bool = False, width: int = 64) -> None:
        super().__init__()
        if display not in ("poled", "toled"):
            raise ValueError(f"display must be 'poled' or 'toled', not {display!r}")
        self.display = display
        self.width = width
        self.attenuation = Attenuation(display)
        self.blur = Blur(width)
        self.noise = Noise(paired_rounding, width)
        self.apply(_initialise)

    def forward(self, x: Tensor, draws: Draws | None = None) -> Tensor:
        """Return the degraded picture; without draws they are made afresh."""
        draws = Draws.like(x, width=self.width) if draws is None else draws
        return self.noise(self.blurred(x, self.attenuation(x)), draws)

    def blurred(self, x: Tensor, gains: Tensor) -> Tensor:
        """Return the picture before the noise.

        Args:
            x: (N, 3, H, W).
            gains: of the colours, (N, 3), as `attenuation` gives for the whole picture.
        """
        return self.blur(gains[:, :, None, None] * x)


def _initialise(module: nn.Module) -> None:
    if isinstance(module, (nn.Conv2d, nn.Linear)):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.constant_(module.bias, 0.5 if isinstance(module, nn.Linear) else 0.0)

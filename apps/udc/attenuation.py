"""How much light a display takes from each colour (MPGNet, the brightness module)."""

from typing import Literal

from torch import Tensor, nn

Display = Literal["poled", "toled"]
"""Pentile OLED, yellow and dark; or transparent OLED, pale and blurred by its stripes."""


class Attenuation(nn.Module):
    """One gain for each colour, told from the whole picture (Zhou et al. 2022, MPGNet).

    Args:
        display: "poled" keeps gains in 0..1 by a sigmoid, "toled" above 0 by a ReLU.
    Shape: (N, 3, H, W) -> gains (N, 3).
    """

    def __init__(self, display: Display) -> None:
        super().__init__()
        widths = (3, 32, 32, 64, 64, 32)
        strides = (4, 2, 2, 2, 2)
        self.features = nn.Sequential(
            *(nn.Conv2d(widths[i], widths[i + 1], 3, stride, padding=1) for i, stride in enumerate(strides))
        )
        self.gain = nn.Sequential(nn.Linear(32, 128), nn.ReLU(), nn.Linear(128, 3))
        self.bound = nn.Sigmoid() if display == "poled" else nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Return the gains."""
        return self.bound(self.gain(self.features(x).mean((2, 3))))

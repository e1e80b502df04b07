"""What a sensor behind a display adds: noise that depends on the signal, noise that does not, and rounding (MPGNet)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

CONSTANT = 32  # random numbers that are the same for a whole picture
SMALLEST = 1e-6


class Draws(NamedTuple):
    """The random numbers behind one batch of noisy pictures.

    Attributes:
        constant: normal, (N, 32), the same for all positions of a picture.
        dependent: normal, (N, width, H, W), of the noise that depends on the signal.
        independent: uniform in 0..1, (N, width, H, W).
        rounding: uniform in 0..1, (N, width, H, W).
    """

    constant: Tensor
    dependent: Tensor
    independent: Tensor
    rounding: Tensor

    @staticmethod
    def like(x: Tensor, generator: torch.Generator | None = None, width: int = 64) -> Draws:
        """Draw for pictures (N, C, H, W), in their dtype and on their device; `width` is that of the noise."""
        map_shape = (len(x), width, *x.shape[2:])
        facts = {"generator": generator, "device": x.device, "dtype": x.dtype}
        return Draws(
            torch.randn((len(x), CONSTANT), **facts),
            torch.randn(map_shape, **facts),
            torch.rand(map_shape, **facts),
            torch.rand(map_shape, **facts),
        )


class Residual(nn.Module):
    """Adds two convolutions with a PReLU between to the map.

    Args:
        dim: channels.
        kernel: side of the kernels in pixels, odd.
        bias: whether the convolutions have biases.
    Shape: (N, C, H, W) -> the same.
    """

    def __init__(self, dim: int, kernel: int, bias: bool) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _conv(dim, dim, kernel, bias),
            nn.PReLU(),
            _conv(dim, dim, kernel, bias),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum."""
        return x + self.body(x)


class Shaping(nn.Module):
    """Gives random numbers the colours and the grain of noise: one path by pixel, one over neighbours, added.

    Args:
        dim: channels.
    Shape: (N, C, H, W) -> the same.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.entry = nn.Conv2d(dim, dim, 1)
        self.pixel = nn.Sequential(*(Residual(dim, kernel, False) for kernel in (1, 1, 1)))
        self.grain = nn.Sequential(*(Residual(dim, kernel, False) for kernel in (1, 3, 1)))

    def forward(self, x: Tensor) -> Tensor:
        """Return the shaped noise."""
        entered = self.entry(x)
        return self.pixel(entered) + self.grain(entered)


class Noise(nn.Module):
    """Adds noise and rounding to a picture (Zhou et al. 2022, MPGNet, by the authors' code).

    In the code the interval from which rounding is drawn is 1e-6 wide, as its ends are taken of one half of the
    channels; `paired_rounding` takes them of both halves, as was meant.

    Args:
        paired_rounding: draw the rounding between the two halves of its channels.
        width: channels of the noise.
    Shape: (N, 3, H, W) and its draws -> (N, 3, H, W), not clipped.
    """

    def __init__(self, paired_rounding: bool = False, width: int = 64) -> None:
        super().__init__()
        self.paired_rounding = paired_rounding
        self.features = nn.Sequential(_conv(3, width, 3), nn.PReLU(), _conv(width, 2 * width, 3))
        self.merge = nn.Sequential(
            _conv(2 * width + CONSTANT, 2 * width, 3),
            nn.PReLU(),
            *(Residual(2 * width, 3, True) for _ in range(5)),
        )
        self.dependent = Shaping(width)
        self.independent = Shaping(width)
        self.colour = nn.Conv2d(width, 3, 1)
        self.levels = nn.Sequential(_conv(3, width, 3), nn.PReLU(), _conv(width, 2 * width, 3))
        self.rounding = Shaping(width)
        self.rounding_colour = nn.Conv2d(width, 3, 1)

    def forward(self, x: Tensor, draws: Draws) -> Tensor:
        """Return the noisy picture."""
        noisy = x + self._noise(x, draws)
        return noisy + self._rounding(noisy, draws)

    def _noise(self, x: Tensor, draws: Draws) -> Tensor:
        constant = draws.constant[:, :, None, None].expand(-1, -1, x.shape[2], x.shape[3])
        mean, scale = self.merge(torch.cat([self.features(x), constant], dim=1)).chunk(2, dim=1)
        dependent = mean + (torch.relu(scale) + SMALLEST) * draws.dependent
        return self.colour(self.dependent(dependent) + self.independent(draws.independent))

    def _rounding(self, noisy: Tensor, draws: Draws) -> Tensor:
        first, second = self.levels(noisy).chunk(2, dim=1)
        if self.paired_rounding:
            low = torch.minimum(first, second)
            drawn = low + draws.rounding * (torch.maximum(first, second) + SMALLEST - low)
        else:
            drawn = first + SMALLEST * draws.rounding
        return self.rounding_colour(self.rounding(drawn))


def _conv(in_channels: int, out_channels: int, kernel: int, bias: bool = True) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2, padding_mode="reflect", bias=bias)

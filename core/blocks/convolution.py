"""Convolutional units."""

from torch import Tensor, nn

from .norm import BatchNorm2d


class ConvNorm(nn.Module):
    """A convolution without bias and batch norm, without activation; the size of the map stays.

    Args:
        in_channels: channels in.
        out_channels: channels out.
        kernel: height and width of the kernel in pixels, odd; one number for both.
        dilation: distance between neighbouring taps in pixels.
    Shape: (N, in_channels, H, W) -> (N, out_channels, H, W).
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int | tuple[int, int] = 1, dilation: int = 1
    ) -> None:
        super().__init__()
        sides = (kernel, kernel) if isinstance(kernel, int) else kernel
        padding = tuple(dilation * (side // 2) for side in sides)
        self.conv = nn.Conv2d(in_channels, out_channels, sides, padding=padding, dilation=dilation, bias=False)
        self.norm = BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised map."""
        return self.norm(self.conv(x))

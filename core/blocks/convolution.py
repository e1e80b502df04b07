"""Convolutional units."""

from torch import Tensor, nn

from .dimensions import BATCH_NORMS, CONVOLUTIONS


class ConvNorm(nn.Module):
    """A convolution without bias and batch norm, without activation; the size of the map stays.

    Args:
        in_channels: channels in.
        out_channels: channels out.
        kernel: lengths of the kernel along the axes in pixels, odd; one number for all.
        dilation: distance between neighbouring taps in pixels.
        spatial_dims: 2 for maps, 3 for volumes.
    Shape: (N, in_channels, H, W) -> (N, out_channels, H, W), or the same with depth.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int | tuple[int, ...] = 1,
        dilation: int = 1,
        spatial_dims: int = 2,
    ) -> None:
        super().__init__()
        sides = (kernel,) * spatial_dims if isinstance(kernel, int) else kernel
        padding = tuple(dilation * (side // 2) for side in sides)
        self.conv = CONVOLUTIONS[spatial_dims](
            in_channels, out_channels, sides, padding=padding, dilation=dilation, bias=False
        )
        self.norm = BATCH_NORMS[spatial_dims](out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised map."""
        return self.norm(self.conv(x))


def normed(convolution: nn.Module, activation: nn.Module | None = None) -> list[nn.Module]:
    """Return a convolution of any kind, its batch norm and an activation, a ReLU by default, one after the other."""
    norm = BATCH_NORMS[convolution.weight.dim() - 2](convolution.out_channels)
    return [convolution, norm, nn.ReLU() if activation is None else activation]

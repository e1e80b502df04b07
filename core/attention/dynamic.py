"""Local attention whose weights are predicted, not compared: a convolution with its own kernel at each position."""

from torch import Tensor, nn

from ...kernels.dynamic_conv import predicted_conv2d


class DynamicLocalAttention(nn.Module):
    """Multi-head dynamic local self-attention (Li et al. 2023, DLGSANet, sec. 3.2).

    The kernels come from the projected map by a narrow convolutional branch without norm or activation, and are used
    as predicted: not normalised.

    Args:
        dim: channels in and out.
        channels_per_kernel: neighbouring channels that share a kernel; must divide `dim`.
        kernel: side of the predicted kernels in pixels, odd.
    Shape: (N, C, H, W) -> (N, C, H, W).
    """

    def __init__(self, dim: int, channels_per_kernel: int = 6, kernel: int = 7) -> None:
        super().__init__()
        narrow = dim // 4
        self.groups = dim // channels_per_kernel
        self.taps = kernel * kernel
        self.project_in = nn.Conv2d(dim, dim, 1, bias=False)
        self.reduce = nn.Conv2d(dim, narrow, 1)
        self.depthwise = nn.Conv2d(narrow, narrow, kernel, padding=kernel // 2, groups=narrow)
        self.expand = nn.Conv2d(narrow, self.taps * self.groups, 1)
        self.project_out = nn.Conv2d(dim, dim, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the mixed map; the residual is the caller's."""
        values = self.project_in(x)
        features = self.depthwise(self.reduce(values))
        weight = self.expand.weight.view(self.groups, self.taps, -1)
        bias = self.expand.bias
        assert bias is not None  # says to TorchScript what it cannot know of a convolution
        return self.project_out(predicted_conv2d(values, features, weight, bias.view(self.groups, self.taps)))

"""A filter of the map's spectrum that the spectrum itself decides."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class AdaptiveFrequencyFilter(nn.Module):
    """Adaptive frequency filter (Huang et al. 2023, arXiv 2307.14008, sec. 3.2): inverse FFT of M(X) X.

    M is a perceptron of two layers with ReLU at each frequency, with complex weights between the channels of a block
    and real and imaginary parts rectified and softly shrunk apart from one another. It equals a depth-wise circular
    convolution over the whole map with kernels made from the map. It is computed in float32 at least.

    Args:
        dim: channels in and out.
        blocks: of channels that the perceptron keeps apart; must divide `dim`.
        threshold: by how much the filter's parts are shrunk towards zero.
    Shape: channels-last, (B, *spatial, C) -> (B, *spatial, C). Any axes, any size. The residual is the caller's.

    Raises:
        ValueError: blocks that do not divide `dim`.
    """

    def __init__(self, dim: int, blocks: int = 8, threshold: float = 0.01) -> None:
        super().__init__()
        if dim % blocks:
            raise ValueError(f"blocks {blocks} must divide dim {dim}")
        width = dim // blocks
        self.threshold = threshold
        # Real parts, then imaginary ones; of weights (blocks, in, out) and biases (blocks, out).
        self.weight1 = nn.Parameter(0.02 * torch.randn(2, blocks, width, width))
        self.bias1 = nn.Parameter(0.02 * torch.randn(2, blocks, width))
        self.weight2 = nn.Parameter(0.02 * torch.randn(2, blocks, width, width))
        self.bias2 = nn.Parameter(0.02 * torch.randn(2, blocks, width))

    def forward(self, x: Tensor) -> Tensor:
        """Return the filtered map."""
        axes = list(range(1, x.dim() - 1))
        wide = torch.promote_types(x.dtype, torch.float32)
        spectrum = torch.fft.rfftn(x.to(wide), dim=axes, norm="ortho")
        parts = torch.view_as_real(spectrum)
        hidden = F.relu(complex_linear(parts, self.weight1.to(wide), self.bias1.to(wide)))
        mask = F.softshrink(complex_linear(hidden, self.weight2.to(wide), self.bias2.to(wide)), self.threshold)
        filtered = spectrum * torch.view_as_complex(mask.contiguous())
        return torch.fft.irfftn(filtered, s=list(x.shape[1:-1]), dim=axes, norm="ortho").to(x.dtype)


def complex_linear(parts: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return z W + b of complex numbers, in blocks of channels and by one real product for each.

    Args:
        parts: of z, (..., C, 2).
        weight: of W, (2, blocks, C / blocks, C / blocks), inputs before outputs.
        bias: of b, (2, blocks, C / blocks).

    Returns:
        (..., C, 2).
    """
    real, imaginary = weight[0], weight[1]
    from_real, from_imaginary = torch.stack([real, imaginary], -1), torch.stack([-imaginary, real], -1)
    matrices = torch.stack([from_real, from_imaginary], 2).flatten(1, 2).flatten(2)  # (blocks, 2 in, 2 out)
    blocks = parts.flatten(-2).unflatten(-1, [weight.shape[1], -1])
    rows = blocks.flatten(0, -3).transpose(0, 1)
    mixed = torch.baddbmm(bias.movedim(0, -1).flatten(1).unsqueeze(1), rows, matrices).transpose(0, 1)
    return mixed.reshape(parts.shape)

"""A learned filter over the whole map, multiplied with its spectrum."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class GlobalFilter(nn.Module):
    """Global filter layer (Rao et al. 2021, GFNet, arXiv 2107.00645, sec. 3.2): inverse FFT of K times the FFT of x.

    The same as a circular depth-wise convolution with kernels as large as the map; SpectFormer's spectral gate, too. It
    is computed in float32 at least. Exported programs hold one size of maps.

    Args:
        dim: channels in and out.
        size: of the maps, along each axis. For maps of other sizes the filter is resized, cubically for two axes as in
            the authors' fine-tuning, linearly for one or three.
    Shape: channels-last, (B, *spatial, C) -> (B, *spatial, C) with as many axes as `size`. Any size.
    """

    def __init__(self, dim: int, size: Sequence[int]) -> None:
        super().__init__()
        self.size = list(size)
        self.weight = nn.Parameter(0.02 * torch.randn(*size[:-1], size[-1] // 2 + 1, dim, 2))

    def forward(self, x: Tensor) -> Tensor:
        """Return the filtered map."""
        sizes = list(x.shape[1:-1])
        axes = list(range(1, x.dim() - 1))
        wide = torch.promote_types(x.dtype, torch.float32)
        weight = torch.view_as_complex(self.resized(sizes).to(wide).contiguous())
        spectrum = torch.fft.rfftn(x.to(wide), dim=axes, norm="ortho")
        return torch.fft.irfftn(spectrum * weight, s=sizes, dim=axes, norm="ortho").to(x.dtype)

    def resized(self, sizes: list[int]) -> Tensor:
        """Return the filter for maps of these sizes, real and imaginary parts last."""
        if sizes == self.size:
            return self.weight
        frequencies = list(sizes)
        frequencies[-1] = sizes[-1] // 2 + 1
        mode = ["linear", "bicubic", "trilinear"][len(sizes) - 1]
        parts = self.weight.flatten(-2).movedim(-1, 0).unsqueeze(0)
        stretched = F.interpolate(parts, size=frequencies, mode=mode, align_corners=True)
        return stretched.squeeze(0).movedim(0, -1).unflatten(-1, [-1, 2])

"""Mixing of tokens by gains of their frequencies, which depend on the mean token."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...kernels.heads import check_heads, join_heads, split_heads
from ..blocks.linear import Linear

# B batch, N tokens, h heads, d channels of a head, K = N // 2 + 1 frequencies


class AdaptiveSpectralMixer(nn.Module):
    """FFTNet's mixer (Fein-Ashley et al. 2025, arXiv 2502.18394, sec. 3): inverse FFT of act(gain FFT(x) + bias).

    Each head has a gain and a bias at every frequency, which a perceptron of the mean token changes. The activation
    z gelu(|z|) / (|z| + 1e-6) is that of the authors' code; the paper describes modReLU. It is computed in float32 at
    least.

    Args:
        dim: channels in and out.
        heads: must divide `dim`.
        length: tokens, the same in all maps.
        adaptive: let the mean token change gains and biases.
    Shape: channels-last, (B, *spatial, C) -> (B, *spatial, C), flattened to N tokens in between. Any axes. The norm
        before and the residual are the caller's.

    Raises:
        ValueError: heads that do not divide `dim`; in `forward`, not `length` tokens.
    """

    def __init__(self, dim: int, heads: int, length: int, adaptive: bool = True) -> None:
        super().__init__()
        check_heads(dim, heads)
        frequencies = length // 2 + 1
        self.heads = heads
        self.length = length
        self.gain = nn.Parameter(torch.ones(heads, frequencies, 1))
        self.bias = nn.Parameter(torch.full((heads, frequencies, 1), -0.1))
        self.change = (
            nn.Sequential(Linear(dim, dim), nn.GELU(), Linear(dim, 2 * heads * frequencies)) if adaptive else None
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the mixed map."""
        tokens = x.flatten(1, -2)
        if tokens.shape[1] != self.length:
            raise ValueError(f"{tokens.shape[1]} tokens are not length {self.length}")
        wide = torch.promote_types(x.dtype, torch.float32)
        gain, bias = self.gain, self.bias  # (h, K, 1), or (B, h, K, 1) where the mean token changes them
        if self.change is not None:
            changes = self.change(tokens.mean(1)).unflatten(-1, [self.heads, -1, 2])
            gain, bias = gain * (1 + changes[..., :1]), bias + changes[..., 1:]
        heads_BhNd = split_heads(tokens.to(wide), self.heads)
        spectrum_BhKd = activated(torch.fft.rfft(heads_BhNd, dim=2, norm="ortho") * gain.to(wide) + bias.to(wide))
        mixed = torch.fft.irfft(spectrum_BhKd, n=self.length, dim=2, norm="ortho")
        return join_heads(mixed).reshape(x.shape).to(x.dtype)


def activated(spectrum: Tensor) -> Tensor:
    """Return complex numbers of the same direction whose absolute values went through a GELU."""
    length = spectrum.abs()
    return spectrum * (F.gelu(length) / (length + 1e-6))

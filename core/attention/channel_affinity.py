"""Attention between the channels of a map that favours those which differ most."""

import torch
from torch import Tensor, nn

# B batch, C channels, N positions


class ChannelAffinityAttention(nn.Module):
    """Channel attention module (Fu et al. 2019, DANet, arXiv 1809.02983, sec. 3.3): gamma softmax(-E) X + x.

    E = X Xᵀ over the positions, from the map itself, without projections. The authors' code subtracts E from the
    maximum of its row before the softmax, which is softmax(-E): a channel listens to those least like it. E grows with
    the number of positions, so it is made in float32 at least. Gamma starts at zero.

    Shape: (B, C, H, W) -> (B, C, H, W), or the same with D, H, W. Any size.
    """

    def __init__(self) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """Return the map with what its channels have told one another."""
        tokens_BCN = x.flatten(2)
        weights_BCC = torch.softmax(-_affinity(tokens_BCN), dim=-1).to(x.dtype)
        return self.gamma * torch.matmul(weights_BCC, tokens_BCN).reshape(x.shape) + x


def _affinity(tokens_BCN: Tensor) -> Tensor:
    """Return X Xᵀ, (B, C, C), in float32 or float64, also where automatic mixed precision is on."""
    if torch.jit.is_scripting():
        return _wide_affinity(tokens_BCN)
    if torch.is_autocast_enabled(tokens_BCN.device.type):
        with torch.autocast(tokens_BCN.device.type, enabled=False):
            return _wide_affinity(tokens_BCN)
    return _wide_affinity(tokens_BCN)


def _wide_affinity(tokens_BCN: Tensor) -> Tensor:
    wide = tokens_BCN.to(torch.promote_types(tokens_BCN.dtype, torch.float32))
    return torch.matmul(wide, wide.transpose(1, 2))

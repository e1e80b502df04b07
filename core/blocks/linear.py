"""The linear layer of all blocks."""

from torch import Tensor, nn

from ...kernels.linear import linear


class Linear(nn.Linear):
    """`torch.nn.Linear` that is up to twice as quick on a CPU with AVX-512, see `foveal.kernels.linear`.

    Shape: (..., in_features) -> (..., out_features).
    """

    def forward(self, input: Tensor) -> Tensor:  # the name of the argument is PyTorch's
        """Return x W^T + b."""
        return linear(input, self.weight, self.bias)

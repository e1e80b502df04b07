import torch
import torch.nn.functional as F

from foveal.core.attention.dynamic import DynamicLocalAttention


def test_it_convolves_each_position_with_the_kernel_predicted_there():
    torch.manual_seed(0)
    block = DynamicLocalAttention(12, channels_per_kernel=6, kernel=3).double()
    x = torch.randn(2, 12, 6, 5, dtype=torch.float64)
    values = block.project_in(x)
    kernels = block.expand(block.depthwise(block.reduce(values))).view(2, 2, 1, 9, 6, 5)
    patches = F.unfold(values, 3, padding=1).view(2, 2, 6, 9, 6, 5)
    expected = block.project_out((kernels * patches).sum(3).view(2, 12, 6, 5))
    assert torch.allclose(block(x), expected, rtol=1e-12, atol=1e-12)


def test_gradients_reach_every_parameter():
    block = DynamicLocalAttention(12, channels_per_kernel=4, kernel=5)
    block(torch.randn(1, 12, 7, 6)).square().sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in block.parameters())

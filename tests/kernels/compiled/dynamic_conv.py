import torch

from foveal.kernels.dynamic_conv import triton


def calls():
    def both(dtype, channels, groups, side, height, width):
        def run():
            x = torch.empty(2, channels, height, width, dtype=dtype, device="meta")
            kernels = torch.empty(2, groups, side**2, height, width, dtype=dtype, device="meta")
            triton.dynamic_conv2d(x, kernels)
            triton.dynamic_conv2d_backward(x, kernels, x)

        return run

    return {
        "float32, 3x3 for 6": both(torch.float32, 48, 8, 3, 128, 128),
        "bfloat16, 5x5 for 6": both(torch.bfloat16, 48, 8, 5, 128, 128),
        "bfloat16, 7x7 for 6": both(torch.bfloat16, 48, 8, 7, 128, 128),
        "float16, 9x9 for 16": both(torch.float16, 64, 4, 9, 57, 61),
        "float32, 7x7 for 32, a small map": both(torch.float32, 64, 2, 7, 14, 14),
    }

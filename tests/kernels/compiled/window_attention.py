import torch

from foveal.kernels.window_attention import triton
from foveal.kernels.window_attention.layout import WindowLayout


def calls():
    def both(dtype, sizes, layout, heads, channels, filled=False):
        def run():
            qkv = torch.empty(2, *sizes, 3, heads, channels, dtype=dtype, device="meta")
            tokens = torch.Size(layout.window).numel()
            bias = torch.empty(heads, tokens, tokens, device="meta")
            fill = torch.empty(3, heads, channels, device="meta") if filled else None
            out, sums = triton.window_attention(qkv, bias, fill, *layout[:5])
            triton.window_attention_backward(qkv, bias, fill, out, sums, out, *layout[:5])

        return run

    seven, eight, sixteen = WindowLayout([7, 7], [3, 3]), WindowLayout([8, 8], [4, 4]), WindowLayout([16, 16], [8, 8])
    volume = WindowLayout([7, 7, 7], [3, 3, 3], False, True)
    grid = WindowLayout([8, 8], [0, 0], True, False, True)
    return {
        "bfloat16, 7x7, 4 of 32, padded": both(torch.bfloat16, (128, 128), seven, 4, 32, True),
        "bfloat16, 8x8, 6 of 30": both(torch.bfloat16, (256, 256), eight, 6, 30),
        "bfloat16, 16x16, 6 of 30": both(torch.bfloat16, (256, 256), sixteen, 6, 30),
        "bfloat16, 7x7x7, 3 of 16": both(torch.bfloat16, (49, 49, 49), volume, 3, 16),
        "float16, 8x8, 4 of 64, grid": both(torch.float16, (60, 60), grid, 4, 64, True),
        "float16, 16x16, 2 of 128": both(torch.float16, (64, 64), sixteen, 2, 128),
        "float32, 7x7, 4 of 32, padded": both(torch.float32, (128, 128), seven, 4, 32, True),
        "float32, 4x4, 2 of 128": both(torch.float32, (64, 64), WindowLayout([4, 4], [2, 1]), 2, 128),
    }

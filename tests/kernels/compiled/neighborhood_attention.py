import torch

from foveal.kernels.neighborhood_attention import triton


def calls():
    def both(dtype, sizes, heads, d, kernel, dilation=(1, 1, 1), biased=False, **options):
        def run():
            qkv = torch.empty(2, *sizes, 3, heads, d, dtype=dtype, device="meta")
            bias = torch.empty(heads, *(2 * k - 1 for k in kernel), device="meta") if biased else None
            settings = [*kernel], [*dilation], options.get("stride", [1] * 3), options.get("causal", [False] * 3)
            out, sums = triton.neighborhood_attention(qkv, bias, *settings)
            triton.neighborhood_attention_backward(qkv, bias, out, sums, out, *settings)

        return run

    return {
        "float32, 7x7 of width 128": both(torch.float32, (1, 64, 64), 4, 128, (1, 7, 7)),
        "bfloat16, 7x7 biased": both(torch.bfloat16, (1, 128, 128), 4, 32, (1, 7, 7), biased=True),
        "float16, 5x5x5": both(torch.float16, (48, 48, 48), 3, 16, (5, 5, 5)),
        "bfloat16, 7x7 of width 128": both(torch.bfloat16, (1, 64, 64), 4, 128, (1, 7, 7)),
        "float32, 7x7 biased": both(torch.float32, (1, 56, 56), 4, 32, (1, 7, 7), biased=True),
        "bfloat16, causal line": both(torch.bfloat16, (1, 1, 1024), 4, 64, (1, 1, 129), causal=[False, False, True]),
    }

import torch

from foveal.kernels.position_attention import triton


def calls():
    def both(dtype, positions, width, values):
        def run():
            q, k = (torch.empty(2, positions, width, dtype=dtype, device="meta") for _ in range(2))
            v = torch.empty(2, positions, values, dtype=dtype, device="meta")
            out, sums = triton.position_attention(q, k, v)
            triton.position_attention_backward(q, k, v, out, sums, torch.empty_like(out))

        return run

    return {
        "bfloat16 64, 512": both(torch.bfloat16, 4096, 64, 512),
        "float32 32, 256": both(torch.float32, 4096, 32, 256),
    }

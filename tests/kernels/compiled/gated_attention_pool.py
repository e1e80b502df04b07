import torch

from foveal.kernels.gated_attention_pool import triton


def calls():
    def both(dtype, instances, channels, hidden, branches):
        def run():
            shapes = [(instances, channels), (2 * hidden, channels), (2 * hidden,), (branches, hidden), (branches,)]
            types = [dtype, dtype, torch.float32, dtype, torch.float32]
            tensors = [torch.empty(s, dtype=each, device="meta") for s, each in zip(shapes, types, strict=True)]
            ranks = torch.empty(branches, 6, dtype=torch.int64, device="meta")
            results = triton.gated_attention_pool(*tensors, 10, ranks)
            grads = torch.empty_like(results[0]), torch.empty_like(results[1])
            triton.gated_attention_pool_backward(*tensors[:4], *results, *grads)

        return run

    return {
        "bfloat16 512, 128, 5": both(torch.bfloat16, 100_000, 512, 128, 5),
        "float16 384, 64, 16": both(torch.float16, 20_000, 384, 64, 16),
        "float32 512, 128, 5": both(torch.float32, 100_000, 512, 128, 5),
    }

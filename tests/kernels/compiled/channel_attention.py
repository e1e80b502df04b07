import torch

from foveal.kernels.channel_attention import triton


def calls():
    def both(dtype, channels, heads, channels_first=True):
        def run():
            sizes = (2, 3 * channels, 4096) if channels_first else (2, 4096, 3 * channels)
            qkv = torch.empty(sizes, dtype=dtype, device="meta")
            q, k, v = (qkv.mT if channels_first else qkv).chunk(3, -1)
            cosines, norms = triton.channel_cosines(q, k, heads)
            out = triton.mix_channels(cosines, v)
            triton.mix_channels_backward(cosines, v, out)
            triton.channel_cosines_backward(q, k, cosines, norms, cosines)

        return run

    return {
        "bfloat16, 6 of 8": both(torch.bfloat16, 48, 6),
        "bfloat16, 8 of 48, channels last": both(torch.bfloat16, 384, 8, False),
        "float32, 6 of 8": both(torch.float32, 48, 6),
        "float32, 4 of 32, channels last": both(torch.float32, 128, 4, False),
    }

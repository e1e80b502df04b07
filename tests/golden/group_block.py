"""D-Former's transformer block with the weights of a case; two systems have cases of it."""

import torch
from parity import Case

from foveal.core.attention.volume_groups import VolumeGroupAttention
from foveal.core.blocks.transformer import TransformerBlock
from foveal.core.weights.adapters import fill, rename

RENAMES = [(r"^block\.", ""), (r"^attn\.", "mixer."), (r"^mlp\.fc1\.", "mlp.0."), (r"^mlp\.fc2\.", "mlp.3.")]


def group_block(case: Case) -> TransformerBlock:
    """Return the block in float64 and evaluation mode."""
    config = case.meta["config"]
    weights = {name: torch.from_numpy(value) for name, value in case.weights().items()}
    weights = rename(weights, RENAMES)
    attention = VolumeGroupAttention(
        config["dim"],
        config["num_heads"],
        tuple(config["group_size"]),
        dilated=config["gsm"] == 1,
        interval=config["interval"],
        qkv_bias="mixer.qkv.bias" in weights,
    )
    block = TransformerBlock(attention, config["dim"], config.get("mlp_ratio", 4.0))
    fill(block.double(), weights)
    return block.eval()

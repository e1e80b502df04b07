"""D-Former's transformer block with the weights of a case; two systems have cases of it."""

import torch
from parity import Case

from foveal.core.attention.volume_groups import VolumeGroupBlock
from foveal.core.weights.adapters import fill, rename

RENAMES = [(r"^block\.", ""), (r"^attn\.", "attention."), (r"^mlp\.fc1\.", "mlp.0."), (r"^mlp\.fc2\.", "mlp.3.")]


def group_block(case: Case) -> VolumeGroupBlock:
    """Return the block in float64 and evaluation mode."""
    config = case.meta["config"]
    weights = {name: torch.from_numpy(value) for name, value in case.weights().items()}
    weights = rename(weights, RENAMES)
    block = VolumeGroupBlock(
        config["dim"],
        config["num_heads"],
        tuple(config["group_size"]),
        dilated=config["gsm"] == 1,
        interval=config["interval"],
        mlp_ratio=config.get("mlp_ratio", 4.0),
        qkv_bias="attention.qkv.bias" in weights,
    )
    fill(block.double(), weights)
    return block.eval()

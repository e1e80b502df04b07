"""Cross-shaped windows."""

from collections.abc import Callable

from filled_block import filled
from parity import Case
from torch import Tensor

from foveal.core.attention.cross_shaped import CrossShapedAttention
from foveal.core.blocks.transformer import TransformerBlock

RULES = [
    (r"^attns\.(\d)\.get_v\.", r"mixer.encodings.\1."),
    (r"^(qkv|proj)\.", r"mixer.\1."),
    (r"^mlp\.fc1\.", "mlp.0."),
    (r"^mlp\.fc2\.", "mlp.3."),
]


def cross_shaped(case: Case) -> Callable[[Tensor], Tensor]:
    """CSWin's block, on tokens."""
    config = case.meta["config"]
    size = config.get("size") or [config["reso"]] * 2
    whole = config["last_stage"] or config.get("reso") == config["split_size"]
    mixer = CrossShapedAttention(
        config["dim"], config["num_heads"], config["split_size"], whole, qkv_bias="qkv.bias" in case.shapes
    )
    block = filled(TransformerBlock(mixer, config["dim"], config.get("mlp_ratio", 4.0)), case, RULES)
    return lambda x: block(x.unflatten(1, size)).flatten(1, -2)


BLOCKS: dict[str, Callable[[Case], Callable[..., Tensor]]] = {"cswin": cross_shaped}

"""Windows with queries of the whole map."""

from collections.abc import Callable
from math import log2

from filled_block import filled
from parity import Case
from torch import Tensor, nn

from foveal.core.attention.global_query import GlobalQueryStage

LAYERS = {"conv_dw": "depthwise", "se.fc1": "squeeze", "se.fc2": "excite", "conv_pw": "project"}


def stage(case: Case) -> nn.Module:
    """GC ViT's stage."""
    config = case.meta["config"]
    window = config["window_size"]
    halvings = int(log2(min(config["feat_size"]) / min(window)))
    block = GlobalQueryStage(
        config["dim"],
        config["depth"],
        config["num_heads"],
        window,
        halvings,
        config.get("mlp_ratio", 4.0),
        config.get("layer_scale"),
        "blocks.0.attn.qkv.bias" in case.shapes,
        config.get("norm_eps", 1e-5),
    )
    return filled(block, case, rules(config["depth"], list(case.shapes)))


def rules(depth: int, names: list[str]) -> list[tuple[str, str]]:
    """Return how the reference's names become ours."""
    found = []
    units = sorted({name.split(".")[2] for name in names if name.startswith("global_block.")})
    for step, unit in enumerate(units):  # a pool stands between two
        found += [
            (rf"^global_block\.blocks\.{unit}\.{theirs}\.", f"query.{2 * step}.{ours}.")
            for theirs, ours in LAYERS.items()
        ]
    for i in range(depth):
        ours = f"global_blocks.{i // 2}." if i % 2 else f"local_blocks.{i // 2}." if i < depth - 1 else "last."
        found.append((rf"^blocks\.{i}\.", ours))
    found.append((r"^(global_blocks\.\d+)\.attn\.qkv\.", r"\1.mixer.kv."))
    found.append((r"\.attn\.rel_pos\.relative_position_bias_table$", ".mixer.position.table"))
    found.append((r"\.attn\.", ".mixer."))
    found.append((r"\.ls(\d)\.gamma$", r".scale\1.weight"))
    found.append((r"\.mlp\.fc1\.", ".mlp.0."))
    found.append((r"\.mlp\.fc2\.", ".mlp.3."))
    return found


BLOCKS: dict[str, Callable[[Case], Callable[..., Tensor]]] = {"gcvit_stage": stage}

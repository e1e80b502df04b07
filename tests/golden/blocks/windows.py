"""Attention inside windows: Swin, MaxViT."""

from collections.abc import Callable

import torch
from filled_block import filled, filled_from
from parity import Case
from torch import Tensor, nn

from foveal.core.attention.adaptive_sparse import AdaptiveSparseAttention
from foveal.core.attention.window import WindowAttention
from foveal.core.blocks.transformer import TransformerBlock

TABLE = r"(?:rel_pos\.)?relative_position_bias_table$"
BLOCK = [
    (rf"^attn\.{TABLE}", "mixer.position.table"),
    (r"^attn\.", "mixer."),
    (r"^ls(\d)\.gamma$", r"scale\1.weight"),
    (r"^mlp\.(?:fc|linear)1\.", "mlp.0."),
    (r"^mlp\.(?:fc|linear)2\.", "mlp.3."),
]


def sides(value: int | list[int], axes: int) -> list[int]:
    """Return one number for each axis."""
    return [value] * axes if isinstance(value, int) else list(value)


def swin_window(case: Case) -> Callable[[Tensor], Tensor]:
    """Swin's attention alone, on windows that are cut already: maps of one window each; a mask may follow."""
    config = case.meta["config"]
    window = config["window_size"]
    block = WindowAttention(config["dim"], config["num_heads"], window, qkv_bias="qkv.bias" in case.shapes)
    filled(block, case, [(f"^{TABLE}", "position.table")])
    return lambda x: block(x.unflatten(1, window)).flatten(1, -2)


def swin_block(case: Case) -> nn.Module:
    """Swin's block: timm's, torchvision's ("tv") and MONAI's, which differ in sizes that windows do not divide."""
    config, variant = case.meta["config"], case.meta["variant"]
    sizes = case.inputs[0].shape[1:-1]
    window, shift = sides(config["window_size"], len(sizes)), sides(config["shift_size"], len(sizes))
    timm = "input_resolution" in config
    if timm:  # decided at construction
        shift = [0 if size <= side else s for size, side, s in zip(sizes, window, shift, strict=True)]
        window = [min(pair) for pair in zip(sizes, window, strict=True)]
    mixer = WindowAttention(
        config["dim"],
        config["num_heads"],
        window,
        shift,
        qkv_bias="attn.qkv.bias" in case.shapes,
        roll_first=timm,
        short_axis="pad" if "_tv" in variant else "number",
    )
    block = TransformerBlock(mixer, config["dim"], config.get("mlp_ratio", 4.0))
    return filled(block, case, BLOCK)


def maxvit(case: Case) -> nn.Module:
    """MaxViT's block and grid attention."""
    config = case.meta["config"]
    dim, heads = config["dim"], config["dim"] // config["dim_head"]
    window = sides(config["partition_size"], 2)
    mixer = WindowAttention(dim, heads, window, dilated=config["partition_type"] == "grid", mask_padding=True)
    block = TransformerBlock(mixer, dim, config.get("expand_ratio", 4.0), norm_eps=config.get("norm_eps", 1e-6))
    state = {name: torch.from_numpy(value) for name, value in case.weights().items()}
    if config.get("head_first", True):  # each head has its query, key and value together
        for name in ("attn.qkv.weight", "attn.qkv.bias"):
            state[name] = state[name].unflatten(0, (heads, 3, -1)).transpose(0, 1).flatten(0, 2)
    name = "attn.rel_pos.relative_position_bias_table"
    if state[name].ndim > 2:  # of the key's offset from the query, the head first
        state[name] = state[name].flip(1, 2).flatten(1).t()
    return filled_from(block, state, BLOCK)


def adaptive_sparse(case: Case) -> Callable[[Tensor], Tensor]:
    """AST's attention by softmax and squares, on windows that are cut already: maps of one window each."""
    config = case.meta["config"]
    window = config["win_size"]
    state = {name: torch.from_numpy(value) for name, value in case.weights().items()}
    for kind in ("weight", "bias"):
        if f"qkv.to_q.{kind}" in state:
            state[f"qkv.{kind}"] = torch.cat([state.pop(f"qkv.to_{part}.{kind}") for part in ("q", "kv")])
    block = AdaptiveSparseAttention(config["dim"], config["num_heads"], window, qkv_bias="qkv.bias" in state)
    filled_from(block, state, [(f"^{TABLE}", "position.table"), (r"^w$", "parts")])
    return lambda x: block(x.unflatten(1, window)).flatten(1, -2)


BLOCKS: dict[str, Callable[[Case], Callable[..., Tensor]]] = {
    "swin_window": swin_window,
    "swin": swin_block,
    "maxvit": maxvit,
    "assa": adaptive_sparse,
}

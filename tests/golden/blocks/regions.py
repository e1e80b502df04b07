"""Attention through regions of a map: HiLo, bi-level routing, super tokens."""

from collections.abc import Callable

from filled_block import filled, filled_from
from parity import Case
from token_maps import channels_first, on_tokens, sizes_of, weights
from torch import Tensor

from foveal.core.attention.bilevel import BiLevelRoutingAttention
from foveal.core.attention.hilo import HiLoAttention
from foveal.core.attention.super_token import SuperTokenAttention, SuperTokenBlock


def hilo(case: Case) -> Callable[[Tensor], Tensor]:
    """HiLo attention."""
    config, axes = case.meta["config"], len(sizes_of(case, case.inputs[0].shape[1]))
    bias = any(name in case.shapes for name in ("h_qkv.bias", "l_q.bias"))
    window = [config["window_size"]] * axes
    block = HiLoAttention(config["dim"], config["num_heads"], window, config.get("alpha", 0.5), bias)
    names = {"h": "high", "l": "low"}
    filled(block, case, [(rf"^{theirs}_(\w+)\.", rf"branches.{ours}.\1.") for theirs, ours in names.items()])
    return on_tokens(block, sizes_of(case, case.inputs[0].shape[1]))


def bilevel(case: Case) -> Callable[[Tensor], Tensor]:
    """Bi-level routing attention: the original of channels-last maps, or the later one of channels-first maps."""
    config, shapes = case.meta["config"], case.shapes
    later = "output_linear.weight" in shapes
    fused, side = shapes["qkv_linear.weight" if later else "qkv.qkv.weight"], shapes["lepe.weight"]
    dim = fused[1]
    block = BiLevelRoutingAttention(
        dim,
        config["num_heads"],
        config["n_win"],
        config["topk"],
        (fused[0] - dim) // 2,
        side[2],
        floor=later,
        qkv_bias=any(name in shapes for name in ("qkv.qkv.bias", "qkv_linear.bias")),
    )
    rules = [(r"^qkv\.qkv\.|^qkv_linear\.", "qkv."), (r"^wo\.|^output_linear\.", "proj."), (r"^lepe\.", "local.conv.")]
    filled(block, case, rules)
    return channels_first(block) if later else block


def super_tokens(case: Case) -> Callable[[Tensor], Tensor]:
    """Super token attention, or the whole block around it."""
    config, whole = case.meta["config"], "norm2.weight" in case.shapes
    state = weights(case)
    for name in [name for name in state if ".qkv." in f".{name}"]:
        # Theirs holds queries, keys and values of a head together, ours the queries of all heads, then the keys.
        state[name] = state[name].unflatten(0, (config["num_heads"], 3, -1)).transpose(0, 1).flatten(0, 2)
    options = (config["dim"], config["num_heads"], config["stoken_size"], config["n_iter"])
    if whole:
        block = SuperTokenBlock(*options, config["mlp_ratio"], config.get("qkv_bias", False))
    else:
        block = SuperTokenAttention(*options, config.get("qkv_bias", False))
    rules = [
        (r"^attn\.stoken_refine\.", "mixer.attention."),
        (r"^stoken_refine\.", "attention."),
        (r"^pos_embed\.", "position."),
        (r"^norm1\.norm\.", "norm1."),
        (r"^mlp2\.fc1\.", "expand."),
        (r"^mlp2\.fc2\.", "contract."),
        (r"^mlp2\.conv\.", "local."),
    ]
    return channels_first(filled_from(block, state, rules))


BLOCKS: dict[str, Callable[[Case], Callable[..., Tensor]]] = {"hilo": hilo, "bra": bilevel, "stoken": super_tokens}

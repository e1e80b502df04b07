"""Attention that is linear in the tokens: through summaries, landmarks, agents or features."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from filled_block import filled, filled_from
from parity import Case
from token_maps import channels_first, on_tokens, sizes_of, weights, with_residual
from torch import Tensor, nn

from foveal.core.attention.agent import AgentAttention, ClassTokenAgentAttention
from foveal.core.attention.efficient import EfficientAttention
from foveal.core.attention.focused_linear import FocusedLinearAttention
from foveal.core.attention.linformer import LinformerAttention
from foveal.core.attention.nystrom import NystromAttention, nystrom_attention
from foveal.core.attention.performer import PerformerAttention
from foveal.core.attention.softmax_free import SoftmaxFreeAttention


def efficient(case: Case) -> Callable[[Tensor], Tensor]:
    """Efficient attention, which returns its input, too."""
    key_dim, dim = case.shapes["keys.weight"][:2]
    block = EfficientAttention(dim, case.meta["config"]["head_count"], key_dim, case.shapes["values.weight"][0])
    state = weights(case)
    for kind in ("weight", "bias"):
        state[f"qkv.{kind}"] = torch.cat([state.pop(f"{name}.{kind}") for name in ("queries", "keys", "values")])
    filled_from(block, state, [(r"^reprojection\.", "proj.")])
    return with_residual(channels_first(block))


def agent(case: Case) -> Callable[[Tensor], Tensor]:
    """Agent attention: of tokens after a class token (DeiT), with reduced keys (PVT) or of windows (Swin)."""
    shapes, dim = case.shapes, case.shapes["proj.weight"][0]
    heads, count = shapes["an_bias"][:2]
    size = (shapes["ha_bias"][2], shapes["wa_bias"][3])
    state = weights(case)
    split_qkv(state, dim)
    for ours, (grid, rows, columns) in {"gather": ("an", "ah", "aw"), "read": ("na", "ha", "wa")}.items():
        state[f"{ours}_bias.grid"] = state.pop(f"{grid}_bias")
        for axis, name in enumerate((rows, columns)):
            along = state.pop(f"{name}_bias").squeeze((0, 3 - axis if ours == "read" else 4 - axis))
            state[f"{ours}_bias.along.{axis}"] = along.transpose(1, 2) if ours == "read" else along
    rules = [(r"^dwc\.", "local.conv."), (r"^sr\.", "reduce.conv."), (r"^norm\.", "reduce.norm.")]
    options = {"agents": math.isqrt(count), "qkv_bias": "q.bias" in state}
    if "ac_bias" in state:
        state["gather_token_bias"] = state.pop("ac_bias")[0]
        state["read_token_bias"] = state.pop("ca_bias")[0].transpose(1, 2)
        return filled_from(ClassTokenAgentAttention(dim, heads, size, **options), state, rules)
    reduction = shapes["sr.weight"][2] if "sr.weight" in shapes else 1
    return on_tokens(filled_from(AgentAttention(dim, heads, size, reduction=reduction, **options), state, rules), size)


def split_qkv(state: dict[str, Tensor], dim: int) -> None:
    """Split a fused projection of queries, keys and values into ours, of queries and of the other two."""
    for kind in ("weight", "bias"):
        if f"qkv.{kind}" in state:
            state[f"q.{kind}"], state[f"kv.{kind}"] = state.pop(f"qkv.{kind}").split([dim, 2 * dim])


def focused_linear(case: Case) -> Callable[[Tensor], Tensor]:
    """Focused linear attention, of windows or with reduced keys (PVT)."""
    shapes, config, dim = case.shapes, case.meta["config"], case.shapes["proj.weight"][0]
    size = sizes_of(case, case.inputs[0].shape[1])
    reduction = shapes["sr.weight"][2] if "sr.weight" in shapes else 1
    state = weights(case)
    split_qkv(state, dim)
    state["scale"] = state["scale"].flatten()
    positions = state.pop("positional_encoding").transpose(1, 2)
    state["positions"] = positions.unflatten(2, [length // reduction for length in size])
    heads, power, kernel = config["num_heads"], config.get("focusing_factor", 3), shapes["dwc.weight"][2]
    block = FocusedLinearAttention(dim, heads, size, power, kernel, reduction, "q.bias" in state)
    rules = [(r"^dwc\.weight", "kernels"), (r"^dwc\.bias", "bias")]
    return on_tokens(
        filled_from(block, state, [*rules, (r"^sr\.", "reduce.conv."), (r"^norm\.", "reduce.norm.")]), size
    )


def nystrom(case: Case) -> nn.Module:
    """Nystrom attention as in multiple instance learning."""
    config = case.meta["config"]
    inner, dim = case.shapes["to_qkv.weight"][0] // 3, case.shapes["to_qkv.weight"][1]
    kernel = case.shapes["res_conv.weight"][2] if "res_conv.weight" in case.shapes else 0
    width, landmarks = inner // config["heads"], config["num_landmarks"]
    block = NystromAttention(dim, config["heads"], landmarks, width, config.get("pinv_iterations", 6), kernel)
    return filled(block, case, [(r"^to_qkv\.", "qkv."), (r"^to_out\.0\.", "proj."), (r"^res_conv\.", "local.")])


def nystrom_official(case: Case) -> Callable[..., Tensor]:
    """The Nystromformer's attention, of queries, keys and values."""
    landmarks, kernel = case.meta["config"]["num_landmarks"], weights(case).get("conv.weight")

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        q = q * q.shape[-1] ** -0.5
        whole = q.shape[2] == landmarks
        mixed = F.scaled_dot_product_attention(q, k, v, scale=1.0) if whole else nystrom_attention(q, k, v, landmarks)
        if kernel is None:
            return mixed
        return mixed + F.conv2d(v, kernel, padding=(kernel.shape[2] // 2, 0), groups=v.shape[1])

    return attend


def linformer(case: Case) -> nn.Module:
    """Linformer's attention."""
    dim, config = case.shapes["to_q.weight"][1], case.meta["config"]
    length, rank = case.shapes["proj_k"]
    shared, one_head = "proj_v" not in case.shapes, config.get("one_kv_head", False)
    state = weights(case)
    state["mixing"] = torch.stack([state.pop(name) for name in ("proj_k", "proj_v") if name in state])
    state["kv.weight"] = torch.cat([state.pop(name) for name in ("to_k.weight", "to_v.weight") if name in state])
    block = LinformerAttention(dim, config["heads"], length, rank, shared, one_head)
    return filled_from(block, state, [(r"^to_q\.", "q."), (r"^to_out\.", "proj.")])


def performer(case: Case) -> Callable[..., Tensor]:
    """The Performer's attention, of queries, keys and values."""
    features, width = case.shapes["projection_matrix"]
    kernel = "softmax" if "softmax" in case.meta["config"].get("kernel", "softmax").lower() else "relu"
    block = PerformerAttention(width, 1, features, kernel).double()
    block.directions.copy_(weights(case)["projection_matrix"])
    return block.attend


def softmax_free(case: Case) -> Callable[[Tensor], Tensor]:
    """SOFT."""
    shapes, config, dim = case.shapes, case.meta["config"], case.shapes["ff.weight"][0]
    block = SoftmaxFreeAttention(
        dim,
        config["num_heads"],
        shapes["attn.Qlandmark_op.weight"][2],
        shapes["attn.conv.weight"][2],
        config.get("max_iter", 20),
        "W_q.bias" in shapes,
    )
    rules = [
        (r"^W_(q|v)\.", r"\1."),
        (r"^attn\.Qlandmark_op\.", "landmarks."),
        (r"^attn\.Qnorm_act\.0\.", "norm."),
        (r"^attn\.conv\.weight", "kernels"),
        (r"^ff\.", "proj."),
    ]
    return on_tokens(filled(block, case, rules), sizes_of(case, case.inputs[0].shape[1]))


BLOCKS: dict[str, Callable[[Case], Callable[..., Tensor]]] = {
    "agent": agent,
    "efficient": efficient,
    "focused_linear": focused_linear,
    "linformer": linformer,
    "nystrom": nystrom,
    "nystrom_official": nystrom_official,
    "performer": performer,
    "soft": softmax_free,
}

"""Token mixers of single networks: SHViT, CAS-ViT, MoH, Sparsifiner, DAS."""

from collections.abc import Callable

from filled_block import filled
from parity import Case
from torch import Tensor, nn

from foveal.core.attention.additive import AdditiveAttention
from foveal.core.attention.deformable_gate import DeformableGate
from foveal.core.attention.instance_sparse import InstanceSparseAttention
from foveal.core.attention.mixture_of_heads import MixtureOfHeadsAttention
from foveal.core.attention.single_head import SingleHeadAttention


def single_head(case: Case) -> nn.Module:
    """SHViT's attention of one head."""
    dim, attended = case.shapes["proj.1.c.weight"][0], case.shapes["pre_norm.weight"][0]
    qk_dim = (case.shapes["qkv.c.weight"][0] - attended) // 2
    block = SingleHeadAttention(dim, attended, qk_dim, case.inputs[0].ndim - 2)
    rules = [(r"^pre_norm\.", "norm."), (r"^proj\.1\.", "project."), (r"\.c\.", ".conv."), (r"\.bn\.", ".norm.")]
    return filled(block, case, rules)


def additive(case: Case) -> nn.Module:
    """The additive mixer of CAS-ViT."""
    block = AdditiveAttention(case.inputs[0].shape[1], "qkv.bias" in case.shapes, case.inputs[0].ndim - 2)
    rules = [
        (r"^oper_q\.", "gate_query."),
        (r"^oper_k\.", "gate_key."),
        (r"\.0\.block\.", ".0.score."),
        (r"\.1\.block\.1\.", ".1.score."),
        (r"^dwc\.", "mix."),
        (r"^proj\.", "project."),
    ]
    return filled(block, case, rules)


def mixture_of_heads(case: Case) -> Callable[[Tensor], Tensor]:
    """MoH's attention, which takes flattened maps."""
    config = case.meta["config"]
    resolution = tuple(config["input_resolution"])
    block = MixtureOfHeadsAttention(
        config["dim"],
        config["num_heads"],
        resolution,
        config["shared_head"],
        config["routed_head"],
        qkv_bias="qkv.bias" in case.shapes,
        hidden=case.shapes["cpb_fc1.weight"][0],
    )
    names = {"cpb_fc1": "position.0", "cpb_fc2": "position.2"}
    names |= {"wg": "route", "wg_0": "weigh_kinds", "wg_1": "weigh_shared"}
    filled(block, case, [(rf"^{theirs}\.", f"{ours}.") for theirs, ours in names.items()])
    return lambda tokens: block(tokens.unflatten(1, resolution)).flatten(1, 2)


def instance_sparse(case: Case) -> Callable[[Tensor], dict[str, Tensor]]:
    """Sparsifiner's attention with its mask and the estimate that it is made from."""
    config = case.meta["config"]
    tokens, patterns = case.shapes["mask_predictor.proj_n"]
    block = InstanceSparseAttention(
        config["dim"],
        tokens,
        config["num_heads"],
        config["attn_keep_rate"],
        patterns,
        config["basis_coef_topk"],
        config["basis_threshold"],
        config["reduce_c_factor"],
        qkv_bias="qkv.bias" in case.shapes,
    )
    names = {"proj_n": "gather_keys", "proj_back_n": "patterns", "proj_c_q": "narrow_query", "proj_c_k": "narrow_key"}
    filled(block, case, [(rf"^mask_predictor\.{theirs}(?!_)", ours) for theirs, ours in names.items()])
    return lambda x: {"out": block(x), "attn_mask": block.mask(x).to(x.dtype), "approx_attn": block.estimate(x)}


def deformable_gate(case: Case) -> nn.Module:
    """The gate of DAS."""
    inside, dim = case.shapes["pw.weight"][:2]
    kernel = case.shapes["deform.weight"][2]
    block = DeformableGate(dim, (inside + 0.5) / dim, kernel, case.inputs[0].ndim - 2)
    names = {"dw": "narrow.0", "pw": "narrow.1", "norm1": "narrow.2", "deform": "deformable", "norm2": "norm"}
    return filled(block, case, [(rf"^{theirs}\.", f"{ours}.") for theirs, ours in names.items()])


BLOCKS: dict[str, Callable[[Case], Callable[..., Tensor | dict[str, Tensor]]]] = {
    "shvit_shsa": single_head,
    "casvit_mixer": additive,
    "moh": mixture_of_heads,
    "sparsifiner": instance_sparse,
    "das_gate": deformable_gate,
}

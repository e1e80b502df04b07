"""Gates on the features of a skip connection."""

from collections.abc import Callable

from filled_block import filled
from parity import Case
from torch import Tensor, nn

from foveal.core.attention.gate import AttentionGate


def attention_gate(case: Case) -> nn.Module:
    """The gate of Attention U-Net."""
    config = case.meta["config"]
    block = AttentionGate(
        config["in_channels"],
        config["gating_channels"],
        case.shapes["phi.weight"][0],
        stride=case.shapes["theta.weight"][2:],
        norm=False,
        projected=True,
        spread=config.get("mode") == "concatenation_residual",
        spatial_dims=case.inputs[0].ndim - 2,
    )
    rules = [(r"^theta\.", "of_map.0."), (r"^phi\.", "of_gate.0."), (r"^psi\.", "score.0."), (r"^W\.", "project.")]
    return filled(block, case, rules)


def monai_gate(case: Case) -> Callable[..., Tensor]:
    """MONAI's attention block, which takes the gating signal first."""
    config = case.meta["config"]
    block = AttentionGate(config["f_l"], config["f_g"], config["f_int"], spatial_dims=config["spatial_dims"])
    names = {"W_x": "of_map", "W_g": "of_gate", "psi": "score"}
    rules = [(rf"^{theirs}\.(\d)\.(?:conv\.)?", rf"{ours}.\1.") for theirs, ours in names.items()]
    filled(block, case, rules)
    return lambda gate, x: block(x, gate)


BLOCKS: dict[str, Callable[[Case], Callable[..., Tensor]]] = {
    "attention_gate": attention_gate,
    "attention_block_monai": monai_gate,
}

"""The authors' DWFormer weights (https://github.com/SummerParadise-0922/MPGNet) in our module.

No trained weights are published; files of their training hold `state_dict`. The 1x1 convolution that should weigh the
positions has no effect in their code and is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

from ....core.errors import UserError
from ....core.weights.adapters import fill, reading_shapes, refuse_unknown, rename
from ....core.weights.card import Card, colour_names, network_entry
from .dwformer import DWFormer

_BLOCK = r"^(stages\.\d+\.\d+)"
RENAMES = (
    (r"^downproj1\.", "stem."),
    (r"^downproj2\.", "downs.0."),
    (r"^downproj3\.", "downs.1."),
    *((rf"^block{stage + 1}\.blocks\.", f"stages.{stage}.") for stage in range(5)),
    (_BLOCK + r"\.inter\.0\.", r"\1.project_in.norm."),
    (_BLOCK + r"\.inter\.1\.", r"\1.project_in.conv."),
    (_BLOCK + r"\.inter\.2\.", r"\1.depthwise."),
    (_BLOCK + r"\.inter\.4\.mlp\.0\.", r"\1.gate.squeeze."),
    (_BLOCK + r"\.inter\.4\.mlp\.2\.", r"\1.gate.excite."),
    (_BLOCK + r"\.inter\.5\.", r"\1.project_out."),
    (_BLOCK + r"\.intra\.0\.", r"\1.expand.norm."),
    (_BLOCK + r"\.intra\.1\.", r"\1.expand.conv."),
    (_BLOCK + r"\.intra\.3\.", r"\1.reduce."),
    (r"^upproj4\.0\.", "ups.0.spread."),
    (r"^upproj5\.0\.", "ups.1.spread."),
    (r"^fuse1\.0\.", "ups.0.fuse."),
    (r"^fuse2\.0\.", "ups.1.fuse."),
    (r"^out\.", "head."),
)
UNUSED = ".pwconv."

ARGUMENTS = {
    "in_ch": "in_channels",
    "emd_dims": "widths",
    "mlp_ratios": "mlp_ratios",
    "layer_num": "depths",
    "se_ratio": "reduction",
}
"""The authors' options and what our module calls them."""

SIDE = 256  # pixels, of a tile


def recognises(names: Iterable[str]) -> bool:
    """Tell whether these parameter names are those of the authors' DWFormer."""
    return {"downproj1.weight", "upproj5.0.weight", "block1.blocks.0.inter.4.mlp.0.weight"} <= set(names)


def from_reference(state: Mapping[str, Tensor], config: Mapping[str, Any] | None = None) -> DWFormer:
    """Build the module that the authors' weights belong to, in their dtype, with its `.card`; it pools by the sum.

    Args:
        state: tensors by the authors' names.
        config: the authors' options, which are held against the weights.

    Raises:
        UserError: an unknown option, an option that contradicts the weights, or weights that do not fit.
    """
    with reading_shapes("DWFormer"):
        arguments = _inferred(state)
    refuse_unknown("DWFormer", config or {}, ARGUMENTS)
    for name, value in (config or {}).items():
        found = arguments[ARGUMENTS[name]]
        if (tuple(value) if isinstance(value, (list, tuple)) else value) != found:
            raise UserError(f"the DWFormer option {name} is {value}, the weights are those of {found}.")
    net = DWFormer(**arguments).to(state["downproj1.weight"].dtype)
    fill(net, rename({name: value for name, value in state.items() if UNUSED not in name}, RENAMES))
    net.card = _card(arguments)
    return net.eval()


def _inferred(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Read our module's arguments from the shapes."""
    stages = [f"block{stage}.blocks." for stage in range(1, 6)]
    hidden = [len(state[f"{stage}0.intra.1.weight"]) for stage in stages]
    widths = tuple(len(state[f"{stage}0.inter.0.weight"]) for stage in stages)
    return {
        "in_channels": state["downproj1.weight"].shape[1],
        "widths": widths,
        "mlp_ratios": tuple(channels // width for channels, width in zip(hidden, widths, strict=True)),
        "depths": tuple(
            sum(name.startswith(stage) and name.endswith("inter.0.bias") for name in state) for stage in stages
        ),
        "reduction": widths[0] // len(state[f"{stages[0]}0.inter.4.mlp.0.weight"]),
        "pooling": "sum",
    }


def _card(arguments: Mapping[str, Any]) -> Card:
    plain = {name: list(value) if isinstance(value, tuple) else value for name, value in arguments.items()}
    return Card(
        name="dwformer-reference",
        app="udc",
        network=network_entry(DWFormer, plain),
        channels=colour_names(arguments["in_channels"]),
        size_multiple=DWFormer.size_multiple,
        smallest_size=DWFormer.smallest_size,
        tile=SIDE,
        overlap=SIDE // 4,
        licence="",
        training={"source": "https://github.com/SummerParadise-0922/MPGNet"},
    )

"""Weights of the authors' D-Former (https://github.com/kkk55596/D-Former, no licence stated) in our module.

Their third head, whose prediction their network never returns and which was so never trained, is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

from ....core.errors import UserError
from ....core.weights.adapters import fill, reading_shapes, refuse_unknown, rename
from ....core.weights.card import Card, network_entry
from ....core.weights.label import Label
from ....data.datasets.synapse import Synapse
from .dformer import DFormer

SOURCE = "https://github.com/kkk55596/D-Former"
HEAD_DIM = 32  # channels of an attention head in every published stage

ARGUMENTS = {
    "num_heads": "heads",
    "group_size": "group",
    "interval_list": "intervals",
    "drop_rate": "drop",
    "attn_drop_rate": "attention_drop",
    "drop_path_rate": "drop_path",
}
"""The authors' options and what our module calls them."""

OF_SHAPES = ("num_classes", "in_chan", "embed_dim", "depths", "patch_size", "mlp_ratio", "qkv_bias")
"""Options that the shapes tell, which are taken from there: the authors' code does not obey all of them."""


def recognises(names: Iterable[str]) -> bool:
    """Tell whether these parameter names are those of the authors' D-Former."""
    wanted = {"model_down.patch_embed.proj.weight", "model_down.layers.0.pos_block.proj.0.weight", "final.0.1.weight"}
    return wanted <= set(names)


def from_reference(state: Mapping[str, Tensor], config: Mapping[str, Any] | None = None) -> DFormer:
    """Build the module that the authors' weights belong to, in their dtype, with its `.card`.

    Args:
        state: tensors by the authors' names.
        config: the authors' options; what it does not say is read from the shapes or as published.

    Raises:
        UserError: an unknown option, or weights that do not fit.
    """
    arguments = _inferred(state) | _given(config or {})
    try:
        net = DFormer(**arguments).to(state["final.0.1.weight"].dtype)
    except (ValueError, TypeError) as error:
        raise UserError(f"these are no weights of D-Former: {error}.") from None
    steps = len(arguments["depths"]) - 1
    unused = tuple(f"final.{level}." for level in range(arguments["supervised"], steps))
    ours = rename({name: value for name, value in state.items() if not name.startswith(unused)}, _rules(steps))
    fill(net, {name: _as_linear(name, value) for name, value in ours.items()})
    net.card = _card(net, arguments)
    return net.eval()


def _rules(steps: int) -> list[tuple[str, str]]:
    """Return (pattern, replacement) from the authors' names to ours, for `steps` halvings of the size."""
    rules = [
        (r"^model_down\.patch_embed\.proj\.", "embedding.project."),
        (r"^model_down\.patch_embed\.", "embedding."),
        (rf"^model_down\.layers\.{steps}\.", "bottleneck."),
        (r"^model_down\.layers\.(\d+)\.downsample\.", r"merging.\1."),
        (r"^model_down\.layers\.", "encoder."),
        (r"^model_down\.norm\.", "bottleneck_norm."),
        (r"^model_down\.norm_up\.", "norm."),
        (r"^model_down\.layers_up\.0\.", "expansions.0."),
    ]
    for up in range(1, steps + 1):  # their first way up is an expansion alone; each further ends with the next
        rules += [
            (rf"^model_down\.concat_back_dim\.{up}\.", f"fusions.{up - 1}."),
            (rf"^model_down\.layers_up\.{up}\.upsample\.", f"expansions.{up}."),
            (rf"^model_down\.layers_up\.{up}\.", f"decoder.{up - 1}."),
        ]
    return [
        *rules,
        (r"\.pos_block\.proj\.0\.", ".position."),
        (r"\.attn\.", ".mixer."),
        (r"\.mlp\.fc1\.", ".mlp.0."),
        (r"\.mlp\.fc2\.", ".mlp.3."),
        (r"^final\.(\d)\.0\.", r"heads.\1.expansion."),
        (r"^final\.(\d)\.1\.", r"heads.\1.classify."),
    ]


def _as_linear(name: str, value: Tensor) -> Tensor:
    """Return the authors' pointwise convolution as the matrix that it is."""
    return value.flatten(1) if name.endswith(".classify.weight") else value


def _inferred(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Read our module's arguments from names and shapes, or as published."""
    with reading_shapes("D-Former"):
        dim, in_channels, *patch = state["model_down.patch_embed.proj.weight"].shape
        hidden = state["model_down.layers.0.blocks.0.mlp.fc1.weight"].shape[0]
        num_classes = state["final.0.1.weight"].shape[0]
    depths = _depths(state)
    return {
        "num_classes": num_classes,
        "in_channels": in_channels,
        "dim": dim,
        "depths": depths,
        "heads": [max(1, (dim << i) // HEAD_DIM) for i in range(len(depths))],
        "patch": patch,
        "intervals": [2**i for i in reversed(range(len(depths)))],
        "mlp_ratio": hidden / dim,
        "qkv_bias": "model_down.layers.0.blocks.0.attn.qkv.bias" in state,
        "supervised": min(2, len(depths) - 1),
    }


def _depths(state: Mapping[str, Tensor]) -> list[int]:
    """Count the blocks of each stage of the encoder."""
    depths: list[int] = []
    while (blocks := _blocks(state, len(depths))) > 0:
        depths.append(blocks)
    return depths


def _blocks(state: Mapping[str, Tensor], stage: int) -> int:
    prefix = f"model_down.layers.{stage}.blocks."
    return len({name.removeprefix(prefix).partition(".")[0] for name in state if name.startswith(prefix)})


def _given(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return our module's arguments for the authors' options."""
    refuse_unknown("D-Former", config, (*ARGUMENTS, *OF_SHAPES, "deep_supervision"))
    arguments = {ARGUMENTS[name]: value for name, value in config.items() if name in ARGUMENTS}
    return arguments if config.get("deep_supervision", True) else arguments | {"supervised": 1}


def _card(net: DFormer, arguments: dict[str, Any]) -> Card:
    classes, channels = net.num_classes, net.in_channels
    names = Synapse.classes if classes == len(Synapse.classes) + 1 else tuple(f"class {i}" for i in range(1, classes))
    wanted = (64, 128, 128) if arguments["patch"][0] > 1 else (16, 160, 160)  # the crops for Synapse and for ACDC
    tile = tuple(-(-side // multiple) * multiple for side, multiple in zip(wanted, net.size_multiple, strict=True))
    return Card(
        name="dformer",
        app="volseg",
        network=network_entry(DFormer, arguments),
        dimensions=3,
        channels=("grey",) if channels == 1 else tuple(f"channel {i}" for i in range(1, channels + 1)),
        size_multiple=net.size_multiple,
        fixed_tile=net.fixed_tile,
        tile=tile,
        overlap=tuple(side // 2 for side in tile),
        intensity={"zscore": True},
        outputs=("background", *names),
        activation="argmax",
        labels=tuple(Label(value=value, name=name) for value, name in enumerate(names, start=1)),
        licence="none stated by the authors",
        training={"source": SOURCE},
    )

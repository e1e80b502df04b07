"""The authors' ACMIL weights (https://github.com/dazhangyu123/ACMIL, MIT) in our modules.

Both forms are read, and ABMIL, which is one gated branch. Our names differ; the tensors are the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

from ....core.errors import UserError
from ....core.weights.adapters import fill, reading_shapes, refuse_unknown, rename
from ....core.weights.card import Card, network_entry
from .acmil import ACMIL, BagNetwork, MultiHeadACMIL

OPTIONS = {
    "D_feat": "in_channels",
    "D_inner": "dim",
    "n_class": "num_classes",
    "n_token": "branches",
    "n_masked_patch": "top_k",
    "mask_drop": "mask_ratio",
}
"""The authors' options of both forms and our arguments."""

OWN_OPTIONS = {"ga": {"attention_hidden": "hidden"}, "mha": {"heads": "heads"}}
"""The options of one form."""

RENAMES = (
    (r"^dimreduction\.fc1\.", "reduce."),
    (r"^attention\.attention_V\.0\.", "scorer.content."),
    (r"^attention\.attention_U\.0\.", "scorer.gate."),
    (r"^attention\.attention_weights\.", "scorer.score."),
    (r"^q$", "scorer.queries"),
    (r"^sub_attention\.(\d+)\.q_proj\.", r"scorer.query.\1."),
    (r"^sub_attention\.(\d+)\.k_proj\.", r"scorer.key.\1."),
    (r"^sub_attention\.", "readout.branches."),
    (r"^bag_attention\.", "readout.slide."),
    (r"^(readout\..+)\.v_proj\.", r"\1.value."),
    (r"^(readout\..+)\.out_proj\.", r"\1.out."),
    (r"^(readout\..+)\.layer_norm\.", r"\1.norm."),
    (r"^classifier\.(\d+)\.fc\.", r"branch_heads.\1."),
    (r"^Slide_classifier\.fc\.", "slide_head."),
)


def recognises(names: Iterable[str]) -> bool:
    """Tell whether these parameter names are those of the authors' ACMIL, in either form."""
    names = set(names)
    return {"dimreduction.fc1.weight", "classifier.0.fc.weight", "Slide_classifier.fc.weight"} <= names and (
        "attention.attention_weights.weight" in names or {"q", "bag_attention.v_proj.weight"} <= names
    )


def from_reference(state: Mapping[str, Tensor], config: Mapping[str, Any] | None = None) -> BagNetwork:
    """Build the module that the authors' weights belong to, in their dtype, with its `.card`.

    Args:
        state: tensors by the authors' names.
        config: the authors' options; what it does not say, or says is None, is read from the shapes. What shapes do not
            show is as published: 8 heads, and in training 0.6 of the 10 most attended patches masked.

    Raises:
        UserError: an unknown option, or weights that do not fit.
    """
    form = "mha" if "q" in state else "ga"
    arguments = _inferred(state, form) | _given({k: v for k, v in (config or {}).items() if v is not None}, form)
    try:
        net = (MultiHeadACMIL if form == "mha" else ACMIL)(**arguments)
    except ValueError as error:
        raise UserError(f"ACMIL cannot be built from these options: {error}.") from None
    net.to(state["dimreduction.fc1.weight"].dtype)
    ours = rename(state, RENAMES)
    if form == "mha":
        ours["scorer.queries"] = ours["scorer.queries"].squeeze(0)
    fill(net, ours)
    net.card = _card(net, form, arguments)
    return net.eval()


def _inferred(state: Mapping[str, Tensor], form: str) -> dict[str, Any]:
    """Read our module's arguments from shapes."""
    with reading_shapes("ACMIL"):
        dim, in_channels = state["dimreduction.fc1.weight"].shape
        arguments = {
            "num_classes": len(state["Slide_classifier.fc.weight"]),
            "in_channels": in_channels,
            "dim": dim,
            "branches": sum(name.startswith("classifier.") and name.endswith(".weight") for name in state),
        }
        hidden = {"hidden": len(state["attention.attention_V.0.weight"])} if form == "ga" else {}
    return arguments | hidden


def _given(config: Mapping[str, Any], form: str) -> dict[str, Any]:
    """Return our module's arguments for the authors' options."""
    options = OPTIONS | OWN_OPTIONS[form]
    refuse_unknown("ACMIL", config, (*options, "arch"))
    if config.get("arch", form) != form:
        raise UserError(f"arch {config['arch']!r} is asked for, but these are weights of ACMIL with arch {form!r}.")
    return {ours: config[theirs] for theirs, ours in options.items() if theirs in config}


def _card(net: BagNetwork, form: str, arguments: dict[str, Any]) -> Card:
    name = "acmil" if net.num_branches > 1 else "abmil"
    return Card(
        name=name if form == "ga" else f"{name}-mha",
        app="wsi",
        network=network_entry(type(net), arguments),
        kind="bag",
        channels=tuple(f"feature {i}" for i in range(1, net.in_channels + 1)),
        size_multiple=net.size_multiple,
        tile=1,
        overlap=0,
        outputs=tuple(f"class {i}" for i in range(net.num_classes)),
        activation="softmax",
        licence="MIT",
        training={"source": "https://github.com/dazhangyu123/ACMIL"},
    )

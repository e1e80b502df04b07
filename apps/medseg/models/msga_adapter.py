"""The authors' MSGA weights (https://github.com/sinAshish/Multi-Scale-Attention, no licence stated) in our module.

Their files count some layers from the coarsest scale and others from the finest, and hold layers that the network never
uses.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from torch import Tensor

from ....core.errors import UserError
from ....core.weights.adapters import fill, reading_shapes, refuse_unknown, rename
from ....core.weights.card import Card, colour_names, network_entry
from ....core.weights.label import Label
from .msga import MSGA, SCALES

SOURCE = "https://github.com/sinAshish/Multi-Scale-Attention"
BACKBONE = "resnext101_32x8d"
CHAOS = (  # the classes of the authors' five-class weights, of which 0 is the background
    Label(value=1, name="liver", colour=(178, 72, 53)),
    Label(value=2, name="right kidney", colour=(241, 200, 60)),
    Label(value=3, name="left kidney", colour=(86, 160, 211)),
    Label(value=4, name="spleen", colour=(142, 92, 170)),
)

UNUSED = re.compile(r"(conv[67]_\d|attention\d|refine\d)\.")
"""Layers of the authors' files that their network never uses."""

ARGUMENTS = {"classes": "num_classes", "in_channels": "in_channels", "backbone": "backbone", "channels": "dim"}
"""The authors' options and what our module calls them."""

IGNORED = ("w_semantic", "w_reconstruction")  # weights of the loss

_UNIT = {"0": "0.0", "1": "0.1", "2": "0.2", "3": "1", "4": "2.0", "5": "2.1", "6": "2.2"}
_FUSE = {str(index): f"{index // 3}.{index % 3}" for index in range(9)}
_CODER = {"0": "0.0", "1": "0.1", "3": "1.0", "4": "1.1", "6": "2"}
"""Numbers of the authors' layers inside an attention unit, the fusion and a coder, and ours."""


def _rules() -> Iterator[tuple[str, str]]:
    """Yield (pattern, replacement) from the authors' names to ours, to be applied in order."""
    yield r"^resnext\.layer0\.0\.", "backbone.conv1."
    yield r"^resnext\.layer0\.1\.", "backbone.bn1."
    yield r"^resnext\.layer1\.1\.", "backbone.layer1."  # 0 is the pooling
    yield r"^resnext\.", "backbone."
    for theirs, ours in _FUSE.items():
        yield rf"^fuse1\.fuse_attn\.{theirs}\.", f"fuse.{ours}."
    for scale in range(SCALES):
        yield from _scale_rules(scale)
    for theirs, ours in _UNIT.items():
        yield rf"^(stage\d\.scales\.\d\.\w+)\.attn\.{theirs}\.", rf"\1.{ours}."
    yield r"\.(query|key|value)_conv\.", r".\1."
    for theirs, ours in _CODER.items():
        coder = rf"^semanticModule_(\d)_1\.(enc|dec)(\d)\.\2ode\.{theirs}\."
        yield coder, rf"stage\1.semantic.\2ode\3.{ours}."


def _scale_rules(scale: int) -> Iterator[tuple[str, str]]:
    """Yield the rules of one scale, 0 the finest."""
    finest_first, coarsest_first = scale + 1, SCALES - scale
    yield rf"^down{finest_first}\.", f"down.{scale}."
    yield rf"^predict{finest_first}\.", f"heads1.{scale}."
    yield rf"^predict{finest_first}_2\.", f"heads2.{scale}."
    yield rf"^pam_attention_(\d)_{finest_first}\.", rf"stage\1.scales.{scale}.position."
    yield rf"^cam_attention_(\d)_{finest_first}\.", rf"stage\1.scales.{scale}.channel."
    yield rf"^conv_sem_(\d)_{coarsest_first}\.", rf"stage\1.scales.{scale}.gate."
    yield rf"^conv8_{coarsest_first}\.", f"stage1.scales.{scale}.project."
    yield rf"^conv8_1{coarsest_first}\.", f"stage2.scales.{scale}.project."


RENAMES = tuple(_rules())


def recognises(names: Iterable[str]) -> bool:
    """Tell whether these parameter names are those of the authors' MSGA."""
    return {"resnext.layer0.0.weight", "semanticModule_1_1.enc1.encode.0.weight", "predict1_2.weight"} <= set(names)


def from_reference(state: Mapping[str, Tensor], config: Mapping[str, Any] | None = None) -> MSGA:
    """Build the module that the authors' weights belong to, in their dtype, with its `.card`.

    Args:
        state: tensors by the authors' names.
        config: the authors' options; what it does not say is read from the shapes, and the backbone is theirs.

    Raises:
        UserError: an unknown option, or weights that do not fit.
    """
    config = config or {}
    refuse_unknown("MSGA", config, (*ARGUMENTS, *IGNORED))
    arguments = _inferred(state) | {ARGUMENTS[name]: value for name, value in config.items() if name in ARGUMENTS}
    try:
        net = MSGA(**arguments).to(state["predict1.weight"].dtype)
    except (ValueError, TypeError) as error:
        raise UserError(f"these are no weights of MSGA: {error}.") from None
    used = {name: value for name, value in state.items() if not UNUSED.match(name)}
    fill(net, rename(used, RENAMES))
    net.card = _card(arguments)
    return net.eval()


def _inferred(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Read our module's arguments from the shapes."""
    with reading_shapes("MSGA"):
        num_classes, dim = state["predict1.weight"].shape[:2]
        in_channels = state["resnext.layer0.0.weight"].shape[1]
    return {"num_classes": num_classes, "in_channels": in_channels, "backbone": BACKBONE, "dim": dim}


def _card(arguments: dict[str, Any]) -> Card:
    classes, channels = arguments["num_classes"], arguments["in_channels"]
    labels = CHAOS if classes == len(CHAOS) + 1 else tuple(_numbered(value) for value in range(1, classes))
    return Card(
        name="msga",
        app="medseg",
        network=network_entry(MSGA, arguments),
        channels=colour_names(channels),
        size_multiple=MSGA.size_multiple,
        smallest_size=MSGA.smallest_size,
        tile=256,
        overlap=64,
        outputs=("background", *(label.name for label in labels)),
        activation="argmax",
        labels=labels,
        licence="none stated by the authors",
        training={"source": SOURCE},
    )


def _numbered(value: int) -> Label:
    return Label(value=value, name=f"class {value}")

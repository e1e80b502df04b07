"""The authors' PraNet weights (https://github.com/DengPingFan/PraNet, for research and education) in our module.

Their published file is a bare state dict. Its classifier of the encoder is left out, and the first convolutions of each
receptive-field block, which all read the same map, become one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from ....core.errors import UserError
from ....core.messages import suggestion
from ....core.weights.adapters import fill, reading_shapes, refuse_unknown, rename
from ....core.weights.card import Card, colour_names, network_entry
from ....core.weights.label import Label
from .pranet import PraNet

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SIDE = 352  # pixels, of the squares on which it was trained

ENCODERS = {"res2net50_v1b_26w_4s": "res2net50d", "res2net101_v1b_26w_4s": "res2net101d", "resnet50": "resnet50"}
"""The authors' names of encoders and timm's."""

FIELDS = {"rfb2_1": "field_fine", "rfb3_1": "field_middle", "rfb4_1": "field_deep"}
"""The authors' names of receptive-field blocks and ours."""

ENTRIES = ("conv_res", "branch0.0", "branch1.0", "branch2.0", "branch3.0")
"""The first convolutions of a receptive-field block, in the order of our common one."""

RENAMES = (
    (r"^resnet\.", "encoder."),
    *((rf"^{theirs}\.", f"{ours}.") for theirs, ours in FIELDS.items()),
    (r"^(field_\w+)\.branch1\.", r"\1.branches.0."),
    (r"^(field_\w+)\.branch2\.", r"\1.branches.1."),
    (r"^(field_\w+)\.branch3\.", r"\1.branches.2."),
    (r"^(field_\w+\.branches\.\d)\.1\.", r"\1.0."),
    (r"^(field_\w+\.branches\.\d)\.2\.", r"\1.1."),
    (r"^(field_\w+\.branches\.\d)\.3\.", r"\1.2."),
    (r"^(field_\w+)\.conv_cat\.", r"\1.fuse."),
    (r"^agg1\.conv_upsample1\.", "decoder.deep_on_middle."),
    (r"^agg1\.conv_upsample2\.", "decoder.deep_on_fine."),
    (r"^agg1\.conv_upsample3\.", "decoder.middle_on_fine."),
    (r"^agg1\.conv_upsample4\.", "decoder.deep_beside_middle."),
    (r"^agg1\.conv_upsample5\.", "decoder.middle_beside_fine."),
    (r"^agg1\.conv_concat2\.", "decoder.fuse_middle."),
    (r"^agg1\.conv_concat3\.", "decoder.fuse_fine."),
    (r"^agg1\.conv4\.", "decoder.refine."),
    (r"^agg1\.conv5\.", "decoder.head."),
    (r"^ra4_conv5\.", "reverse_deep.last."),
    (r"^ra3_conv4\.", "reverse_middle.last."),
    (r"^ra2_conv4\.", "reverse_fine.last."),
    (r"^ra4_", "reverse_deep."),
    (r"^ra3_", "reverse_middle."),
    (r"^ra2_", "reverse_fine."),
    (r"^(reverse_\w+)\.conv1\.conv\.", r"\1.reduce."),
    (r"^(reverse_\w+)\.conv1\.bn\.", r"\1.norm."),
    (r"^(reverse_\w+)\.conv2\.", r"\1.inner.0."),
    (r"^(reverse_\w+)\.conv3\.", r"\1.inner.2."),
    (r"^(reverse_\w+)\.conv4\.", r"\1.inner.4."),
    (r"^((?:field|decoder|reverse)\w*\..*)\.bn\.", r"\1.norm."),
)


def recognises(names: Iterable[str]) -> bool:
    """Tell whether these parameter names are those of the authors' PraNet."""
    return {"resnet.layer1.0.conv1.weight", "rfb2_1.conv_res.conv.weight", "ra4_conv5.conv.weight"} <= set(names)


def from_reference(state: Mapping[str, Tensor], config: Mapping[str, Any] | None = None) -> PraNet:
    """Build the module that the authors' weights belong to, in their dtype, with its `.card`.

    Args:
        state: tensors by the authors' names.
        config: the authors' `channel` and `backbone`; what it does not say is read from the names and shapes.

    Raises:
        UserError: an unknown option or encoder, or weights that do not fit.
    """
    arguments = _inferred(state) | _given(config or {})
    net = PraNet(**arguments)
    net.to(state["agg1.conv5.weight"].dtype)
    ours = rename(_with_common_entries(state), RENAMES)
    fill(net, {name: value for name, value in ours.items() if not name.startswith("encoder.fc.")})
    net.card = _card(arguments)
    return net.eval()


def _inferred(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Read our module's arguments from names and shapes."""
    with reading_shapes("PraNet"):
        num_classes, width = state["agg1.conv5.weight"].shape[:2]
        stem = "resnet.conv1.0.weight" if "resnet.conv1.0.weight" in state else "resnet.conv1.weight"
        in_channels = state[stem].shape[1]
    res2net = "resnet.layer1.0.convs.0.weight" in state
    deeper = "resnet.layer3.22.conv1.weight" in state
    encoder = ("res2net101d" if deeper else "res2net50d") if res2net else ("resnet101" if deeper else "resnet50")
    return {"num_classes": num_classes, "in_channels": in_channels, "dim": width // 3, "encoder": encoder}


def _given(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return our module's arguments for the authors' options."""
    refuse_unknown("PraNet", config, ("channel", "backbone"))
    arguments = {"dim": config["channel"]} if "channel" in config else {}
    if "backbone" in config:
        if config["backbone"] not in ENCODERS:
            known = suggestion(str(config["backbone"]), ENCODERS)
            raise UserError(f"PraNet with backbone {config['backbone']!r} is not built{known}")
        arguments["encoder"] = ENCODERS[config["backbone"]]
    return arguments


def _with_common_entries(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the state with the first convolutions and norms of each receptive-field block concatenated into one."""
    rest = dict(state)
    for field in FIELDS:
        leaves = [name.removeprefix(f"{field}.conv_res.") for name in state if name.startswith(f"{field}.conv_res.")]
        for leaf in leaves:
            parts = [rest.pop(f"{field}.{entry}.{leaf}", None) for entry in ENTRIES]
            if any(part is None for part in parts):
                raise UserError(f"the weights do not fit PraNet: missing one of {field}.*.{leaf}.")
            rest[f"{field}.entry.{leaf}"] = torch.cat(parts) if parts[0].ndim else parts[0]
    return rest


def _card(arguments: dict[str, Any]) -> Card:
    binary = arguments["num_classes"] == 1
    channels = arguments["in_channels"]
    return Card(
        name="pranet" if arguments["encoder"] == "res2net50d" else f"pranet-{arguments['encoder']}",
        app="polyp",
        network=network_entry(PraNet, arguments),
        channels=colour_names(channels),
        mean=IMAGENET_MEAN if channels == 3 else (),
        std=IMAGENET_STD if channels == 3 else (),
        frame=(SIDE, SIDE),
        size_multiple=PraNet.size_multiple,
        tile=SIDE,
        overlap=0,
        outputs=("polyp",) if binary else tuple(f"class {i}" for i in range(arguments["num_classes"])),
        activation="threshold" if binary else "argmax",
        labels=(Label(value=1, name="polyp"),) if binary else (),
        licence="research and education only; commercial use needs the authors' permission",
        training={"source": "https://github.com/DengPingFan/PraNet"},
    )

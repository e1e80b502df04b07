"""Weights of the authors' MPU-Net (https://github.com/Stefan-Yu404/MP-UNet, no licence stated) in our module.

Three of their modules never run and so were never trained: `decoder5`, `up1` and `map5` are left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

from ....core.errors import UserError
from ....core.weights.adapters import fill, reading_shapes, refuse_unknown, rename
from ....core.weights.card import Card, network_entry
from ....core.weights.label import Label
from .mpunet import MPUNet

SOURCE = "https://github.com/Stefan-Yu404/MP-UNet"
UNUSED = ("decoder5.", "up1.", "map5.")
CLASSES = ("liver", "tumour")
WINDOW = 200.0  # Hounsfield units to either side of 0, which become -1..1
TILE = (48, 256, 256)  # slices and the whole plane, of 1 mm and of half the scanner's resolution

GATE = [(r"\.Wx\.", ".of_map."), (r"\.Wg\.", ".of_gate."), (r"\.psi\.", ".score.")]
ATTENTION = [(r"\.attn\.3\.(query|key|value)_conv\.", r".attn.3.\1."), (r"\.attn\.", ".")]


def recognises(names: Iterable[str]) -> bool:
    """Tell whether these parameter names are those of the authors' MPU-Net."""
    return {"PCL.attn.3.gamma", "encoder1.encoder_stage.0.weight", "Att1.psi.0.weight"} <= set(names)


def from_reference(state: Mapping[str, Tensor], config: Mapping[str, Any] | None = None) -> MPUNet:
    """Build the module that the authors' weights belong to, in their dtype, with its `.card`.

    Args:
        state: tensors by the authors' names.
        config: the authors' options, `in_channels` and `out_channels`; the shapes tell them too.

    Raises:
        UserError: an unknown option, one that contradicts the weights, or weights that do not fit.
    """
    arguments = _arguments(state)
    _check(config or {}, arguments)
    net = MPUNet(**arguments).to(state["map1.map_conv.0.weight"].dtype)
    fill(net, rename({name: value for name, value in state.items() if not name.startswith(UNUSED)}, _rules()))
    net.card = _card(net, arguments)
    return net.eval()


def _arguments(state: Mapping[str, Tensor]) -> dict[str, int]:
    """Read our module's arguments from the shapes."""
    with reading_shapes("MPU-Net"):
        dim, in_channels = state["encoder1.encoder_stage.0.weight"].shape[:2]
        return {"num_classes": len(state["map1.map_conv.0.weight"]), "in_channels": in_channels, "dim": dim}


def _check(config: Mapping[str, Any], arguments: Mapping[str, int]) -> None:
    of_shapes = {"in_channels": arguments["in_channels"], "out_channels": arguments["num_classes"]}
    refuse_unknown("MPU-Net", config, of_shapes)
    for name, value in config.items():
        if value != of_shapes[name]:
            raise UserError(f"{name} is {value}, but the weights are for {of_shapes[name]}; leave the option out.")


def _rules() -> list[tuple[str, str]]:
    """Return (pattern, replacement) from the authors' names to ours."""
    rules = [
        (r"^encoder1\.encoder_stage\.", "first."),
        (r"^down5\.down_conv\.", "bottom.0."),
        (r"^PCL\.", "bottom.1."),
        *ATTENTION,
        (r"^decoder1\.decoder_stage\.", "deepest.convolutions."),
        (r"^Att4\.", "deepest.gate."),
    ]
    for i in range(4):  # they count from the finest scale on the way down, from the deepest on the way up
        rules += [
            (rf"^down{i + 1}\.down_conv\.", f"downsampling.{i}."),
            (rf"^encoder{i + 2}\.encoder_stage\.", f"encoder.{i}.convolutions."),
            (rf"^map{i + 1}\.map_conv\.0\.", f"sides.{i}.classify."),
        ]
    for i in range(3):
        rules += [
            (rf"^up{i + 2}\.up_conv\.", f"upsampling.{i}."),
            (rf"^decoder{i + 2}\.decoder_stage\.", f"decoder.{i}.convolutions."),
            (rf"^Att{3 - i}\.", f"decoder.{i}.gate."),
        ]
    return rules + GATE


def _card(net: MPUNet, arguments: dict[str, int]) -> Card:
    classes, channels = net.num_classes, net.in_channels
    names = CLASSES[: classes - 1] if classes <= 3 else tuple(f"class {i}" for i in range(1, classes))
    return Card(
        name="mpunet",
        app="volseg",
        network=network_entry(MPUNet, arguments),
        dimensions=3,
        channels=("grey",) if channels == 1 else tuple(f"channel {i}" for i in range(1, channels + 1)),
        value_range=(-1.0, 1.0),
        size_multiple=net.size_multiple,
        tile=TILE,
        overlap=tuple(side // 2 for side in TILE),
        intensity={"window": [-WINDOW, WINDOW]},
        outputs=("background", *names),
        activation="argmax",
        probabilities=net.gives_probabilities,
        labels=tuple(Label(value=value, name=name) for value, name in enumerate(names, start=1)),
        licence="none stated by the authors",
        training={"source": SOURCE},
    )

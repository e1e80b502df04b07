"""The authors' MPGNet weights (https://github.com/SummerParadise-0922/MPGNet) in our modules.

None are published; files of their training hold `state_dict`, of the generator or of the discriminator.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

from ....core.errors import UserError
from ....core.messages import suggestion
from ....core.weights.adapters import fill, refuse_unknown, rename
from ....core.weights.card import Card, network_entry
from ..discriminator import PixelDiscriminator
from .mpgnet import MPGNet

GENERATOR, DISCRIMINATOR = "light_rate.feat_ext.0.weight", "conv1.weight_orig"
DISPLAYS = {"MPGNet_P": "poled", "MPGNet_T": "toled"}
SIDE = 256  # pixels, of a tile

RENAMES = (
    (r"^light_rate\.feat_ext\.", "attenuation.features."),
    (r"^light_rate\.to_light_rate\.2\.", "attenuation.gain.0."),
    (r"^light_rate\.to_light_rate\.4\.", "attenuation.gain.2."),
    (r"^psf\.model\.(\d+)\.conv_block\.1\.", r"psf.model.\1.conv."),
    (r"^psf\.model\.(\d+)\.conv_block\.2\.", r"psf.model.\1.norm."),
    (r"^add_noise\.ext_head\.", "noise.features."),
    (r"^add_noise\.ext_merge\.", "noise.merge."),
    *((rf"^add_noise\.ext\.{i}\.", f"noise.merge.{i + 2}.") for i in range(5)),
    (r"^add_noise\.T_tail\.", "noise.colour."),
    (r"^add_noise\.q_ext\.", "noise.levels."),
    (r"^add_noise\.q_tail\.", "noise.rounding_colour."),
    *(
        rule
        for theirs, ours in (("dep", "dependent"), ("indep", "independent"), ("quantization", "rounding"))
        for rule in (
            (rf"^add_noise\.{theirs}_merge\.", f"noise.{ours}.entry."),
            (rf"^add_noise\.pipe_{theirs}_1\.", f"noise.{ours}.pixel."),
            (rf"^add_noise\.pipe_{theirs}_3\.", f"noise.{ours}.grain."),
        )
    ),
)

BLUR = {
    **dict(zip((1, 2, 4, 5, 7, 8), (0, 1, 3, 4, 6, 7), strict=True)),
    **{i: i - 1 for i in range(10, 19)},
    **dict(zip((19, 20, 22, 23, 26), (18, 19, 21, 22, 24), strict=True)),
}
"""Positions of the blur's layers with parameters: the authors' count paddings as layers of their own."""

VERDICT = (
    (r"^conv0\.", "entry."),
    *((rf"^conv{i + 1}\.", f"down.{i}.") for i in range(3)),
    *((rf"^conv{i + 4}\.", f"up.{i}.") for i in range(3)),
    *((rf"^conv{i + 7}\.", f"last.{i}.") for i in range(2)),
    (r"^conv9\.", "head."),
)


def recognises(names: Iterable[str]) -> bool:
    """Tell whether these parameter names are those of the authors' generator."""
    return {GENERATOR, "psf.model.26.weight", "add_noise.q_tail.weight"} <= set(names)


def from_reference(state: Mapping[str, Tensor], config: Mapping[str, Any] | None = None) -> MPGNet | PixelDiscriminator:
    """Build the module that the authors' weights belong to, in their dtype; a generator has a `.card`.

    Args:
        state: tensors by the authors' names, of a generator or of a discriminator.
        config: {"class": "MPGNet_P" or "MPGNet_T"} of a generator, as weights of both look alike and P-OLED is
            taken otherwise; {"num_in_ch", "num_feat", "skip_connection"} of a discriminator.

    Raises:
        UserError: an option that is unknown or contradicts the weights, or weights that do not fit.
    """
    config = config or {}
    if GENERATOR in state:
        refuse_unknown("MPGNet", config, ("class",))
        return _generator(state, str(config.get("class", "MPGNet_P")))
    if DISCRIMINATOR in state:
        refuse_unknown("MPGNet", config, ("num_in_ch", "num_feat", "skip_connection"))
        return _discriminator(state)
    raise UserError(f"these are no weights of MPGNet: neither {GENERATOR} nor {DISCRIMINATOR} is there.")


def _generator(state: Mapping[str, Tensor], name: str) -> MPGNet:
    if name not in DISPLAYS:
        raise UserError(f"unknown MPGNet class {name!r}{suggestion(name, DISPLAYS)}")
    net = MPGNet(DISPLAYS[name]).to(state[GENERATOR].dtype)
    places = [(rf"^psf\.model\.{theirs}\.", f"blur.layers.{ours}.") for theirs, ours in BLUR.items()]
    fill(net, rename(state, (*RENAMES, *places)))
    net.card = _card(net)
    return net.eval()


def _discriminator(state: Mapping[str, Tensor]) -> PixelDiscriminator:
    dim, in_channels = state["conv0.weight"].shape[:2]
    net = PixelDiscriminator(in_channels, dim).to(state["conv0.weight"].dtype)
    fill(net, rename(state, VERDICT))
    return net.eval()


def _card(net: MPGNet) -> Card:
    return Card(
        name=f"mpgnet-{net.display}",
        app="udc",
        network=network_entry(MPGNet, {"display": net.display}),
        size_multiple=MPGNet.size_multiple,
        smallest_size=MPGNet.smallest_size,
        tile=SIDE,
        overlap=SIDE // 4,
        training={"source": "https://github.com/SummerParadise-0922/MPGNet"},
    )

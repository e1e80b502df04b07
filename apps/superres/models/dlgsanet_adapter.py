"""The authors' DLGSANet weights (https://github.com/NeonLeexiang/DLGSANet, Apache-2.0) in our module.

Their files hold `params` and `params_ema`; their names follow BasicSR and SwinIR. Groups, blocks and layers keep their
order, so that only names change.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

from ....core.errors import UserError
from ....core.weights.adapters import fill, reading_shapes, refuse_unknown, rename
from ....core.weights.card import Card, colour_names, network_entry
from .dlgsanet import TLC_WINDOW, DLGSANet

_BLOCK = r"^(groups\.\d+\.blocks\.\d+)"
RENAMES = (
    (r"^overlap_embed\.0\.proj\.", "shallow."),
    (r"^upsample\.0\.", "upsample."),
    (r"^deep_feature_extraction\.\d+\.(weight|bias)$", r"fuse.\1"),
    (r"^deep_feature_extraction\.(\d+)\.body\.\d+\.(weight|bias)$", r"groups.\1.conv.\2"),
    (r"^deep_feature_extraction\.(\d+)\.body\.", r"groups.\1.blocks."),
    (_BLOCK + r"\.norm[13]\.body\.", r"\1.norm1."),
    (_BLOCK + r"\.norm[24]\.body\.", r"\1.norm2."),
    (_BLOCK + r"\.IDynamicDWConv\.conv0\.", r"\1.mixer.project_in."),
    (_BLOCK + r"\.IDynamicDWConv\.conv1\.", r"\1.mixer.project_out."),
    (_BLOCK + r"\.IDynamicDWConv\.conv\.conv1\.0\.", r"\1.mixer.reduce."),
    (_BLOCK + r"\.IDynamicDWConv\.conv\.conv1\.1\.", r"\1.mixer.depthwise."),
    (_BLOCK + r"\.IDynamicDWConv\.conv\.conv2\.0\.", r"\1.mixer.expand."),
    (_BLOCK + r"\.restormer_attn\.qkv_dwconv\.", r"\1.mixer.depthwise."),
    (_BLOCK + r"\.restormer_attn\.", r"\1.mixer."),
    (_BLOCK + r"\.(?:IDynamic|restormer)_ffn\.dwconv\.", r"\1.feed_forward.depthwise."),
    (_BLOCK + r"\.(?:IDynamic|restormer)_ffn\.", r"\1.feed_forward."),
)

ARGUMENTS = {
    "upscale": "scale",
    "dim": "dim",
    "groups": "groups",
    "blocks": "pairs",
    "restormer_num_heads": "heads",
    "idynamic_num_heads": "channels_per_kernel",  # named a head count, but used as the channels of one kernel
    "window_size": "kernel",
    "in_chans": "in_channels",
    "tlc_flag": "tlc",
    "tlc_kernel": "tlc_window",
}
"""The authors' options and what our module calls them."""

FIXED = {
    "buildblock_type": "sparseedge",
    "idynamic": True,
    "idynamic_ffn_type": "GDFN",
    "idynamic_ffn_expansion_factor": 2.0,
    "restormer_ffn_type": "GDFN",
    "restormer_ffn_expansion_factor": 2.0,
    "activation": "relu",
    "body_norm": False,
    "upsampler": "pixelshuffledirect",
}
"""Options with which the authors compared designs, and the one value that all published weights have."""

IGNORED = ("type", "img_range", "input_resolution")  # img_range is folded into the weights, see `_unit_range`

VARIANTS = {(48, 3, 3): "tiny", (48, 4, 3): "light", (90, 6, 4): "full"}  # by dim, groups, pairs


def recognises(names: Iterable[str]) -> bool:
    """Tell whether these parameter names are those of the authors' DLGSANet."""
    wanted = {"overlap_embed.0.proj.weight", "deep_feature_extraction.0.body.0.IDynamicDWConv.conv0.weight"}
    return wanted <= set(names)


def from_reference(state: Mapping[str, Tensor], config: Mapping[str, Any] | None = None) -> DLGSANet:
    """Build the module that the authors' weights belong to, in their dtype, with its `.card`.

    Args:
        state: tensors by the authors' names.
        config: the authors' `network_g` options; what it does not say is read from the shapes.

    Raises:
        UserError: an option that was only used to compare designs, an unknown option, or weights that do not fit.
    """
    config = config or {}
    _refuse_other_designs(config)
    arguments = _inferred(state) | {ARGUMENTS[name]: value for name, value in config.items() if name in ARGUMENTS}
    try:
        net = DLGSANet(**arguments)
    except (ValueError, TypeError) as error:
        raise UserError(f"these are no weights of DLGSANet: {error}.") from None
    net.to(state["overlap_embed.0.proj.weight"].dtype)
    fill(net, rename(_unit_range(state, float(config.get("img_range", 1.0))), RENAMES))
    net.card = _card(arguments)
    return net.eval()


def _refuse_other_designs(config: Mapping[str, Any]) -> None:
    for name, value in config.items():
        if name in FIXED and value != FIXED[name]:
            raise UserError(f"DLGSANet with {name}={value!r} is not built, only the published {FIXED[name]!r}.")
    refuse_unknown("DLGSANet", config, (*ARGUMENTS, *FIXED, *IGNORED))


def _inferred(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Read our module's arguments from the shapes."""
    first = "deep_feature_extraction.0.body"
    with reading_shapes("DLGSANet"):
        dim, in_channels = state["overlap_embed.0.proj.weight"].shape[:2]
        kernel = state[f"{first}.0.IDynamicDWConv.conv.conv1.1.weight"].shape[-1]
        kernels = state[f"{first}.0.IDynamicDWConv.conv.conv2.0.weight"].shape[0] // kernel**2
        heads = state[f"{first}.1.restormer_attn.temperature"].shape[0]
        scale = math.isqrt(state["upsample.0.weight"].shape[0] // in_channels)
    return {
        "scale": scale,
        "dim": dim,
        "groups": _count(r"deep_feature_extraction\.(\d+)\.body\.", state),
        "pairs": _count(r"deep_feature_extraction\.0\.body\.(\d+)\.restormer_attn\.", state),
        "heads": heads,
        "channels_per_kernel": dim // max(kernels, 1),
        "kernel": kernel,
        "in_channels": in_channels,
        "tlc": True,
        "tlc_window": TLC_WINDOW.get(scale, 48),
    }


def _count(pattern: str, names: Iterable[str]) -> int:
    return len({match[1] for name in names if (match := re.match(pattern, name))})


def _unit_range(state: Mapping[str, Tensor], img_range: float) -> dict[str, Tensor]:
    """Fold the authors' image range (input times r, output divided by r) into the first and the last convolution."""
    factors = {
        "overlap_embed.0.proj.weight": img_range,
        "upsample.0.weight": 1 / img_range,
        "upsample.0.bias": 1 / img_range,
    }
    return {name: value * factors[name] if name in factors else value for name, value in state.items()}


def _card(arguments: dict[str, Any]) -> Card:
    variant = VARIANTS.get((arguments["dim"], arguments["groups"], arguments["pairs"]))
    scale, channels = arguments["scale"], arguments["in_channels"]
    return Card(
        name="-".join(["dlgsanet", *([variant] if variant else []), f"x{scale}"]),
        app="superres",
        network=network_entry(DLGSANet, arguments),
        channels=colour_names(channels),
        scale=scale,
        tile=192,
        overlap=16,
        licence="Apache-2.0",
        training={"source": "https://github.com/NeonLeexiang/DLGSANet"},
    )

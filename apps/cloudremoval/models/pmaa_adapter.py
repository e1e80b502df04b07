"""The authors' PMAA weights (https://github.com/XavierJiezou/PMAA, MIT) in our modules.

Their files are plain state dicts: of the generator, of the cloud teacher, or of the discriminator. A generator's holds
a fusion of the coarsest scale that has no effect and is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor, nn

from ....core.errors import UserError
from ....core.weights.adapters import fill, refuse_unknown, rename
from ....core.weights.card import Card, network_entry
from ....data.datasets.scene_series import CHANNELS
from ..discriminator import PatchDiscriminator
from .cloud_teacher import CloudTeacher
from .pmaa import PMAA

SOURCE = "https://github.com/XavierJiezou/PMAA"
SIDE = 256  # pixels, of the images on which it was trained
MIDDLE = 0.5  # subtracted from bands of 0..1, which then are divided by it

GENERATOR, TEACHER, DISCRIMINATOR = "output_layer.0.weight", "conv_in.0.weight", "discriminator.0.weight"
"""A name that only this kind of file has."""

UNUSED = ".loc_glo_fus.4."

EXTRACTOR = (
    (r"^conv_in\.", "stem."),
    (r"^cloud_detection\.cloud_det\.", "mask."),
    *((rf"^bottle{i + 1}\.bottleneck\.", f"bottlenecks.{i}.") for i in range(6)),
    (r"^ASPP\.convs\.4\.1\.", "pyramid.whole.0."),  # theirs counts the pooling
    (r"^ASPP\.convs\.4\.2\.", "pyramid.whole.1."),
    (r"^ASPP\.convs\.", "pyramid.branches."),
    (r"^ASPP\.project\.", "pyramid.project."),
    (r"^aux_conv\.", "auxiliary."),
)

BLOCKS = (
    (r"^concat_unet\.", "blocks.0."),
    (r"^other_unet\.0\.", "blocks.1."),
    (r"^other_unet\.1\.", "blocks.2."),
    (r"\.proj_1x1\.", ".project."),
    (r"\.spp_dw\.", ".scales."),
    (r"\.conv_dw\.", ".spatial."),
    (r"\.conv_pw\.", ".pointwise."),
    (r"\.loc_glo_fus\.", ".fusions."),
    (r"\.last_layer\.", ".decoders."),
    (r"\.local_embedding\.0\.", ".local."),
    (r"\.global_embedding\.0\.", ".embed."),
    (r"\.global_act\.0\.", ".gate."),
    (r"\.globalatt\.layer_scale_1$", ".mixer.attention_scale"),
    (r"\.globalatt\.layer_scale_2$", ".mixer.feed_forward_scale"),
    (r"\.globalatt\.attn\.a\.0\.", ".mixer.attention.query."),
    (r"\.globalatt\.attn\.a\.2\.", ".mixer.attention.surroundings."),
    (r"\.globalatt\.attn\.v\.", ".mixer.attention.value."),
    (r"\.globalatt\.attn\.", ".mixer.attention."),
    (r"\.globalatt\.mlp\.fc1\.", ".mixer.feed_forward.expand."),
    (r"\.globalatt\.mlp\.pos\.", ".mixer.feed_forward.position."),
    (r"\.globalatt\.mlp\.fc2\.", ".mixer.feed_forward.reduce."),
    (r"\.globalatt\.mlp\.", ".mixer.feed_forward."),
    (r"\.res_conv\.", ".out."),
    (r"^output_layer\.0\.", "head."),
)


def recognises(names: Iterable[str]) -> bool:
    """Tell whether these parameter names are those of the authors' generator or cloud teacher."""
    names = set(names)
    generator = {GENERATOR, "concat_unet.proj_1x1.conv_dw.weight", "feature_extractor.ASPP.project.0.weight"}
    teacher = {TEACHER, "cloud_detection.cloud_det.6.weight", "ASPP.project.0.weight"}
    return generator <= names or teacher <= names


def from_reference(
    state: Mapping[str, Tensor], config: Mapping[str, Any] | None = None
) -> PMAA | CloudTeacher | PatchDiscriminator:
    """Build the module that the authors' weights belong to, in their dtype; all but a discriminator have a `.card`.

    Args:
        state: tensors by the authors' names, of a generator, a cloud teacher or a discriminator.
        config: the authors' options of a generator (`hidden_channels`, `out_channels`, `norm`) or of a discriminator
            (`input_nc`, `ndf`, `n_layers`), which are held against the weights.

    Raises:
        UserError: an unknown option, an option that contradicts the weights, or weights that do not fit.
    """
    config = config or {}
    builders = {GENERATOR: _generator, TEACHER: _teacher, DISCRIMINATOR: _discriminator}
    for name, build in builders.items():
        if name in state:
            try:
                return build(state, config).eval()
            except UserError:
                raise
            except (KeyError, IndexError, ValueError) as error:
                raise UserError(f"the weights do not fit PMAA: {error} is missing or has another rank.") from None
    raise UserError(f"these are no weights of PMAA: they hold none of {', '.join(builders)}.")


def _generator(state: Mapping[str, Tensor], config: Mapping[str, Any]) -> PMAA:
    num_outputs, dim, kernel, _ = state[GENERATOR].shape
    if kernel != 1:
        raise UserError(
            f"these PMAA weights end in a {kernel}x{kernel} convolution, as an early version of the authors' code did; "
            "only the published form with 1x1 is built. Train anew or take weights of the later version."
        )
    _agree(config, {"hidden_channels": dim, "out_channels": num_outputs, "norm": "instance"})
    bands = state["feature_extractor.conv_in.0.weight"].shape[1]
    dates = state["concat_unet.proj_1x1.conv_dw.weight"].shape[0] // dim
    arguments = {"dates": dates, "bands": bands, "num_outputs": num_outputs, "dim": dim}
    ours = {name: value for name, value in state.items() if UNUSED not in name}
    ours = rename(ours, [(r"^feature_extractor\.", ""), *EXTRACTOR])
    extractor = {name.split(".")[0] for _, name in EXTRACTOR}
    ours = {f"features.{name}" if name.split(".")[0] in extractor else name: value for name, value in ours.items()}
    net = PMAA(**arguments).to(state[GENERATOR].dtype)
    fill(net, rename(ours, BLOCKS))
    names, is_new = _band_names(bands), num_outputs == bands  # the older set is of pictures, and colours alone come out
    net.card = _card(
        "pmaa-sen2mtc-new" if is_new else "pmaa-sen2mtc-old",
        net,
        arguments,
        channels=names,
        dates=dates,
        unit="reflectance" if is_new else "",
        mean=(MIDDLE,) * bands,
        std=(MIDDLE,) * bands,
        outputs=names[:num_outputs] if num_outputs <= bands else tuple(f"band {i + 1}" for i in range(num_outputs)),
        smallest_size=net.smallest_size,
    )
    return net


def _teacher(state: Mapping[str, Tensor], config: Mapping[str, Any]) -> CloudTeacher:
    _agree(config, {})
    dim, bands = state[TEACHER].shape[:2]
    arguments = {"bands": bands, "dim": dim}
    net = CloudTeacher(**arguments).to(state[TEACHER].dtype)
    fill(net, {f"extractor.{name}": value for name, value in rename(state, EXTRACTOR).items()})
    seen = {"channels": _band_names(bands), "value_range": (-1.0, 1.0)}
    net.card = _card("pmaa-cloud-teacher", net, arguments, outputs=("clear sky",), **seen)
    return net


def _discriminator(state: Mapping[str, Tensor], config: Mapping[str, Any]) -> PatchDiscriminator:
    numbers = sorted(int(name.split(".")[1]) for name, value in state.items() if value.ndim == 4)
    widths = [state[f"discriminator.{number}.weight"].shape[0] for number in numbers[:-1]]
    in_channels = state[DISCRIMINATOR].shape[1]
    _agree(config, {"input_nc": in_channels, "ndf": widths[0], "n_layers": len(widths) - 2})
    rules = [(r"^discriminator\.0\.", "entry.0."), (rf"^discriminator\.{numbers[-1]}\.", "head.")]
    for i, first in enumerate(numbers[1:-1]):
        rules += [(rf"^discriminator\.{first + part}\.", f"layers.{i}.{part}.") for part in (0, 1)]
    net = PatchDiscriminator(in_channels, widths).to(state[DISCRIMINATOR].dtype)
    fill(net, rename(state, rules))
    return net


def _agree(config: Mapping[str, Any], found: Mapping[str, Any]) -> None:
    """Refuse options that are unknown or contradict the weights."""
    refuse_unknown("PMAA", config, found)
    for name, value in config.items():
        if value != found[name]:
            raise UserError(f"the weights do not fit PMAA: the option {name} is {value!r}, they have {found[name]!r}.")


def _band_names(bands: int) -> tuple[str, ...]:
    return CHANNELS if bands == len(CHANNELS) else tuple(f"band {i + 1}" for i in range(bands))


def _card(name: str, net: nn.Module, arguments: dict[str, Any], **facts: Any) -> Card:
    return Card(
        name=name,
        app="cloudremoval",
        network=network_entry(type(net), arguments),
        tile=SIDE,
        overlap=SIDE // 8,
        licence="MIT",
        training={"source": SOURCE},
        **facts,
    )

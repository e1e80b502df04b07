"""Gates made by convolutions: CBAM, coordinate, efficient local, polarized, subspace, large kernel, reverse."""

import re
from collections.abc import Callable

import torch
from filled_block import filled, filled_from
from parity import Case
from torch import Tensor, nn

from foveal.core.attention.convolutional import ConvolutionalBlockAttention
from foveal.core.attention.coordinate import CoordinateAttention
from foveal.core.attention.efficient_local import EfficientLocalAttention
from foveal.core.attention.large_kernel import LargeKernelAttention
from foveal.core.attention.polarized import PolarizedAttention
from foveal.core.attention.reverse import ReverseAttention
from foveal.core.attention.subspace import SubspaceAttention


def axes(case: Case) -> int:
    """Return the number of spatial axes of a channels-first map."""
    return case.inputs[0].ndim - 2


def channels(case: Case) -> int:
    """Return the channels of a channels-first map."""
    return case.inputs[0].shape[1]


def convolutional_block(case: Case) -> nn.Module:
    """CBAM as its authors have it."""
    hidden, dim = case.shapes["ChannelGate.mlp.1.weight"]
    kernel = case.shapes["SpatialGate.spatial.conv.weight"][2]
    block = ConvolutionalBlockAttention(dim, dim // hidden, kernel, spatial_dims=axes(case))
    rules = [
        (r"^ChannelGate\.mlp\.1\.", "channels.squeeze."),
        (r"^ChannelGate\.mlp\.3\.", "channels.excite."),
        (r"^SpatialGate\.spatial\.conv\.", "positions.score.conv."),
        (r"^SpatialGate\.spatial\.bn\.", "positions.score.norm."),
    ]
    return filled(block, case, rules)


def coordinate(case: Case) -> nn.Module:
    """Coordinate attention, with or without biases."""
    hidden, dim = case.shapes["conv1.weight"][:2]
    block = CoordinateAttention(dim, hidden, bias="conv1.bias" in case.shapes)
    rules = [(r"^conv1\.", "squeeze."), (r"^bn1\.", "norm."), (r"^conv_h\.", "excite.0."), (r"^conv_w\.", "excite.1.")]
    return filled(block, case, rules)


def efficient_local(case: Case) -> nn.Module:
    """ELA with one convolution for both axes."""
    dim, width, kernel = case.shapes["conv.weight"]
    norm_groups = case.meta["config"]["num_group"]
    block = EfficientLocalAttention(dim, kernel, dim // width, norm_groups, spatial_dims=axes(case))
    return filled(block, case, [(r"^conv\.", "units.0.0."), (r"^gn\.", "units.0.1.")])


def efficient_local_timm(case: Case) -> nn.Module:
    """ELA with a convolution and norm for each axis, as timm has it."""
    dim, width, kernel, _ = case.shapes["conv_h.weight"]
    block = EfficientLocalAttention(dim, kernel, dim // width, norm_groups=1, shared=False, silu=True)
    names = {"conv_h": "0.0", "conv_w": "1.0", "norm_h": "0.1", "norm_w": "1.1"}
    return filled(block, case, [(rf"^{theirs}\.", f"units.{ours}.") for theirs, ours in names.items()])


def polarized(case: Case) -> nn.Module:
    """Polarized self-attention in both forms."""
    block = PolarizedAttention(channels(case), sequential="conv_up.0.weight" in case.shapes, spatial_dims=axes(case))
    rules = [
        (r"^conv_q_right\.", "channels.score."),
        (r"^conv_v_right\.", "channels.value."),
        (r"^conv_up\.", "channels.expand."),
        (r"^conv_q_left\.", "positions.query."),
        (r"^conv_v_left\.", "positions.value."),
    ]
    return filled(block, case, rules)


def subspace(case: Case) -> nn.Module:
    """ULSAM, whose groups we keep in one tensor each."""
    groups: dict[str, list[Tensor]] = {}
    for name, value in case.weights().items():  # subspace after subspace
        groups.setdefault(re.sub(r"^subspaces\.\d+\.", "", name), []).append(torch.from_numpy(value))
    block = SubspaceAttention(channels(case), len(groups["conv_dws.weight"]), axes(case))
    names = {"conv_dws": "scale", "bn_dws": "scale_norm", "conv_point": "score", "bn_point": "score_norm"}
    rules = [(rf"^{theirs}\.", f"{ours}.") for theirs, ours in names.items()]
    return filled_from(block, {name: torch.cat(values) for name, values in groups.items()}, rules)


def large_kernel(case: Case) -> nn.Module:
    """The attention of VAN."""
    names = {"conv0": "local", "conv_spatial": "wide", "conv1": "mix"}
    rules = [(rf"^spatial_gating_unit\.{theirs}\.", f"gate.{ours}.") for theirs, ours in names.items()]
    rules += [(r"^proj_1\.", "project_in."), (r"^proj_2\.", "project_out.")]
    return filled(LargeKernelAttention(channels(case), axes(case)), case, rules)


def reverse(case: Case) -> nn.Module:
    """A stage of PraNet's reverse attention: the first and the last convolution, and those between them."""
    kernels = {name: shape for name, shape in case.shapes.items() if name.endswith(".conv.weight")}
    count, last = len(kernels), kernels[f"ra_conv{len(kernels)}.conv.weight"]
    dim, _, kernel, _ = kernels["ra_conv2.conv.weight"]
    block = ReverseAttention(channels(case), last[0], dim, kernel, depth=count - 2, last_kernel=last[2])
    rules = [(r"^ra_conv1\.conv\.", "reduce."), (r"^ra_conv1\.bn\.", "norm."), (r"\.bn\.", ".norm.")]
    rules += [(rf"^ra_conv{number + 2}\.", f"inner.{2 * number}.") for number in range(count - 2)]
    return filled(block, case, [*rules, (rf"^ra_conv{count}\.", "last.")])


BLOCKS: dict[str, Callable[[Case], Callable[..., Tensor]]] = {
    "cbam": convolutional_block,
    "coordatt": coordinate,
    "ela_timm": efficient_local_timm,
    "ela": efficient_local,
    "psa": polarized,
    "ulsam": subspace,
    "van_attention": large_kernel,
    "reverse_attention": reverse,
}

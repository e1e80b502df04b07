"""Mixers that work on the spectrum: GFNet (and SpectFormer), the adaptive frequency filter, FFTNet."""

from collections.abc import Callable

from filled_block import filled
from parity import Case
from token_maps import channels_first, on_tokens, with_residual
from torch import Tensor, nn

from foveal.core.attention.adaptive_spectrum import AdaptiveSpectralMixer
from foveal.core.attention.frequency_filter import AdaptiveFrequencyFilter
from foveal.core.attention.global_filter import GlobalFilter


def global_filter(case: Case) -> Callable[[Tensor], Tensor]:
    """GFNet's filter."""
    height, _, dim, _ = case.shapes["complex_weight"]
    size = (height, case.inputs[0].shape[1] // height)
    return on_tokens(filled(GlobalFilter(dim, size), case, [("^complex_weight$", "weight")]), size)


def frequency_filter(case: Case) -> Callable[[Tensor], Tensor]:
    """The adaptive frequency filter, which returns its input, too."""
    _, blocks, width, _ = case.shapes["w1"]
    block = AdaptiveFrequencyFilter(blocks * width, blocks, case.meta["config"].get("sparsity_threshold", 0.01))
    return with_residual(channels_first(filled(block, case, [(r"^w(\d)$", r"weight\1"), (r"^b(\d)$", r"bias\1")])))


def adaptive_spectrum(case: Case) -> Callable[[Tensor], Tensor]:
    """FFTNet's mixer, with the norm before it and its input beside it."""
    dim, heads = case.shapes["pre_norm.weight"][0], case.shapes["base_filter"][0]
    mixer = AdaptiveSpectralMixer(dim, heads, case.inputs[0].shape[1], "adaptive_mlp.0.weight" in case.shapes)
    rules = [
        ("^base_filter$", "1.gain"),
        ("^base_bias$", "1.bias"),
        (r"^adaptive_mlp\.", "1.change."),
        (r"^pre_norm\.", "0."),
    ]
    return with_residual(filled(nn.Sequential(nn.LayerNorm(dim), mixer), case, rules))


BLOCKS: dict[str, Callable[[Case], Callable[..., Tensor]]] = {
    "aff": frequency_filter,
    "fftnet": adaptive_spectrum,
    "gfnet": global_filter,
    "spectformer": global_filter,
}

"""Resampling of images by the published rules. Arrays are (..., H, W) tensors."""

import math
from fractions import Fraction

import torch
import torch.nn.functional as F
from torch import Tensor

from ...kernels.backend import is_exporting


def bicubic_resize(image: Tensor, scale: float | Fraction, antialias: bool = True) -> Tensor:
    """Resize by cubic convolution as MATLAB's `imresize` does; super-resolution benchmarks are made with it.

    Rows first, then columns; no clamp and no rounding. Beyond the border the image is mirrored with the edge pixel
    repeated. PyTorch's own bicubic interpolation differs at borders, and everywhere without antialiasing.

    Args:
        image: (..., H, W), in any units; integers and half precision are computed in float32.
        scale: output pixels per input pixel along both axes. A float stands for the nearest fraction with a
            denominator up to a million, so that 1/3 of 48 pixels is 16 and never 17.
        antialias: widen the kernel when shrinking, which every benchmark does.

    Returns:
        (..., ceil(scale * H), ceil(scale * W)), of the image's dtype if it is float32 or float64, else float32.

    Raises:
        ValueError: the scale is not positive, or the image has no pixels.

    Source: Keys 1981 (a = -1/2); index rule of MATLAB `imresize`, as in BasicSR's `matlab_functions`.
    """
    ratio = Fraction(scale).limit_denominator(1_000_000)
    if ratio <= 0:
        raise ValueError(f"the scale must be positive, not {scale}")
    if image.ndim < 2 or image.numel() == 0:
        raise ValueError(f"an image of shape (..., H, W) is needed, not {tuple(image.shape)}")
    pixels = image if image.dtype == torch.float64 else image.float()
    rows_done = _resize_axis(pixels, -2, ratio, antialias)
    return _resize_axis(rows_done, -1, ratio, antialias)


def _resize_axis(image: Tensor, axis: int, ratio: Fraction, antialias: bool) -> Tensor:
    """Resize one axis."""
    return weighted_lines(image, axis, *cubic_taps(image.shape[axis], ratio, antialias))


def weighted_lines(image: Tensor, axis: int, index: Tensor, weights: Tensor) -> Tensor:
    """Make every output line along an axis the weighted sum of a few input lines.

    Args:
        image: of any shape, float32 or float64.
        axis: along which lines are numbered.
        index: which input lines make each output line, int64 (lines, taps).
        weights: of these, (lines, taps).
    """
    lines = image.movedim(axis, 0)
    # embedding_bag gathers, weights and sums in one pass, without a copy of the image per tap.
    summed = F.embedding_bag(
        index.to(image.device),
        lines.reshape(lines.shape[0], -1),
        per_sample_weights=weights.to(image),
        mode="sum",
    )
    return summed.view(-1, *lines.shape[1:]).movedim(0, axis).contiguous()


def cubic_taps(length: int, ratio: Fraction, antialias: bool = True) -> tuple[Tensor, Tensor]:
    """Return which input samples make each output sample, and their weights.

    Args:
        length: input samples.
        ratio: output samples per input sample.
        antialias: widen the kernel by 1 / ratio when shrinking.

    Returns:
        Indices in 0..length-1 and weights that sum to 1, both (output length, taps), int64 and float64.
    """
    p, q = ratio.numerator, ratio.denominator
    shrink = antialias and p < q
    support = Fraction(4 * q, p) if shrink else Fraction(4)
    # Positions are whole numbers in units of 1/(2p) samples, so nothing depends on rounding.
    # Output sample j (from 1) sits at j/s + (1 - 1/s)/2; the kernel reaches support/2 to either side.
    position = 2 * q * torch.arange(1, math.ceil(length * ratio) + 1) + p - q
    first = (position - int(support * p)).div(2 * p, rounding_mode="floor")
    index = first[:, None] + torch.arange(math.ceil(support) + 2)
    distance = (position[:, None] - 2 * p * index).double() / (2 * q if shrink else 2 * p)
    weights = cubic_kernel(distance)
    used = weights.any(dim=0)
    index, weights = index[:, used], weights[:, used]
    mirrored = (index - 1).remainder(2 * length)
    return torch.minimum(mirrored, 2 * length - 1 - mirrored), weights / weights.sum(dim=1, keepdim=True)


def cubic_kernel(distance: Tensor) -> Tensor:
    """Return Keys' cubic convolution kernel with a = -1/2 at `distance` in samples; zero beyond 2."""
    t = distance.abs()
    near = 1.5 * t**3 - 2.5 * t**2 + 1
    far = -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2
    return torch.where(t <= 1, near, torch.where(t <= 2, far, torch.zeros_like(t)))


def linear_resize(x: Tensor, sizes: list[int]) -> Tensor:
    """Resize linearly along 1, 2 or 3 axes, half-pixel centres, edges repeated, without antialiasing.

    Args:
        x: (N, C, *spatial).
        sizes: of the result's spatial axes.

    Returns:
        (N, C, *sizes); `x` itself where it has these sizes.
    """
    if torch.jit.is_scripting():  # noqa: SIM108 - TorchScript leaves out the branch of a statement alone
        same = _has_sizes(x, sizes)
    else:
        # An exported program shall not hold on to the size of its example; what is resized to its own size stays.
        same = not is_exporting() and _has_sizes(x, sizes)
    if same:
        return x
    mode = ["linear", "bilinear", "trilinear"][len(sizes) - 1]
    return F.interpolate(x, size=sizes, mode=mode, align_corners=False)


def _has_sizes(x: Tensor, sizes: list[int]) -> bool:
    return list(x.shape[2:]) == list(sizes)

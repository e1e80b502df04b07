"""Bicubic resizing against the rule written out sample by sample."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch

from foveal.core.blocks.resampling import bicubic_resize, cubic_taps, linear_resize


def kernel(t: float) -> float:
    """Keys' kernel, scalar."""
    t = abs(t)
    if t <= 1:
        return 1.5 * t**3 - 2.5 * t**2 + 1
    return -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2 if t <= 2 else 0.0


def resize_line(line: np.ndarray, scale: Fraction, antialias: bool) -> np.ndarray:
    """Resize (L, K) along its first axis by the specification's words, with 1-based sample numbers."""
    length = len(line)
    widen = min(scale, Fraction(1)) if antialias else Fraction(1)
    out = []
    for j in range(1, math.ceil(length * scale) + 1):
        u = Fraction(j) / scale + Fraction(1, 2) * (1 - 1 / scale)
        taps = range(math.floor(u - 2 / widen), math.floor(u - 2 / widen) + math.ceil(4 / widen) + 2)
        weights = np.array([float(widen) * kernel(float(widen * (u - tap))) for tap in taps])
        mirrored = [*range(1, length + 1), *range(length, 0, -1)]
        samples = np.array([line[mirrored[(tap - 1) % (2 * length)] - 1] for tap in taps])
        out.append((weights / weights.sum()) @ samples)
    return np.array(out)


@pytest.mark.parametrize("scale", [Fraction(1, 2), Fraction(1, 3), Fraction(2, 3), Fraction(5, 2), Fraction(3)])
@pytest.mark.parametrize("antialias", [True, False])
def test_equals_the_rule_written_out(scale: Fraction, antialias: bool) -> None:
    image = np.random.default_rng(0).random((7, 10))
    rows = resize_line(image, scale, antialias)
    expected = resize_line(rows.T, scale, antialias).T
    found = bicubic_resize(torch.from_numpy(image), scale, antialias)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-13)


def test_a_float_scale_gives_no_extra_pixel() -> None:
    for length in range(1, 200):
        indices, _ = cubic_taps(3 * length, Fraction(1 / 3).limit_denominator(1_000_000))
        assert len(indices) == length
    assert bicubic_resize(torch.rand(3, 48, 30), 0.1).shape == (3, 5, 3)
    assert bicubic_resize(torch.rand(2, 3, 7, 9), 1.5).shape == (2, 3, 11, 14)


def test_weights_sum_to_one_and_constants_stay() -> None:
    _, weights = cubic_taps(11, Fraction(2, 7))
    assert torch.allclose(weights.sum(dim=1), torch.ones(4, dtype=torch.float64))
    assert torch.allclose(bicubic_resize(torch.full((1, 5, 6), 0.3), 0.5), torch.tensor(0.3))


def test_one_pixel_can_grow_and_shrink() -> None:
    pixel = torch.full((3, 1, 1), 0.25)
    assert torch.allclose(bicubic_resize(pixel, 4), torch.full((3, 4, 4), 0.25))
    assert torch.allclose(bicubic_resize(pixel, 0.25), pixel)


def test_scale_one_returns_the_image() -> None:
    image = torch.rand(2, 4, 5, dtype=torch.float64)
    assert torch.equal(bicubic_resize(image, 1), image)


def test_dtypes() -> None:
    image = torch.rand(1, 8, 8, dtype=torch.float64)
    assert bicubic_resize(image, 0.5).dtype == torch.float64
    assert bicubic_resize(image.half(), 0.5).dtype == torch.float32
    levels = (image * 255).to(torch.uint8)
    assert torch.equal(bicubic_resize(levels, 0.5), bicubic_resize(levels.float(), 0.5))
    assert torch.allclose(bicubic_resize(image.float(), 0.5).double(), bicubic_resize(image, 0.5), atol=1e-6)


def test_a_view_of_strange_layout_gives_the_same() -> None:
    image = torch.rand(9, 7, 3, dtype=torch.float64).permute(2, 0, 1)
    assert torch.equal(bicubic_resize(image, 2), bicubic_resize(image.contiguous(), 2))


def test_gradient() -> None:
    image = torch.rand(1, 5, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: bicubic_resize(x, Fraction(1, 2)), image)


@pytest.mark.parametrize("scale", [0, -1, 1e-9])
def test_a_scale_that_is_not_positive_is_refused(scale: float) -> None:
    with pytest.raises(ValueError, match="positive"):
        bicubic_resize(torch.rand(1, 4, 4), scale)


def test_an_image_without_pixels_is_refused() -> None:
    with pytest.raises(ValueError, match="shape"):
        bicubic_resize(torch.rand(3, 0, 4), 2)


@pytest.mark.parametrize("size", [(5,), (4, 3), (2, 3, 4)])
def test_linear_resize_keeps_what_has_the_size_and_doubles_by_weights_of_a_quarter(size):
    x = torch.randn(1, 2, *size, dtype=torch.float64)
    assert linear_resize(x, list(size)) is x
    for axis in range(2, x.ndim):
        sizes = list(size)
        sizes[axis - 2] *= 2
        lines, found = x.movedim(axis, 0), linear_resize(x, sizes).movedim(axis, 0)
        before = torch.cat([lines[:1], lines[:-1]])
        torch.testing.assert_close(found[::2], 0.75 * lines + 0.25 * before)

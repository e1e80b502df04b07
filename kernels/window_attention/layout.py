"""How a map of any number of axes is cut into windows and put together again.

Liu et al. 2021 (Swin, arXiv 2103.14030, sec. 3.2: windows, cyclic shift and its mask); Tu et al. 2022 (MaxViT,
2204.01697, sec. 3.2: a grid's windows, whose tokens lie as far apart as the map allows). All functions compile as
TorchScript.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ..backend import is_exporting

# B batch, C channels, G windows of a map, N tokens of a window

PENALTY = -100.0
"""Added to the score of two tokens that only the cyclic shift has brought together, as published networks do."""


class WindowLayout(NamedTuple):
    """A cut of maps into windows. A map is padded at the end of each axis to whole windows, or further.

    Attributes:
        window: tokens along each axis.
        shift: by how many tokens the map is rolled back along each axis before it is cut; 0 where it is not. Tokens
            that are then in one window but not side by side in the map hardly see one another.
        dilated: let a window's tokens lie as far apart as the map allows, not side by side.
        roll_first: roll before padding, not after; the same where nothing is padded.
        mask_padding: let padding be no key.
        multiple: what each axis is padded to multiples of, where these are whole windows; None for the window.
    """

    window: list[int]
    shift: list[int]
    dilated: bool = False
    roll_first: bool = False
    mask_padding: bool = False
    multiple: list[int] | None = None


def padded_sizes(sizes: list[int], window: list[int]) -> list[int]:
    """Return the sizes of the axes after padding to multiples of the window."""
    return [(size + side - 1) // side * side for size, side in zip(sizes, window)]  # noqa: B905


def whole_sizes(sizes: list[int], layout: WindowLayout) -> list[int]:
    """Return the sizes of the axes after the padding of a layout."""
    multiple = layout.multiple  # TorchScript tells None from a list in a variable alone
    return padded_sizes(sizes, layout.window if multiple is None else multiple)


def hashable(layout: WindowLayout) -> WindowLayout:
    """Return the layout with tuples for lists."""
    multiple = None if layout.multiple is None else tuple(layout.multiple)
    return layout._replace(window=tuple(layout.window), shift=tuple(layout.shift), multiple=multiple)


def cut(x: Tensor, layout: WindowLayout) -> Tensor:
    """Pad, roll and cut a map: (B, *spatial, C) -> (B * G, N, C), windows and the tokens in them in raster order."""
    sizes = x.shape[1:-1]
    axes = list(range(1, len(sizes) + 1))
    whole = whole_sizes(sizes, layout)
    back = [-shift for shift in layout.shift]
    if layout.roll_first and max(layout.shift) > 0:
        x = torch.roll(x, back, axes)
    x = padded(x, whole)
    if not layout.roll_first and max(layout.shift) > 0:
        x = torch.roll(x, back, axes)
    return partition(x, layout.window, layout.dilated)


def merge(windows: Tensor, sizes: list[int], layout: WindowLayout) -> Tensor:
    """Undo `cut`: (B * G, N, C) -> (B, *sizes, C)."""
    axes = list(range(1, len(sizes) + 1))
    whole = whole_sizes(sizes, layout)
    x = unpartition(windows, whole, layout.window, layout.dilated)
    if not layout.roll_first and max(layout.shift) > 0:
        x = torch.roll(x, layout.shift, axes)
    x = cropped(x, sizes)
    if layout.roll_first and max(layout.shift) > 0:
        x = torch.roll(x, layout.shift, axes)
    return x


def padded(x: Tensor, sizes: list[int]) -> Tensor:
    """Return a map with zeros at the end of each axis, (B, *sizes, C); itself where it has these sizes."""
    if torch.jit.is_scripting():
        same = x.shape[1:-1] == sizes
    else:
        # Padding by nothing copies; an exported program does so, as it may be run at other sizes.
        same = not is_exporting() and not torch.jit.is_tracing() and list(x.shape[1:-1]) == list(sizes)
    if same:
        return x
    missing = [0, 0]
    for axis in range(len(sizes) - 1, -1, -1):
        missing += [0, sizes[axis] - x.shape[axis + 1]]
    return F.pad(x, missing)


def cropped(x: Tensor, sizes: list[int]) -> Tensor:
    """Undo `padded`: return the first `sizes` positions of each axis."""
    for axis, size in enumerate(sizes):
        x = x.narrow(axis + 1, 0, size)
    return x


def partition(x: Tensor, window: list[int], dilated: bool) -> Tensor:
    """Cut a map of whole windows: (B, *spatial, C) -> (B * G, N, C).

    Args:
        x: a map whose sizes are multiples of `window`.
        window: tokens along each axis.
        dilated: see `WindowLayout`.
    """
    n, tokens = len(window), 1
    split, counts, sides = [x.shape[0]], [0], [0]
    for axis, side in enumerate(window):
        tokens *= side
        count = x.shape[axis + 1] // side
        split += [side, count] if dilated else [count, side]
        counts.append(2 * axis + (2 if dilated else 1))
        sides.append(2 * axis + (1 if dilated else 2))
    split.append(x.shape[-1])
    order = counts + sides[1:]
    order.append(2 * n + 1)
    return x.reshape(split).permute(order).reshape(-1, tokens, x.shape[-1])


def unpartition(windows: Tensor, sizes: list[int], window: list[int], dilated: bool) -> Tensor:
    """Undo `partition`: (B * G, N, C) -> (B, *sizes, C)."""
    n = len(sizes)
    split, order, joined = [-1], [0], [-1]
    for axis, size in enumerate(sizes):
        split.append(size // window[axis])
        order += [n + 1 + axis, 1 + axis] if dilated else [1 + axis, n + 1 + axis]
        joined.append(size)
    split += window
    for shape in [split, joined]:
        shape.append(windows.shape[-1])
    order.append(2 * n + 1)
    return windows.reshape(split).permute(order).reshape(joined)


def window_mask(sizes: list[int], layout: WindowLayout, like: Tensor, penalty: float = PENALTY) -> Tensor | None:
    """Return what is added to the scores of each window, (G, N, N) or (G, 1, N); None for nothing.

    Args:
        sizes: of the map.
        layout: the windows.
        like: of the dtype and device that are wanted.
        penalty: see `PENALTY`; TorchScript knows no constants of a file.
    """
    whole = whole_sizes(sizes, layout)
    mask: Tensor | None = None
    if max(layout.shift) > 0:
        labels = torch.zeros(whole, dtype=torch.int64, device=like.device).unsqueeze(0).unsqueeze(-1)
        for axis, size in enumerate(whole):
            if layout.shift[axis] > 0:
                place = torch.arange(size, device=like.device)
                part = (place >= size - layout.window[axis]).long() + (place >= size - layout.shift[axis]).long()
                shape = [1] * (len(whole) + 2)
                shape[axis + 1] = size
                labels = labels * 3 + part.view(shape)
        labels_GN = partition(labels, layout.window, layout.dilated).squeeze(-1)
        apart = (labels_GN.unsqueeze(1) != labels_GN.unsqueeze(2)).to(like.dtype)
        mask = penalty * apart
    if layout.mask_padding and whole != sizes:
        real = torch.ones(sizes, dtype=like.dtype, device=like.device).unsqueeze(0).unsqueeze(-1)
        # Finite, for windows that are padding throughout and for half precision, whose largest number is 65504.
        hidden = 3e4 * (cut(real, layout).squeeze(-1).unsqueeze(1) - 1.0)
        mask = hidden if mask is None else mask + hidden
    return mask


def kept_window_mask(sizes: Sequence[int], layout: WindowLayout, like: Tensor) -> Tensor | None:
    """Return what `window_mask` does; made once for the same sizes, where no program is being recorded."""
    if torch.compiler.is_compiling() or torch.jit.is_tracing():
        return window_mask(list(sizes), layout, like)
    return _window_mask(tuple(sizes), hashable(layout), like.dtype, like.device)


@lru_cache(maxsize=8)
def _window_mask(
    sizes: tuple[int, ...], layout: WindowLayout, dtype: torch.dtype, device: torch.device
) -> Tensor | None:
    with torch.inference_mode(False):
        return window_mask(list(sizes), layout, torch.empty(0, dtype=dtype, device=device))

"""Attention inside groups of a volume's tokens: neighbours (local), or a sample of the whole volume (global, dilated).

Wu et al.: "D-Former: a U-shaped Dilated Transformer for 3D medical image segmentation", Neural Computing and
Applications 2022, arXiv 2201.00462.
"""

from ...kernels.window_attention.layout import WindowLayout, padded_sizes
from .window import WindowAttention


class VolumeGroupAttention(WindowAttention):
    """Self-attention inside local or global groups of tokens (Wu et al. 2022, sec. 3.2), without a position bias.

    A local group is a box of `group` tokens. A global one takes about as many tokens in even strides from the whole
    volume. The volume is padded to whole groups with zeros before the projection, and padding is no key, except where
    global groups are padded in depth alone: the authors' network attends to it there, and published numbers with it.
    A volume lower than a group is one group, whatever its depth and width.

    Args:
        dim: channels in and out.
        heads: attention heads; must divide `dim`.
        group: tokens of a group along depth, height and width.
        dilated: global groups.
        interval: global groups are made of a volume padded to multiples of this along all axes; the stride itself is
            the padded size // group.
        qkv_bias: let queries, keys and values have biases.
        drop: dropout of the output, in training.
        attention_drop: dropout of the attention weights, in training.
    Shape: (B, D, H, W, C) -> (B, D, H, W, C). Local groups take any size.

    Raises:
        ValueError: heads that do not divide `dim`; in `forward`, a size that global groups cannot cover.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        group: tuple[int, int, int],
        dilated: bool = False,
        interval: int = 1,
        qkv_bias: bool = True,
        drop: float = 0.0,
        attention_drop: float = 0.0,
    ) -> None:
        if min(*group, interval) < 1:
            raise ValueError(f"group and interval must be at least 1, not {tuple(group)} and {interval}")
        super().__init__(
            dim,
            heads,
            group,
            dilated=dilated,
            position_bias=False,
            qkv_bias=qkv_bias,
            drop=drop,
            attention_drop=attention_drop,
        )
        self.interval = interval

    def fitted(self, sizes: list[int]) -> WindowLayout:
        """Return the groups of a volume of these sizes, as windows."""
        unmoved = [0, 0, 0]
        if sizes[1] < self.window[1]:  # the authors compare the height alone
            return WindowLayout(list(sizes), unmoved)
        if not self.dilated:
            return WindowLayout(self.window, unmoved, mask_padding=True)
        padded = [size + (-size) % self.interval for size in sizes]
        members = [dilated_members(size, side) for size, side in zip(padded, self.window)]  # noqa: B905
        hidden = padded[1] != sizes[1] or padded[2] != sizes[2]
        further = padded_sizes(sizes, members) != padded
        multiple = [self.interval] * 3 if further else None
        return WindowLayout(members, unmoved, dilated=True, mask_padding=hidden, multiple=multiple)


def dilated_members(size: int, side: int) -> int:
    """Return how many tokens a global group takes along an axis of `size` tokens, for groups of about `side`.

    Raises:
        ValueError: no stride lets such groups cover the axis.
    """
    stride = size // side
    if stride < 1 or size % stride != 0:
        raise ValueError(
            f"global attention in groups of {side} cannot cover {size} tokens: the stride {size} // {side} = {stride} "
            "must be at least 1 and divide them; take another size"
        )
    return size // stride

"""Attention through a few agents, which ask all positions and are asked by all."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...kernels.heads import check_heads, join_heads, split_heads
from ...kernels.window_attention.layout import partition
from ...kernels.window_attention.softmax import softmax_weights, written_out
from ..blocks.channels_last import DepthwiseConvolution, PatchReduction
from ..blocks.dimensions import ADAPTIVE_MEANS
from ..blocks.linear import Linear
from ..blocks.resampling import linear_resize
from .token_weights import TokenWeights, between_all, numbered, shared_out

# B batch, h heads, n agents, N positions, d channels of a head, C = h d channels


class AgentBias(nn.Module):
    """What is added to the scores between agents and positions (Han et al. 2024, Agent Attention, sec. 4.3).

    A grid of 7 along each axis, stretched over the map, and one term for each row, column (and slice); these fit maps
    of `size` and are stretched over others, too.

    Args:
        heads: attention heads.
        agents: how many.
        size: of the map, along each axis.
    Shape: the sizes of a map -> (h, n, N).
    """

    def __init__(self, heads: int, agents: int, size: Sequence[int]) -> None:
        super().__init__()
        self.grid = nn.Parameter(torch.empty(heads, agents, *[7] * len(size)))
        self.along = nn.ParameterList([nn.Parameter(torch.empty(heads, agents, length)) for length in size])
        for parameter in self.parameters():
            nn.init.trunc_normal_(parameter, std=0.02)

    def forward(self, sizes: list[int]) -> Tensor:
        """Return the bias for a map of these sizes."""
        bias = linear_resize(self.grid, sizes)
        for axis, along in enumerate(self.along):
            shape = [1] * len(sizes)
            shape[axis] = sizes[axis]
            bias = bias + linear_resize(along, [sizes[axis]]).unflatten(2, shape)
        return bias.flatten(2)


class AgentAttention(nn.Module):
    """Agent attention (Han et al. 2024, arXiv 2312.08874, eq. 5 to 7): agents gather values, positions read agents.

    Agents are the means of the queries over the cells of a grid. The cost is linear in the positions, O(N n C). A
    depth-wise convolution of the values adds what neighbours differ in. With `reduction` it is the form for PVT.

    Args:
        dim: channels in and out.
        heads: attention heads; must divide `dim`.
        size: of the maps, along each axis: how long the learned biases are. They are stretched over maps of other
            sizes. Two or three axes.
        agents: of them along each axis, so that there are agents ** axes.
        reduction: side of the patches, in pixels, of which each gives one key and value.
        qkv_bias: let queries, keys and values have biases.
    Shape: channels-last, (B, *spatial, C) -> (B, *spatial, C). Any size.

    Raises:
        ValueError: heads that do not divide `dim`.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        size: Sequence[int],
        agents: int = 7,
        reduction: int = 1,
        qkv_bias: bool = True,
    ) -> None:
        super().__init__()
        check_heads(dim, heads)
        axes, total = len(size), agents ** len(size)
        self.heads = heads
        self.size = list(size)
        self.q = Linear(dim, dim, bias=qkv_bias)
        self.reduce = PatchReduction(dim, reduction, axes) if reduction > 1 else nn.Identity()
        self.kv = Linear(dim, 2 * dim, bias=qkv_bias)
        self.pool = ADAPTIVE_MEANS[axes](agents)
        self.gather_bias = AgentBias(heads, total, [length // reduction for length in size])
        self.read_bias = AgentBias(heads, total, size)
        self.local = DepthwiseConvolution(dim, 3, axes)
        self.proj = Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Return the mixed map."""
        q, (k, v) = self.q(x), self.kv(self.reduce(x)).chunk(2, -1)
        gather_hnN, read_hnN = self.gather_bias(k.shape[1:-1]), self.read_bias(q.shape[1:-1])
        mixed = self.ask(q.flatten(1, -2), self.agents(q), k.flatten(1, -2), v.flatten(1, -2), gather_hnN, read_hnN)
        values = linear_resize(v.movedim(-1, 1), q.shape[1:-1]).movedim(1, -1)
        return self.proj(mixed.view(x.shape) + self.local(values))

    def with_weights(self, x: Tensor) -> tuple[Tensor, list[TokenWeights]]:
        """Return what `forward` does, and the weights of the tokens: what all agents together pass on.

        Of a patch that gives one key, all pixels have the same weight.
        """
        sizes, axes = x.shape[1:-1], x.dim() - 2
        q, (k, v) = self.q(x), self.kv(self.reduce(x)).chunk(2, -1)
        weights = self.passed_on(q, self.agents(q), k, self.gather_bias(k.shape[1:-1]), self.read_bias(sizes))
        side = x.shape[1] // k.shape[1] if isinstance(self.reduce, PatchReduction) else 1
        numbers = numbered(sizes, x)[:, *(slice(side * length) for length in k.shape[1:-1])]
        tokens = shared_out(weights, partition(numbers, [side] * axes, False).squeeze(-1) - 1, sizes)
        values = split_heads(v.flatten(1, -2), self.heads).repeat_interleave(side**axes, 2)
        local = self.local(linear_resize(v.movedim(-1, 1), sizes).movedim(1, -1))
        return self.proj(join_heads(tokens.weights @ values).view(x.shape) + local), [tokens]

    def passed_on(self, q: Tensor, agents: Tensor, k: Tensor, gather_hnN: Tensor, read_hnN: Tensor) -> Tensor:
        """Return the weights of keys for queries, (B, h, N, M), through the agents; maps or tokens, channels last."""
        q, agents, k = [split_heads(each.flatten(1, -2), self.heads) for each in (q, agents, k)]
        return softmax_weights(q, agents, read_hnN.mT) @ softmax_weights(agents, k, gather_hnN)

    def agents(self, q: Tensor) -> Tensor:
        """Return the agents, (B, n, C), of the queries of a map."""
        return self.pool(q.movedim(-1, 1)).flatten(2).transpose(1, 2)

    def ask(self, q: Tensor, agents: Tensor, k: Tensor, v: Tensor, gather_hnN: Tensor, read_hnN: Tensor) -> Tensor:
        """Return what the agents gather and queries read of it, (B, N, C); all four are (B, N or n, C)."""
        q, agents, k, v = [split_heads(each, self.heads) for each in (q, agents, k, v)]
        gather_hnN, read_hNn = gather_hnN.to(q.dtype), read_hnN.to(q.dtype).transpose(1, 2)
        if q.device.type == "cpu":  # quicker there for so few agents
            read_BhNd = written_out(q, agents, written_out(agents, k, v, gather_hnN), read_hNn)
        else:
            gathered_Bhnd = F.scaled_dot_product_attention(agents, k, v, gather_hnN)
            read_BhNd = F.scaled_dot_product_attention(q, agents, gathered_Bhnd, read_hNn)
        return join_heads(read_BhNd)


class ClassTokenAgentAttention(AgentAttention):
    """Agent attention of a map and a class token before it, the form for DeiT.

    The token asks and is asked, but makes no agent and is not convolved.

    Args: as of `AgentAttention`; `size` is that of the map, always.
    Shape: (B, 1 + N, C) -> (B, 1 + N, C), the token first.
    """

    def __init__(self, dim: int, heads: int, size: Sequence[int], agents: int = 7, qkv_bias: bool = True) -> None:
        super().__init__(dim, heads, size, agents, 1, qkv_bias)
        self.gather_token_bias = nn.Parameter(torch.empty(heads, agents ** len(size), 1))
        self.read_token_bias = nn.Parameter(torch.empty(heads, agents ** len(size), 1))
        for parameter in (self.gather_token_bias, self.read_token_bias):
            nn.init.trunc_normal_(parameter, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        """Return the mixed tokens."""
        q, agents, k, v, gather_hnN, read_hnN = self._asked(x)
        return self._output(self.ask(q, agents, k, v, gather_hnN, read_hnN), v)

    def with_weights(self, x: Tensor) -> tuple[Tensor, list[TokenWeights]]:
        """Return what `forward` does, and the weights of the tokens: what all agents together pass on."""
        q, agents, k, v, gather_hnN, read_hnN = self._asked(x)
        weights = self.passed_on(q, agents, k, gather_hnN, read_hnN)
        return self._output(join_heads(weights @ split_heads(v, self.heads)), v), [between_all(weights, x.shape[1:-1])]

    def _asked(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Return queries, agents, keys and values, (B, 1 + N or n, C) each, and the biases of gathering and reading."""
        q, (k, v) = self.q(x), self.kv(x).chunk(2, -1)
        gather_hnN = torch.cat([self.gather_token_bias, self.gather_bias(self.size)], 2)
        read_hnN = torch.cat([self.read_token_bias, self.read_bias(self.size)], 2)
        return q, self.agents(q[:, 1:].unflatten(1, self.size)), k, v, gather_hnN, read_hnN

    def _output(self, mixed: Tensor, v: Tensor) -> Tensor:
        """Return the tokens, to which the map has what is local of its values added."""
        local = self.local(v[:, 1:].unflatten(1, self.size)).flatten(1, -2)
        return self.proj(torch.cat([mixed[:, :1], mixed[:, 1:] + local], 1))

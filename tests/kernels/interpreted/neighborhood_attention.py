import pytest
import torch
from operands import guarded, relative

from foveal.kernels import use_backend
from foveal.kernels.neighborhood_attention import neighborhood_attention, triton

LIMITS = {torch.float32: 1e-6, torch.float16: 2e-3, torch.bfloat16: 1e-2}
# name: (map, kernel, dilation, stride, causal)
CASES = {
    "line, partial tiles": ((70,), (7,), (1,), (1,), (False,)),
    "line, even, strided, dilated": ((31,), (4,), (3,), (2,), (False,)),
    "causal line": ((40,), (5,), (2,), (2,), (True,)),
    "map": ((9, 13), (3, 5), (1, 1), (1, 1), (False, False)),
    "map of many kinds": ((13, 11), (5, 5), (2, 1), (2, 3), (True, False)),
    "longer than the map": ((4, 7), (5, 5), (2, 2), (4, 4), (False, False)),
    "wider than a tile": ((27, 3), (13, 3), (1, 1), (5, 1), (False, False)),
    "two tokens": ((2, 1), (3, 3), (1, 2), (1, 1), (False, False)),
    "volume": ((6, 5, 4), (3, 2, 3), (1, 2, 1), (1, 2, 3), (False, False, False)),
}


def operands(case, batch=1, heads=1, d=5, dtype=torch.float32):
    """Return qkv and the table of biases."""
    sizes, kernel, *_ = case
    generator = torch.Generator().manual_seed(sum(sizes) + d)
    qkv = torch.randn(batch, *sizes, 3, heads, d, generator=generator).to(dtype)
    return qkv, torch.randn(heads, *(2 * k - 1 for k in kernel), generator=generator)


def seen(size, kernel, dilation, stride, causal):
    """Return (queries, keys), true where a key is seen: the definition, one query after another."""
    pairs = torch.zeros(size, size, dtype=torch.bool)
    for query in range(size):
        group = list(range(query % dilation, size, dilation))
        k, place = min(kernel, len(group)), query // dilation
        s = min(stride, k)
        leader = min(place // s * s + (s - 1 if causal else s // 2), len(group) - 1)
        start = max(0, leader - k + 1) if causal else max(0, min(leader - k // 2, len(group) - k))
        pairs[query, group[start : place + 1 if causal else start + k]] = True
    return pairs


def dense(qkv, bias, sizes, *settings):
    """Attention between all tokens, of which those outside of a window are hidden."""
    places = torch.cartesian_prod(*map(torch.arange, sizes)).view(-1, len(sizes))
    visible, offsets = torch.ones(len(places), len(places), dtype=torch.bool), []
    for at, size, *each in zip(places.T, sizes, *settings, strict=True):
        visible &= seen(size, *each)[at][:, at]
        offsets.append(((at - at[:, None]) // each[1] + each[0] - 1).clamp(0, 2 * each[0] - 2))
    q, k, v = qkv.flatten(1, -4).permute(2, 0, 3, 1, 4)
    scores = q @ k.mT / q.shape[-1] ** 0.5
    scores = scores if bias is None else scores + bias[(slice(None), *offsets)]
    weights = scores.masked_fill(~visible, -torch.inf).softmax(-1)
    return (weights @ v).transpose(1, 2).unflatten(1, sizes)


def agrees(case, qkv, bias):
    """Hold output and gradients against the definition in double precision."""
    tensors = [each.requires_grad_() for each in (qkv, bias) if each is not None]
    wide = [each.detach().double().requires_grad_() for each in tensors]
    expected = dense(wide[0], None if bias is None else wide[1], *case)
    grad = torch.randn(expected.shape, generator=torch.Generator().manual_seed(1)).to(qkv.dtype)
    expected.backward(grad.double())
    with use_backend("triton"):
        found = neighborhood_attention(qkv, *case[1:], bias)
    found.backward(grad)
    assert found.dtype == qkv.dtype
    assert relative(found, expected) < LIMITS[qkv.dtype]
    for ours, theirs in zip(tensors, wide, strict=True):
        assert ours.grad.dtype == ours.dtype
        assert relative(ours.grad, theirs.grad) < 2 * LIMITS[qkv.dtype]


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_it_is_the_definition_with_every_gradient(case):
    agrees(case, *operands(case))


def test_without_a_bias():
    case = CASES["causal line"]
    agrees(case, operands(case, batch=2, heads=2)[0], None)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_in_any_precision(dtype):
    case = CASES["causal line"]
    agrees(case, *operands(case, heads=2, d=17, dtype=dtype))


def test_runs_of_tiles_are_summed(monkeypatch):
    monkeypatch.setattr(triton, "PROGRAMS", 4)
    case = (40,), (3,), (1,), (1,), (False,)
    agrees(case, *operands(case, batch=3))


def test_it_neither_reads_nor_writes_beyond_its_operands():
    case = CASES["longer than the map"]
    pairs = [guarded(each) for each in operands(case)]
    qkv, bias = (part for part, _ in pairs)
    settings = [list(map(int, each)) for each in case[1:4]]
    settings = [[1, *each] for each in settings] + [[False, False, False]]
    found = triton.neighborhood_attention(qkv.unsqueeze(1), bias.unsqueeze(1), *settings)
    grad, memory = guarded(torch.ones_like(found[0]))
    found += triton.neighborhood_attention_backward(qkv.unsqueeze(1), bias.unsqueeze(1), *found, grad, *settings)
    assert all(torch.isfinite(each).all() for each in found)
    assert all(each.isnan().sum() == 128 for each in (memory, *(memory for _, memory in pairs)))


def results(qkv, bias, settings):
    """Return the output and the gradients of both operands."""
    tensors = [each.detach().requires_grad_() for each in (qkv, bias)]
    with use_backend("triton"):
        out = neighborhood_attention(tensors[0], *settings, tensors[1])
    return [out.detach(), *torch.autograd.grad(out.square().sum(), tensors)]


def test_every_result_is_written(monkeypatch):
    """What is allocated is NaN until a program stores to it."""
    empty = torch.Tensor.new_empty
    monkeypatch.setattr(torch.Tensor, "new_empty", lambda *args, **options: empty(*args, **options).fill_(torch.nan))
    case = CASES["longer than the map"]
    assert all(torch.isfinite(each).all() for each in results(*operands(case), case[1:]))


def test_the_layout_in_memory_does_not_matter():
    case = (4, 7), (3, 5), (1, 1), (1, 1), (False, False)
    qkv, bias = operands(case, batch=2)
    images = qkv.movedim((1, 2), (-2, -1)).contiguous().movedim((-2, -1), (1, 2))
    others = images, bias.mT.contiguous().mT
    for one, other in zip(results(qkv, bias, case[1:]), results(*others, case[1:]), strict=True):
        assert torch.equal(one, other)


def test_places_beyond_a_partial_tile_find_no_bias():
    case = (17,), (3,), (1,), (1,), (False,)
    qkv, bias = operands(case)
    memory = torch.full((300,), torch.inf)
    memory[:5] = bias[0]
    assert all(torch.isfinite(each).all() for each in results(qkv, memory[:5][None], case[1:]))
    memory = torch.full((300,), torch.inf)
    memory[-5:] = bias[0]
    assert all(torch.isfinite(each).all() for each in results(qkv, memory[-5:][None], case[1:]))


def test_wider_heads_are_left_to_plain_pytorch():
    case = CASES["longer than the map"]
    qkv, bias = operands(case, d=129)
    with use_backend("triton"), pytest.raises(RuntimeError, match="heads of 129 channels"):
        neighborhood_attention(qkv, *case[1:], bias)
    expected = dense(qkv.double(), bias.double(), *case)
    assert relative(neighborhood_attention(qkv, *case[1:], bias), expected) < 1e-6


def test_it_is_a_proper_operator_that_compiles_in_one_graph():
    case = (3, 4), (3, 5), (1, 1), (1, 1), (False, False)
    qkv, bias = (each.requires_grad_() for each in operands(case))
    settings = [[1, 3, 5], [1, 1, 1], [1, 1, 1], [False, False, False]]
    whole = [each.detach().unsqueeze(1).requires_grad_() for each in (qkv, bias)]
    torch.library.opcheck(triton.neighborhood_attention, (*whole, *settings))
    with use_backend("triton"):
        compiled = torch.compile(neighborhood_attention, fullgraph=True, backend="aot_eager")
        assert torch.equal(compiled(qkv, *case[1:], bias), neighborhood_attention(qkv, *case[1:], bias))

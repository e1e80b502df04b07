import pytest
import torch
from operands import guarded, relative

from foveal.kernels import use_backend
from foveal.kernels.gated_attention_pool import MASKED, gated_attention_pool, triton

LIMITS = {torch.float32: 1e-5, torch.float16: 1e-2, torch.bfloat16: 2e-2}
# (instances, channels, hidden, branches): one, a few blocks of which the last is partial, the most branches
SIZES = [(1, 3, 2, 1), (150, 6, 5, 3), (70, 40, 36, 16)]


def operands(instances, channels, hidden, branches, dtype=torch.float32):
    generator = torch.Generator().manual_seed(instances)
    shapes = [(instances, channels), (2 * hidden, channels), (2 * hidden,), (branches, hidden), (branches,)]
    return [0.5 * torch.randn(shape, generator=generator).to(dtype) for shape in shapes]


def drawn_ranks(branches, top_k, count):
    generator = torch.Generator().manual_seed(2)
    return torch.rand(branches, top_k, generator=generator).argsort(-1)[:, :count]


def dense(patches, gates, gates_bias, score, score_bias, masked):
    """The equation, with given scores masked."""
    content, gate = (patches @ gates.mT + gates_bias).chunk(2, 1)
    scores = (torch.tanh(content) * torch.sigmoid(gate) @ score.mT + score_bias).mT
    scores = torch.where(masked, MASKED, scores)
    return torch.softmax(scores, 1) @ patches, scores


def agrees(tensors, top_k=0, ranks=None):
    """Hold results and gradients against the equation in double precision."""
    dtype = tensors[0].dtype
    tensors = [each.requires_grad_() for each in tensors]
    with use_backend("triton"):
        found = gated_attention_pool(*tensors, top_k, ranks)
    assert [each.dtype for each in found] == [dtype, torch.float32]
    masked = found[1] == MASKED
    wide = [each.detach().double().requires_grad_() for each in tensors]
    expected = dense(*wide, masked)
    if ranks is not None:  # in half precision near equal scores may change places
        scores = dense(*wide, torch.zeros_like(masked))[1]
        strongest = scores.topk(min(top_k, scores.shape[1])).indices.gather(1, ranks)
        assert dtype != torch.float32 or masked.gather(1, strongest).all()
        assert masked.sum(1).eq(ranks.shape[1]).all()
    generator = torch.Generator().manual_seed(1)
    grads = [torch.randn(each.shape, generator=generator).to(each.dtype) for each in found]
    torch.autograd.backward(expected, [each.double() for each in grads])
    torch.autograd.backward(found, grads)
    for ours, theirs in zip(found, expected, strict=True):
        assert relative(ours, theirs) < LIMITS[dtype]
    for ours, theirs in zip(tensors, wide, strict=True):
        assert ours.grad.dtype == dtype
        assert relative(ours.grad, theirs.grad) < 2 * LIMITS[dtype]


@pytest.mark.parametrize("size", SIZES)
def test_it_is_the_equation_with_every_gradient(size):
    agrees(operands(*size))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_in_half_precision(dtype):
    agrees(operands(150, 6, 5, 3, dtype=dtype))
    agrees(operands(150, 6, 5, 3, dtype=dtype), 10, drawn_ranks(3, 10, 4))


@pytest.mark.parametrize(("top_k", "drawn", "count"), [(10, 10, 6), (200, 150, 100), (10, 10, 0)])
def test_masked_ranks_take_no_part(top_k, drawn, count):
    agrees(operands(150, 6, 5, 3), top_k, drawn_ranks(3, drawn, count))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_a_bag_that_is_masked_as_a_whole_is_pooled_equally(dtype):
    tensors = [each.requires_grad_() for each in operands(70, 6, 5, 2, dtype=dtype)]
    with use_backend("triton"):
        pooled, scores = gated_attention_pool(*tensors, 70, drawn_ranks(2, 70, 70))
    assert (scores == MASKED).all()
    torch.testing.assert_close(pooled, tensors[0].mean(0).expand(2, -1), rtol=1e-2, atol=1e-3)
    grads = torch.autograd.grad(pooled.sum() + scores.sum(), tensors)
    torch.testing.assert_close(grads[0], torch.full_like(grads[0], 2 / 70), rtol=1e-2, atol=1e-4)
    assert all((grad == 0).all() for grad in grads[1:])


def test_it_neither_reads_nor_writes_beyond_its_operands():
    pairs = [guarded(each) for each in operands(70, 6, 5, 3)]
    parts = [part for part, _ in pairs]
    results = triton.gated_attention_pool(*parts, 5, drawn_ranks(3, 5, 2))
    grads = guarded(torch.ones(3, 6)), guarded(torch.ones(3, 70))
    found = triton.gated_attention_pool_backward(*parts[:4], *results, *(part for part, _ in grads))
    assert all(torch.isfinite(each).all() for each in (*results, *found))
    assert all(memory.isnan().sum() == 128 for _, memory in (*pairs, *grads))


def test_every_result_is_written(monkeypatch):
    """What is allocated is NaN until a program stores to it."""
    empty = torch.Tensor.new_empty

    def poisoned(x, *size, **options):
        made = empty(x, *size, **options)
        return made.fill_(torch.nan) if made.is_floating_point() else made

    monkeypatch.setattr(torch.Tensor, "new_empty", poisoned)
    tensors = operands(70, 6, 5, 3)
    results = triton.gated_attention_pool(*tensors, 5, drawn_ranks(3, 5, 2))
    found = triton.gated_attention_pool_backward(*tensors[:4], *results, torch.ones(3, 6), torch.ones(3, 70))
    assert all(torch.isfinite(each).all() for each in (*results, *found))


def test_strided_operands_give_the_same():
    tensors = operands(70, 6, 5, 3)
    strided = [each.mT.contiguous().mT if each.ndim == 2 else each for each in tensors]
    with use_backend("triton"):
        pairs = zip(gated_attention_pool(*strided), gated_attention_pool(*tensors), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


def test_more_branches_are_left_to_plain_pytorch():
    with use_backend("triton"), pytest.raises(RuntimeError, match="17 branches"):
        gated_attention_pool(*operands(5, 3, 2, 17))


def test_mixed_precision_trains_the_weights():
    tensors = [each.requires_grad_() for each in operands(70, 6, 5, 3)]
    exact = dense(*(each.detach().double() for each in tensors), torch.zeros(3, 70, dtype=torch.bool))
    with use_backend("triton"), torch.autocast("cpu", torch.bfloat16):
        found = gated_attention_pool(tensors[0].bfloat16(), *tensors[1:])
    assert all(relative(ours, theirs) < 2e-2 for ours, theirs in zip(found, exact, strict=True))
    assert all(grad.dtype == torch.float32 for grad in torch.autograd.grad(found[0].float().sum(), tensors))


def test_it_is_a_proper_operator_that_compiles_in_one_graph():
    tensors, ranks = [each.requires_grad_() for each in operands(9, 6, 5, 3)], drawn_ranks(3, 4, 2)
    torch.library.opcheck(triton.gated_attention_pool, (*tensors, 4, ranks))
    with use_backend("triton"):
        compiled = torch.compile(gated_attention_pool, fullgraph=True, backend="aot_eager")
        pairs = zip(compiled(*tensors, 4, ranks), gated_attention_pool(*tensors, 4, ranks), strict=True)
        assert all(torch.equal(one, other) for one, other in pairs)

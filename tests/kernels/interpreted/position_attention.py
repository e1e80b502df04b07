import pytest
import torch
from operands import guarded, relative

from foveal.kernels import use_backend
from foveal.kernels.position_attention import position_attention, triton

LIMITS = {torch.float64: 1e-6, torch.float32: 1e-5, torch.float16: 1e-2, torch.bfloat16: 1e-2}
"""Even in double precision the statistics are float32."""


def operands(batch, positions, width, values, dtype=torch.float32):
    generator = torch.Generator().manual_seed(positions + width)
    shapes = [(batch, positions, width)] * 2 + [(batch, positions, values)]
    return [torch.randn(shape, generator=generator).to(dtype) for shape in shapes]


def dense(q, k, v):
    return torch.softmax(q @ k.mT, -1) @ v


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("size", [(2, 7, 2, 5), (1, 1, 1, 1), (1, 100, 24, 70)])
def test_it_is_the_equation_with_every_gradient(size, dtype):
    tensors = [each.requires_grad_() for each in operands(*size, dtype=dtype)]
    wide = [each.detach().double().requires_grad_() for each in tensors]
    expected = dense(*wide)
    grad = torch.randn(expected.shape, generator=torch.Generator().manual_seed(1)).to(dtype)
    expected.backward(grad.double())
    with use_backend("triton"):
        found = position_attention(*tensors)
    found.backward(grad)
    assert found.dtype == dtype
    assert relative(found, expected) < LIMITS[dtype]
    for ours, theirs in zip(tensors, wide, strict=True):
        assert relative(ours.grad, theirs.grad) < 2 * LIMITS[dtype]


def test_it_neither_reads_nor_writes_beyond_its_operands():
    pairs = [guarded(each) for each in operands(1, 9, 3, 5)]
    out, _ = triton.position_attention(*(part for part, _ in pairs))
    assert torch.isfinite(out).all()
    assert all(memory.isnan().sum() == 128 for _, memory in pairs)


def test_strided_operands_give_the_same():
    q, k, v = operands(2, 6, 4, 3)
    strided = [each.mT.contiguous().mT for each in (q, k, v)]
    with use_backend("triton"):
        assert torch.equal(position_attention(*strided), position_attention(q, k, v))


def test_it_is_a_proper_operator_that_compiles_in_one_graph():
    tensors = [each.requires_grad_() for each in operands(1, 5, 2, 3)]
    torch.library.opcheck(triton.position_attention, tuple(tensors))
    with use_backend("triton"):
        compiled = torch.compile(position_attention, fullgraph=True, backend="aot_eager")
        assert torch.equal(compiled(*tensors), position_attention(*tensors))

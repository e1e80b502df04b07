import pytest
import torch
from operands import guarded, relative

from foveal.kernels import use_backend
from foveal.kernels.channel_attention import channel_scores, mix_channels, reference, triton

LIMITS = {torch.float64: 1e-6, torch.float32: 1e-6, torch.float16: 2e-3, torch.bfloat16: 1e-2}
"""Sums are float32, also of double precision."""
WEIGHTINGS = {"softmax": lambda s: s.softmax(-1), "relu": torch.relu, "top 2": lambda s: top(s, 2)}
# (batch, positions, heads, channels of a head)
SIZES = [(2, 7, 2, 3), (1, 1, 1, 1), (1, 130, 3, 8), (1, 33, 1, 30), (3, 70, 1, 17)]


def top(scores, count):
    """Keep the highest scores of each row."""
    least = scores.topk(count, -1).values[..., -1:]
    return torch.where(scores >= least, scores, 0)


def operands(batch, positions, heads, d, dtype=torch.float32):
    """A map of queries, keys and values with channels first, as convolutions leave it, and the temperature."""
    generator = torch.Generator().manual_seed(positions + d)
    qkv = torch.randn(batch, 3 * heads * d, positions, generator=generator).to(dtype)
    return qkv, 1 + torch.rand(heads, 1, 1, generator=generator)


def attention(qkv, temperature, weighting):
    q, k, v = qkv.mT.chunk(3, -1)
    return mix_channels(weighting(channel_scores(q, k, temperature)), v)


def equation(qkv, temperature, weighting):
    """Normalised copies of each head, products, sums."""
    q, k, v = qkv.unflatten(1, (3, len(temperature), -1)).unbind(1)
    q, k = (each / each.norm(dim=-1, keepdim=True) for each in (q, k))
    return (weighting(q @ k.mT * temperature) @ v).flatten(1, 2).mT


def results(function, qkv, temperature, weighting):
    """Return the output and the gradients of both operands."""
    tensors = [each.detach().requires_grad_() for each in (qkv, temperature)]
    y = function(*tensors, weighting)
    grad = torch.randn(y.shape, generator=torch.Generator().manual_seed(1)).to(y.dtype)
    return [y.detach(), *torch.autograd.grad(y, tensors, grad)]


def agrees(size, dtype, weighting):
    """Hold output and gradients against the equation in double precision."""
    qkv, temperature = operands(*size, dtype=dtype)
    with use_backend("triton"):
        found = results(attention, qkv, temperature, WEIGHTINGS[weighting])
    expected = results(equation, qkv.double(), temperature.double(), WEIGHTINGS[weighting])
    assert [each.dtype for each in found] == [dtype, dtype, torch.float32]
    for ours, theirs, factor in zip(found, expected, (1, 2, 4), strict=True):
        assert (ours.double() - theirs).norm() <= factor * LIMITS[dtype] * theirs.norm() + 1e-6


@pytest.mark.parametrize("size", SIZES)
def test_it_is_the_equation_with_every_gradient(size):
    agrees(size, torch.float32, "softmax")


@pytest.mark.parametrize("weighting", ["relu", "top 2"])
def test_for_any_weighting(weighting):
    agrees((2, 40, 2, 5), torch.float32, weighting)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_in_any_precision(dtype):
    agrees((2, 140, 2, 3), dtype, "softmax")


def test_runs_of_positions_are_summed(monkeypatch):
    monkeypatch.setattr(triton, "SUMS", 2)
    assert triton._runs(torch.empty(1, 100, 6), 2, 32) == (4, 32)
    agrees((1, 100, 2, 3), torch.float32, "softmax")


@pytest.mark.parametrize("layout", ["channels_last", "permuted"])
def test_the_layout_in_memory_does_not_matter(layout):
    qkv, temperature = operands(4, 9, 2, 3)
    other = qkv.mT.contiguous().mT if layout == "channels_last" else qkv.permute(2, 1, 0).contiguous().permute(2, 1, 0)
    with use_backend("triton"):
        found = [results(attention, each, temperature, torch.relu) for each in (qkv, other)]
    for one, another in zip(*found, strict=True):
        torch.testing.assert_close(one, another, rtol=1e-6, atol=1e-7)


def test_leading_axes_do_not_matter():
    qkv, temperature = operands(4, 9, 2, 3)
    with use_backend("triton"):
        expected = attention(qkv, temperature, torch.relu)
        q, k, v = qkv.mT.chunk(3, -1)
        q, k, v = (each.unflatten(0, (2, 2)) for each in (q, k, v))
        mixed = mix_channels(torch.relu(channel_scores(q, k, temperature)), v)
        one = mix_channels(torch.relu(channel_scores(q[0, 0], k[0, 0], temperature)), v[0, 0])
    assert torch.equal(mixed.flatten(0, 1), expected)
    assert torch.equal(one, expected[0])


def test_half_precision_holds_the_sums_of_many_large_values():
    qkv, temperature = operands(1, 600, 1, 3, dtype=torch.float16)
    qkv[:, :6] = 30 + qkv[:, :6]  # products that sum to 540,000
    with use_backend("triton"):
        found = results(attention, qkv, temperature, torch.relu)
    expected = results(equation, qkv.double(), temperature.double(), torch.relu)
    assert relative(found[0], expected[0]) < 2e-3
    assert relative(found[1][:, 6:], expected[1][:, 6:]) < 2e-3


def test_small_gradients_do_not_vanish_in_half_precision():
    qkv, temperature = operands(1, 300, 1, 3, dtype=torch.float16)
    tensors = [(30 * qkv).requires_grad_(), temperature]
    with use_backend("triton"):
        scores = channel_scores(*tensors[0].mT.chunk(3, -1)[:2], temperature)
    (found,) = torch.autograd.grad(scores[0, 0, 0, 1], tensors[0])
    q, k, _ = tensors[0].detach().double().mT.chunk(3, -1)
    lengths = q.norm(dim=1)[0, 0] * k.norm(dim=1)[0, 1]
    share = (q[0, :, 0] @ k[0, :, 1]) / q[0, :, 0].square().sum()
    expected = (k[0, :, 1] - share * q[0, :, 0]) / lengths * temperature.double().item()
    assert relative(found[0, 0], expected) < 1e-2


def test_channels_that_are_zero_everywhere_give_finite_results():
    qkv, temperature = operands(1, 9, 2, 3)
    qkv[:, [1, 10]] = 0
    with use_backend("triton"):
        found = results(attention, qkv, temperature, torch.relu)
    assert all(torch.isfinite(each).all() for each in found)
    tensor = qkv.requires_grad_()
    q, k, v = tensor.mT.chunk(3, -1)
    plain = reference.mix_channels(torch.relu(reference.channel_scores(q, k, temperature)), v)
    grad = torch.randn(plain.shape, generator=torch.Generator().manual_seed(1))
    assert relative(found[1], torch.autograd.grad(plain, tensor, grad)[0]) < 1e-5


def test_it_neither_reads_nor_writes_beyond_its_operands():
    qkv, _ = operands(2, 9, 2, 3)
    pairs = [guarded(each) for each in qkv.mT.chunk(3, -1)]
    q, k, v = (part for part, _ in pairs)
    cosines, norms = triton.channel_cosines(q, k, 2)
    weights, memory = guarded(cosines)
    found = [cosines, norms, triton.mix_channels(weights, v), *triton.mix_channels_backward(weights, v, q)]
    found += triton.channel_cosines_backward(q, k, cosines, norms, weights)
    assert all(torch.isfinite(each).all() for each in found)
    assert all(each.isnan().sum() == 128 for each in (memory, *(memory for _, memory in pairs)))


def test_every_result_is_written(monkeypatch):
    """What is allocated is NaN until a program stores to it."""
    empty = torch.Tensor.new_empty
    monkeypatch.setattr(torch.Tensor, "new_empty", lambda *args, **options: empty(*args, **options).fill_(torch.nan))
    qkv, temperature = operands(2, 35, 2, 3)
    with use_backend("triton"):
        assert all(torch.isfinite(each).all() for each in results(attention, qkv, temperature, torch.relu))


def test_wider_heads_are_left_to_plain_pytorch():
    qkv, temperature = operands(1, 2, 1, 200)
    q, k, _ = qkv.mT.chunk(3, -1)
    with use_backend("triton"), pytest.raises(RuntimeError, match="heads of 200 channels"):
        channel_scores(q, k, temperature)


def test_mixed_precision_gives_gradients_in_the_precision_of_each_operand():
    qkv, temperature = operands(1, 20, 2, 3)
    q, k, v = (each.detach().requires_grad_() for each in qkv.mT.chunk(3, -1))
    with use_backend("triton"), torch.autocast("cpu", torch.bfloat16):
        y = mix_channels(channel_scores(q.half(), k, temperature).softmax(-1).bfloat16(), v)
    assert y.dtype == torch.float32
    assert all(grad.dtype == torch.float32 for grad in torch.autograd.grad(y.sum(), (q, k, v)))


@pytest.mark.parametrize("channels_first", [True, False])
def test_they_are_proper_operators_that_compile_in_one_graph(channels_first):
    qkv, temperature = operands(2, 5, 2, 3)
    qkv = qkv if channels_first else qkv.mT.contiguous().mT
    q, k, v = (each.detach().requires_grad_() for each in qkv.mT.chunk(3, -1))
    weights = torch.rand(2, 2, 3, 3, requires_grad=True)
    torch.library.opcheck(triton.channel_cosines, (q, k, 2))
    torch.library.opcheck(triton.mix_channels, (weights, v))
    with use_backend("triton"):
        compiled = torch.compile(attention, fullgraph=True, backend="aot_eager")
        assert torch.equal(compiled(qkv, temperature, torch.relu), attention(qkv, temperature, torch.relu))

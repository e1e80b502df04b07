import numpy as np
import pytest
import torch

from foveal.kernels.gated_attention_pool import MASKED, attention_pool, gated_attention_pool, mask_ranks, reference

# (instances, channels, hidden, branches)
SIZES = [(1, 3, 2, 1), (9, 6, 4, 3), (23, 5, 7, 16)]


def operands(instances, channels, hidden, branches, dtype=torch.float64):
    generator = torch.Generator().manual_seed(instances)
    shapes = [(instances, channels), (2 * hidden, channels), (2 * hidden,), (branches, hidden), (branches,)]
    return [torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype) for shape in shapes]


def drawn_ranks(branches, top_k, count):
    generator = torch.Generator().manual_seed(2)
    return torch.rand(branches, top_k, generator=generator).argsort(-1)[:, :count]


def brute_force(patches, gates, gates_bias, score, score_bias, top_k=0, ranks=None):
    """The equation as loops over NumPy arrays: what is pooled, and the scores."""
    patches, gates, gates_bias, score, score_bias = (
        x.double().numpy() for x in (patches, gates, gates_bias, score, score_bias)
    )
    hidden = len(gates) // 2
    scores = np.zeros((len(score), len(patches)))
    for n, patch in enumerate(patches):
        inner = gates @ patch + gates_bias
        scores[:, n] = score @ (np.tanh(inner[:hidden]) / (1 + np.exp(-inner[hidden:]))) + score_bias
    pooled = np.zeros((len(score), patches.shape[1]))
    for k, row in enumerate(scores):
        if ranks is not None:
            row[np.argsort(-row)[:top_k][ranks[k].numpy()]] = MASKED
        weights = np.exp(row - row.max())
        pooled[k] = weights / weights.sum() @ patches
    return torch.from_numpy(pooled), torch.from_numpy(scores)


def relative(value, expected):
    return float((value.detach().double() - expected).norm() / expected.norm())


@pytest.fixture(params=["at once", "in parts"])
def parts(request, monkeypatch):
    """Of large bags some instances follow others."""
    monkeypatch.setattr(reference, "AT_ONCE", 4 if request.param == "in parts" else 4096)


@pytest.mark.usefixtures("parts")
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("size", SIZES[1:])
def test_it_is_the_equation(size, masked):
    tensors = operands(*size)
    masking = {"top_k": 6, "ranks": drawn_ranks(size[3], 6, 3)} if masked else {}
    expected = brute_force(*tensors, **masking)
    for dtype, limit in [(torch.float64, 1e-13), (torch.float32, 1e-5)]:
        found = gated_attention_pool(*(each.to(dtype) for each in tensors), **masking)
        assert all(relative(ours, theirs) < limit for ours, theirs in zip(found, expected, strict=True))
        assert not masked or (found[1] == MASKED).sum(1).eq(3).all()


@pytest.mark.usefixtures("parts")
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("size", SIZES[:2])
def test_gradients_are_those_of_finite_differences(size, masked):
    tensors = tuple(each.requires_grad_() for each in operands(*size))
    masking = (1, drawn_ranks(size[3], 1, 1)) if masked else ()

    def both(*tensors):
        pooled, scores = gated_attention_pool(*tensors, *masking)
        return pooled, scores.masked_fill(scores == MASKED, 0)

    assert torch.autograd.gradcheck(both, tensors)


@pytest.mark.usefixtures("parts")
def test_gradients_are_those_of_autograd():
    tensors = [each.requires_grad_() for each in operands(23, 5, 7, 3)]
    masking = 6, drawn_ranks(3, 6, 3)
    found, expected = gated_attention_pool(*tensors, *masking), reference.gated_attention_pool(*tensors, *masking)
    grads = [torch.autograd.grad(one.sin().sum() + other.cos().sum(), tensors) for one, other in (found, expected)]
    assert all(relative(a, b) < 1e-12 for a, b in zip(*grads, strict=True))


def test_a_bag_that_is_masked_as_a_whole_is_pooled_equally():
    tensors = [each.requires_grad_() for each in operands(4, 6, 4, 2, torch.float32)]
    pooled, scores = gated_attention_pool(*tensors, 10, drawn_ranks(2, 4, 4))
    assert (scores == MASKED).all()
    assert torch.allclose(pooled, tensors[0].mean(0).expand(2, -1))
    grads = torch.autograd.grad(pooled.sum() + scores.sum(), tensors)
    assert torch.allclose(grads[0], torch.full((4, 6), 0.5))
    assert all((grad == 0).all() for grad in grads[1:])


def test_parts_are_the_public_functions():
    tensors, ranks = operands(9, 6, 4, 3), drawn_ranks(3, 6, 3)
    _, scores = gated_attention_pool(*tensors)
    pooled, masked = gated_attention_pool(*tensors, 6, ranks)
    assert torch.equal(mask_ranks(scores, 6, ranks), masked)
    assert torch.equal(attention_pool(masked, tensors[0]), pooled)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_has_its_scores_in_single(dtype):
    tensors = [each.requires_grad_() for each in operands(23, 5, 7, 3, dtype)]
    expected = brute_force(*(each.detach() for each in tensors))
    found = gated_attention_pool(*tensors, 6, drawn_ranks(3, 6, 0))
    assert [each.dtype for each in found] == [dtype, torch.float32]
    assert all(relative(ours, theirs) < 2e-2 for ours, theirs in zip(found, expected, strict=True))
    grads = torch.autograd.grad(found[0].float().sum() + found[1].sum(), tensors)
    assert all(grad.dtype == dtype and grad.isfinite().all() for grad in grads)


def test_mixed_precision_trains_the_weights():
    tensors = [each.requires_grad_() for each in operands(23, 5, 7, 3, torch.float32)]
    exact = gated_attention_pool(*tensors)
    with torch.autocast("cpu", torch.bfloat16):
        found = gated_attention_pool(*tensors)
    assert all(relative(ours, theirs.detach().double()) < 2e-2 for ours, theirs in zip(found, exact, strict=True))
    grads = [torch.autograd.grad(one.float().square().sum() + other.sum(), tensors) for one, other in (exact, found)]
    assert all(relative(b, a.double()) < 5e-2 for a, b in zip(*grads, strict=True))


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")
def test_scripted_and_exported_programs_take_any_bag():
    class Module(torch.nn.Module):
        def forward(self, patches, gates, gates_bias, score, score_bias):
            return gated_attention_pool(patches, gates, gates_bias, score, score_bias)

    tensors = operands(9, 6, 4, 3)
    shapes = ({0: torch.export.Dim("instances")}, None, None, None, None)
    programs = torch.jit.script(Module()), torch.export.export(Module(), tuple(tensors), dynamic_shapes=shapes).module()
    for instances in (1, 5000):
        patches = operands(instances, 6, 4, 3)[0]
        expected = gated_attention_pool(patches, *tensors[1:])
        for program in programs:
            torch.testing.assert_close(program(patches, *tensors[1:]), expected)

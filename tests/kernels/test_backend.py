import pytest
import torch

from foveal import kernels
from foveal.kernels import use_backend
from foveal.kernels.backend import runs_on_triton
from foveal.kernels.position_attention import position_attention


def test_operations_are_taken_from_the_package_alone():
    qkv = torch.zeros(1, 6, 6, 3, 2, 4)
    assert kernels.window_attention(qkv, None, kernels.WindowLayout([3, 3], [0, 0])).shape == (1, 6, 6, 2, 4)
    assert all(callable(getattr(kernels, name)) for name in kernels.__all__)


def test_plain_pytorch_runs_on_a_cpu():
    assert not runs_on_triton("operation", torch.zeros(1))
    with use_backend("reference"):
        assert not runs_on_triton("operation", torch.zeros(1))


def test_a_kernel_that_is_asked_for_and_cannot_run_says_why():
    q = torch.zeros(1, 2, 2)
    with use_backend("triton"), pytest.raises(RuntimeError, match=r"cannot run|needs CUDA tensors"):
        runs_on_triton("operation", q)


def test_the_choice_ends_with_the_block():
    with pytest.raises(ZeroDivisionError), use_backend("triton"):
        raise ZeroDivisionError
    assert not runs_on_triton("operation", torch.zeros(1))


def test_an_unknown_backend_is_refused():
    with pytest.raises(ValueError, match="auto, reference or triton"), use_backend("cuda"):
        pass


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_kernels_run_by_themselves_on_a_gpu():
    q, k, v = (torch.randn(1, 100, width, device="cuda") for width in (8, 8, 32))
    assert runs_on_triton("operation", q)
    with use_backend("reference"):
        expected = position_attention(q, k, v)
    torch.testing.assert_close(position_attention(q, k, v), expected, rtol=1e-4, atol=1e-4)

import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from foveal.core.blocks.linear import Linear
from foveal.kernels import use_backend
from foveal.kernels.linear import HAS_ONEDNN, linear, product, transposed_product

with_onednn = pytest.mark.skipif(not HAS_ONEDNN, reason="needs oneDNN on a processor with AVX-512")


def operands(*sizes, inputs=96, outputs=288, grad=False):
    generator = torch.Generator().manual_seed(0)
    shapes = [(*sizes, inputs), (outputs, inputs), (outputs,)]
    return [torch.randn(shape, generator=generator).requires_grad_(grad) for shape in shapes]


def assert_equal(found, expected):
    assert found.shape == expected.shape
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5 * float(expected.detach().abs().max()))


def in_float64(x, weight, bias=None):
    return F.linear(x.double(), weight.double(), None if bias is None else bias.double())


@pytest.mark.parametrize("sizes", [(5,), (3000,), (2, 40, 50), (0,)])
@pytest.mark.parametrize("outputs", [3, 288])
@pytest.mark.parametrize("biased", [False, True])
def test_it_is_the_formula(sizes, outputs, biased):
    x, weight, bias = operands(*sizes, outputs=outputs)
    bias = bias if biased else None
    expected = in_float64(x, weight, bias)
    if expected.numel():
        assert_equal(linear(x, weight, bias), expected)
    else:
        assert linear(x, weight, bias).shape == expected.shape


@pytest.mark.parametrize("biased", [False, True])
def test_gradients_once_and_twice_are_those_of_the_formula(biased):
    tensors = operands(2, 40, 50, grad=True)[: 2 + biased]

    def gradients(layer):
        first = torch.autograd.grad(layer(*tensors).square().mean(), tensors, create_graph=True)
        return *first, *torch.autograd.grad(sum(each.square().sum() for each in first), tensors)

    for found, expected in zip(gradients(linear), gradients(in_float64), strict=True):
        assert_equal(found, expected.double())


def test_strides_do_not_matter():
    x, weight, _ = operands(60, 50)
    wide = torch.randn(60, 50, 192)
    for tensor in (x.mT.contiguous().mT, x[::2], wide[..., 96:], x[:1].expand(60, 50, 96)):
        assert_equal(linear(tensor, weight), in_float64(tensor, weight))
    for matrix in (weight.t().contiguous().t(), weight[::2], torch.cat([weight, weight], 1)[:, 96:]):
        assert_equal(linear(x, matrix), in_float64(x, matrix))


@pytest.mark.parametrize(("rows", "columns"), [(40, 300), (300, 40), (5, 7)])
def test_products_are_those_of_matrices(rows, columns):
    a, b = torch.randn(2000, rows), torch.randn(2000, columns)
    assert_equal(transposed_product(a, b), a.double().t() @ b.double())
    assert_equal(product(a.t(), b), a.double().t() @ b.double())


@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize("wrong", [{1: (288, 64)}, {1: (288, 128)}, {2: (10,)}])
def test_what_does_not_fit_is_told_as_by_pytorch(wrong, grad):
    tensors = operands(3000, grad=grad)
    for place, shape in wrong.items():
        tensors[place] = torch.randn(shape)
    with pytest.raises(RuntimeError) as expected:
        F.linear(*tensors)
    with pytest.raises(RuntimeError) as found:
        linear(*tensors)
    assert str(found.value) == str(expected.value)


def test_a_bias_for_all_outputs_is_taken():
    x, weight, _ = operands(3000)
    assert_equal(linear(x, weight, torch.ones(1)), in_float64(x, weight) + 1)


@with_onednn
def test_large_layers_are_computed_by_onednn_alone_where_nobody_asks_otherwise():
    x, weight, bias = operands(3000, grad=True)
    assert "OneDNN" in type(linear(x, weight, bias).grad_fn).__name__
    with use_backend("reference"):
        assert "OneDNN" not in type(linear(x, weight, bias).grad_fn).__name__
    for others in ([each.double() for each in (x, weight, bias)], operands(3, grad=True)):
        assert "OneDNN" not in type(linear(*others).grad_fn).__name__


def test_automatic_narrow_types_are_kept():
    x, weight, bias = operands(3000, grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        assert linear(x, weight, bias).dtype == torch.bfloat16


def test_operators_are_counted():
    x, weight, bias = operands(3000)
    with FlopCounterMode(display=False) as counter:
        linear(x, weight, bias)
    assert counter.get_total_flops() == 2 * 3000 * 96 * 288


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_recorded_programs_hold_the_usual_operator():
    layer, x = Linear(96, 288).eval(), operands(3000)[0]
    expected = F.linear(x, layer.weight, layer.bias)
    rows = torch.export.Dim("rows", min=2)
    exported = torch.export.export(layer, (x,), dynamic_shapes=[{0: rows}])
    assert {str(node.target) for node in exported.graph.nodes if node.op == "call_function"} == {"aten.linear.default"}
    for program in (torch.jit.script(layer), torch.jit.trace(layer, x), exported.module()):
        torch.testing.assert_close(program(x), expected, rtol=1e-4, atol=1e-4)
    assert "onednn" not in str(torch.jit.trace(layer, x).graph).lower()


@pytest.mark.filterwarnings("ignore:There is a performance drop:UserWarning")
def test_transforms_of_functions_are_taken():
    x, weight, bias = operands(2, 3000)
    assert_equal(torch.vmap(linear, (0, None, None))(x, weight, bias), in_float64(x, weight, bias))
    slope = torch.func.grad(lambda each: linear(x[0], each, bias).sum())(weight)
    assert_equal(slope, x[0].double().sum(0).expand(288, 96))


def test_a_whole_graph_compiles():
    x, weight, bias = operands(3000, grad=True)
    compiled = torch.compile(linear, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(x, weight, bias), F.linear(x, weight, bias), rtol=1e-4, atol=1e-4)

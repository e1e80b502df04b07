import pytest
import torch
from torch import nn

from foveal.apps.volseg.models.mpunet import MPUNet, serialised_attention
from foveal.core.blocks.norm import BatchNorm3d
from foveal.core.export.pt2 import exported
from foveal.core.weights.card import Card


@pytest.fixture(scope="module")
def small():
    torch.manual_seed(0)
    net = MPUNet(num_classes=3, dim=2).eval()
    net.bottom[1][3].gamma.data.fill_(0.5)
    return net


def image(*sizes, batch=1, channels=1):
    return torch.randn(batch, channels, *sizes, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("classes", "parameters"), [(2, 21_507_255), (3, 21_507_739)])
def test_the_published_network_has_the_parameters_that_take_part(classes, parameters):
    with torch.device("meta"):
        net = MPUNet(classes)
    assert sum(each.numel() for each in net.parameters()) == parameters


def test_prediction_is_the_mean_of_four_that_each_add_up_to_1(small):
    x = image(8, 16, 24, batch=2)
    with torch.inference_mode():
        sides, prediction = small.predictions(x), small(x)
    assert [side.shape for side in sides] == [(2, 3, 8, 16, 24)] * 4
    torch.testing.assert_close(prediction, sum(sides) / 4)
    for each in (*sides, prediction):
        torch.testing.assert_close(each.sum(1), torch.ones(2, 8, 16, 24))


def test_in_training_the_mean_comes_first_then_the_deepest():
    torch.manual_seed(0)
    net = MPUNet(num_classes=3, dim=2, drop=0.0)
    x = image(8, 16, 8, batch=2)
    outputs, sides = net(x), net.predictions(x)
    assert len(outputs) == 4
    for found, expected in zip(outputs, (sum(sides) / 4, *sides[:3]), strict=True):
        torch.testing.assert_close(found, expected)


def test_gradients_reach_every_parameter_that_matters():
    torch.manual_seed(0)
    net = MPUNet(dim=2, drop=0.0)
    net.bottom[1][3].gamma.data.fill_(0.5)
    mean = net(image(8, 16, 16, batch=2))[0]
    (mean * torch.randn_like(mean)).sum().backward()
    assert [name for name, each in net.named_parameters() if each.grad is None] == []
    still = [name for name, each in net.named_parameters() if not each.grad.any()]
    assert still in ([], ["bottom.1.3.key.bias"])  # shifts all scores of a query alike


@pytest.mark.parametrize("batch", [1, 2])
def test_gradients_of_the_attention_are_those_of_norms_written_out(batch):
    """PyTorch's own batch norm between maps and tokens gives wrong ones on a CPU for a batch of one."""
    torch.manual_seed(0)
    layers = serialised_attention(16, 8).double().train(batch == 2)
    layers[3].gamma.data.fill_(0.7)
    x = image(4, 3, 5, batch=batch, channels=16).double().requires_grad_()
    probe = torch.randn_like(layers(x))
    found = torch.autograd.grad(layers(x), [x, *layers.parameters()], probe)

    def written_out(module, y):
        axes = (0, 2, 3, 4)
        mean = y.mean(axes) if module.training else module.running_mean
        variance = y.var(axes, unbiased=False) if module.training else module.running_var
        scale = module.weight * (variance + module.eps).rsqrt()
        return y * scale[:, None, None, None] + (module.bias - mean * scale)[:, None, None, None]

    y = x
    for layer in layers:
        y = written_out(layer, y) if isinstance(layer, BatchNorm3d) else layer(y)
    expected = torch.autograd.grad(y, [x, *layers.parameters()], probe)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-10)


def test_image_is_added_to_the_first_features_by_its_mean_channel():
    torch.manual_seed(0)
    net = MPUNet(in_channels=2, dim=2).eval()
    for layer in net.first:
        if isinstance(layer, nn.Conv3d):
            layer.weight.data.zero_()
    seen = []
    net.downsampling[0].register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    x = image(8, 8, 8, channels=2)
    net(x)
    torch.testing.assert_close(seen[0], x.mean(1, keepdim=True).expand(1, 2, 8, 8, 8))


def test_dropout_stops_before_the_last_stage():
    net = MPUNet(dim=2, drop=0.3)
    rates = [stage.drop.p for stage in (*net.encoder, net.deepest, *net.decoder)]
    assert rates == [0.3] * 7 + [0.0]


def test_attributes():
    net = MPUNet(num_classes=5, in_channels=2, dim=2)
    assert (net.num_classes, net.in_channels, net.size_multiple, net.gives_probabilities) == (5, 2, 8, True)


def test_elu_is_as_steep_as_it_has_channels():
    with torch.device("meta"):
        net = MPUNet()
    assert [each[3].alpha for each in net.downsampling] == [32, 64, 128, 256]
    assert MPUNet(dim=2).bottom[0][3].alpha == 64


@pytest.mark.parametrize("sizes", [(8, 8, 12), (4, 8, 8), (8, 15, 8)])
def test_sizes_that_do_not_fit_are_refused(small, sizes):
    with pytest.raises(ValueError, match="multiples of 8, not"):
        small(image(*sizes))


@pytest.mark.parametrize("training", [False, True])
def test_no_operation_makes_the_map_of_all_pairs(training):
    net, tokens = MPUNet(dim=2).train(training), 12 * 12 * 8  # more than of which the map is made
    with torch.profiler.profile(record_shapes=True) as profile, torch.set_grad_enabled(training):
        net(image(96, 96, 64))
    shapes = [shape for event in profile.events() for shape in event.input_shapes if shape]
    assert any(tokens in shape for shape in shapes)
    assert not any(list(shape).count(tokens) > 1 for shape in shapes)


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")
def test_scripted_program_gives_the_same_at_another_size(small, tmp_path):
    torch.jit.save(torch.jit.script(small), tmp_path / "mpunet.pt")
    scripted = torch.jit.load(tmp_path / "mpunet.pt")
    for x in (image(8, 16, 16), image(16, 8, 24, batch=2)):
        for _ in range(2):  # the second run is the optimised one
            with torch.inference_mode():
                torch.testing.assert_close(scripted(x), small(x), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_exported_program_gives_the_same_at_other_sizes(small):
    card = Card(
        name="mpunet",
        app="volseg",
        network={"class_path": "none"},
        dimensions=3,
        channels=("grey",),
        size_multiple=8,
        tile=8,
        overlap=0,
    )
    program = exported(small, card).module()
    for x in (image(8, 16, 40, batch=3), image(24, 16, 16)):
        with torch.inference_mode():
            torch.testing.assert_close(program(x), small(x), rtol=1e-4, atol=1e-5)

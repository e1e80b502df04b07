import pytest
import timm
import torch
import torch.nn.functional as F
from torch import nn

from foveal.apps.medseg.models.msga import MSGA, SemanticModule, Stage, Supervised
from foveal.core.attention.position import PositionAttention
from foveal.core.errors import UserError
from foveal.core.export.pt2 import exported
from foveal.core.losses.guided_attention import GuidedAttentionLoss
from foveal.core.weights.card import Card

SMALL = {"backbone": "resnet18", "dim": 8}


def small(num_classes=3, in_channels=1, gamma=0.7):
    """A small network whose attention contributes."""
    torch.manual_seed(0)
    net = MSGA(num_classes, in_channels, **SMALL)
    for module in net.modules():
        if hasattr(module, "gamma"):
            module.gamma.data.fill_(gamma)
    return net


def test_published_network_has_the_published_number_of_parameters():
    with torch.device("meta"):
        net = MSGA()
    assert sum(parameter.numel() for parameter in net.backbone.parameters()) == 86_736_064
    assert sum(parameter.numel() for parameter in net.parameters()) == 104_511_475 - 955_412  # without the unused


@pytest.mark.parametrize(("num_classes", "in_channels"), [(2, 1), (5, 3), (4, 4)])
@pytest.mark.parametrize(("height", "width"), [(16, 24), (53, 39)])
def test_logits_have_a_channel_for_each_class_and_the_size_of_the_image(num_classes, in_channels, height, width):
    net = small(num_classes, in_channels).eval()
    with torch.inference_mode():
        assert net(torch.rand(2, in_channels, height, width)).shape == (2, num_classes, height, width)


def test_training_gives_all_that_the_loss_compares():
    output = small().train()(torch.rand(2, 1, 32, 48))
    assert isinstance(output, Supervised)
    assert [len(each) for each in output] == [8, 8, 8, 8]
    assert {tuple(each.shape) for each in output.predictions} == {(2, 3, 32, 48)}
    assert {tuple(each.shape) for each in output.codes} == {(2, 64, 2, 3)}
    assert {tuple(each.shape) for each in output.inputs + output.reconstructions} == {(2, 16, 8, 12)}


def test_evaluation_gives_the_mean_of_the_second_stage():
    net = small().double().eval()
    x = torch.rand(1, 1, 32, 40, dtype=torch.float64)
    with torch.no_grad():
        predictions = net.supervised(x).predictions
        torch.testing.assert_close(net(x), torch.stack(predictions[4:]).mean(0), rtol=1e-12, atol=1e-12)
        assert not torch.allclose(net(x), torch.stack(predictions[:4]).mean(0))


def test_gradients_at_batch_size_one_are_those_of_finite_differences():
    net = small().double().eval()
    x = torch.rand(1, 1, 16, 24, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(net, (x,), fast_mode=True)


def test_gradients_of_one_image_are_the_same_alone_and_in_a_batch():
    net = small().double().eval()
    images = torch.rand(2, 1, 16, 24, dtype=torch.float64)
    wanted = [
        parameter for name, parameter in net.named_parameters() if "heads1" not in name and "key.bias" not in name
    ]
    together = torch.autograd.grad(net(images).square().sum(), wanted)
    alone = [torch.autograd.grad(net(image[None]).square().sum(), wanted) for image in images]
    for whole, one, other in zip(together, *alone, strict=True):
        assert torch.allclose(whole, one + other, rtol=1e-8, atol=1e-8 * float(whole.abs().max()))


def test_training_loss_reaches_every_parameter_but_the_key_biases():
    net = small().train()
    GuidedAttentionLoss()(net(torch.rand(2, 1, 64, 64)), torch.randint(3, (2, 64, 64))).backward()
    parameters = {name: parameter for name, parameter in net.named_parameters() if not name.endswith("key.bias")}
    assert len(list(net.parameters())) - len(parameters) == 8
    assert [name for name, parameter in parameters.items() if not parameter.grad.abs().sum() > 0] == []


def test_one_semantic_module_serves_all_scales_of_a_stage():
    stage = Stage(8).eval()
    x = torch.rand(1, 16, 8, 8)
    _, codes, reconstructions = stage([x] * 4)
    assert all(torch.equal(each, codes[0]) for each in codes)
    assert all(torch.equal(each, reconstructions[0]) for each in reconstructions)
    assert sum(isinstance(module, SemanticModule) for module in stage.modules()) == 1


def test_weights_start_as_the_authors_draw_them():
    torch.manual_seed(0)
    net = MSGA(**SMALL)
    for name, module in net.named_modules():
        if isinstance(module, nn.Conv2d) and module.weight.numel() > 5000:
            fan = sum(nn.init._calculate_fan_in_and_fan_out(module.weight))
            assert float(module.weight.detach().std()) == pytest.approx((2 / fan) ** 0.5, rel=0.1), name
    scales = torch.cat([module.weight.detach() for module in net.modules() if isinstance(module, nn.BatchNorm2d)])
    assert float(scales.mean()) == pytest.approx(1, abs=0.01)
    assert float(scales.std()) == pytest.approx(0.02, rel=0.1)


def test_position_attention_of_a_new_network_contributes_nothing():
    net = small(gamma=0.0).eval()
    x = torch.rand(1, 1, 32, 32)
    before = net(x)
    for module in net.modules():
        if isinstance(module, PositionAttention):
            nn.init.normal_(module.value.weight)
    assert torch.equal(net(x), before)


@pytest.mark.slow
def test_scripted_and_exported_programs_agree_at_another_size():
    net = small().eval()
    card = Card(
        name="msga", app="medseg", network={"class_path": "x"}, channels=("grey",), size_multiple=8, tile=32, overlap=8
    )
    other = torch.rand(1, 1, 48, 40)
    for program in (torch.jit.script(net), exported(net, card).module()):
        torch.testing.assert_close(program(other), net(other))


@pytest.mark.parametrize("size", [(8, 32), (54, 44), (32, 9)])
def test_sizes_that_the_semantic_module_cannot_restore_are_refused_in_one_line(size):
    with pytest.raises(UserError, match="does not fit MSGA; pad its sides to multiples of 8") as caught:
        small().eval()(torch.rand(1, 1, *size))
    assert "\n" not in str(caught.value)


def test_impossible_arguments_are_refused():
    with pytest.raises(ValueError, match="num_classes 1 must be at least 2"):
        MSGA(1, **SMALL)
    with pytest.raises(ValueError, match="did you mean 'resnet18'"):
        MSGA(backbone="resnet-18")
    for backbone in ("vit_tiny_patch16_224", "swin_tiny_patch4_window7_224", "mixer_s32_224"):
        with pytest.raises(ValueError, match="take a ResNet of timm"), torch.device("meta"):
            MSGA(backbone=backbone)


@pytest.mark.parametrize("in_channels", [1, 3])
def test_backbone_starts_from_a_file_of_weights_summed_over_the_colours(tmp_path, in_channels):
    published = timm.create_model("resnet18", num_classes=7)
    torch.save(published.state_dict(), tmp_path / "resnet18.pth")
    net = MSGA(2, in_channels, **SMALL)
    net.load_pretrained(str(tmp_path / "resnet18.pth"))
    assert torch.equal(net.backbone.layer4[1].conv2.weight, published.layer4[1].conv2.weight)
    grey = torch.rand(1, 1, 32, 32)
    expected = F.conv2d(grey.expand(-1, 3, -1, -1), published.conv1.weight, stride=2, padding=3)
    found = net.backbone.conv1(grey.expand(-1, in_channels, -1, -1))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_a_file_of_other_weights_is_refused(tmp_path):
    torch.save(timm.create_model("resnet34").state_dict(), tmp_path / "resnet34.pth")
    with pytest.raises(UserError, match="not part of it"):
        MSGA(2, **SMALL).load_pretrained(str(tmp_path / "resnet34.pth"))

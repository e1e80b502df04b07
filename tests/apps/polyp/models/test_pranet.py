import pytest
import torch
import torch.nn.functional as F

from foveal.apps.polyp.models.pranet import PartialDecoder, PraNet, ReceptiveFieldBlock
from foveal.core.blocks.convolution import ConvNorm
from foveal.core.errors import UserError

SMALL = {"dim": 4, "encoder": "resnet10t"}


@pytest.fixture(scope="module")
def small():
    torch.manual_seed(0)
    return PraNet(**SMALL).eval()


def image(height=64, width=64, batch=1, channels=3):
    return torch.randn(batch, channels, height, width, generator=torch.Generator().manual_seed(1))


def test_the_published_network_has_the_published_number_of_parameters():
    with torch.device("meta"):
        net = PraNet()
    assert sum(parameter.numel() for parameter in net.parameters()) == 30_498_319


def test_four_maps_in_training_and_the_last_of_them_in_evaluation(small):
    x = image(64, 96, batch=2)
    with torch.inference_mode():
        prediction = small(x)
        small.training = True  # the norms stay as they are
        maps = small(x)
        small.training = False
    assert isinstance(maps, tuple)
    assert [each.shape for each in maps] == [(2, 1, 64, 96)] * 4
    assert torch.equal(maps[-1], prediction)
    assert all(not torch.equal(one, prediction) for one in maps[:-1])


@pytest.mark.parametrize(("num_classes", "in_channels"), [(2, 3), (4, 1)])
def test_classes_and_channels(num_classes, in_channels):
    net = PraNet(num_classes, in_channels, **SMALL).eval()
    assert (net.num_classes, net.in_channels, net.size_multiple) == (num_classes, in_channels, 32)
    with torch.inference_mode():
        assert net(image(channels=in_channels)).shape == (1, num_classes, 64, 64)


def test_gradients_reach_every_parameter():
    torch.manual_seed(0)
    net = PraNet(**SMALL).train()
    sum(each.square().sum() for each in net(image(batch=2))).backward()
    assert [name for name, each in net.named_parameters() if each.grad is None or not each.grad.any()] == []


@pytest.mark.parametrize("batch", [1, 2])
def test_gradients_of_the_image_are_those_of_finite_differences(batch):
    torch.manual_seed(0)
    net = PraNet(**SMALL).double().eval()
    x = image(32, 64, batch).double().requires_grad_()
    assert torch.autograd.gradcheck(net, (x,), fast_mode=True, atol=1e-4)


def test_gradients_do_not_depend_on_the_order_in_memory():
    torch.manual_seed(0)
    net = PraNet(**SMALL).double().train()
    other = PraNet(**SMALL).double().train()
    other.load_state_dict(net.state_dict())
    other.to(memory_format=torch.contiguous_format)
    x = image(64, 32, batch=2).double()
    found, expected = (
        torch.autograd.grad(sum(each.square().sum() for each in which(x)), list(which.parameters()))
        for which in (net, other)
    )
    for one, two in zip(found, expected, strict=True):
        assert torch.allclose(one, two, rtol=1e-6, atol=1e-9)


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")
def test_scripted_program_gives_the_same_at_another_size(small, tmp_path):
    torch.jit.save(torch.jit.script(small), tmp_path / "pranet.pt")
    scripted = torch.jit.load(tmp_path / "pranet.pt")
    for x in (image(), image(32, 96, batch=2)):
        with torch.inference_mode():
            assert torch.allclose(scripted(x), small(x), rtol=1e-5, atol=1e-5)


def test_exported_program_gives_the_same_at_another_size(small):
    sizes = {0: torch.export.Dim("batch"), 2: 32 * torch.export.Dim("h"), 3: 32 * torch.export.Dim("w")}
    program = torch.export.export(small, (image(96, 64, batch=2),), dynamic_shapes=(sizes,)).module()
    for x in (image(64, 64, batch=3), image(64, 160, batch=2)):
        with torch.inference_mode():
            assert torch.allclose(program(x), small(x), rtol=1e-5, atol=1e-5)


def test_entry_of_a_receptive_field_block_is_one_for_all_branches():
    torch.manual_seed(0)
    block = ReceptiveFieldBlock(6, 2).eval()
    x = image(9, 7, channels=6)
    parts = []
    for i in range(5):
        entry = ConvNorm(6, 2).eval()
        entry.conv.weight.data = block.entry.conv.weight[2 * i : 2 * i + 2]
        parts.append(entry(x))
    branches = [parts[1], *(branch(part) for branch, part in zip(block.branches, parts[2:], strict=True))]
    expected = F.relu(block.fuse(torch.cat(branches, dim=1)) + parts[0])
    assert torch.allclose(block(x), expected, atol=1e-6)
    assert [branch[2].conv.dilation for branch in block.branches] == [(3, 3), (5, 5), (7, 7)]


def test_partial_decoder_gives_the_size_of_the_finest_map():
    decoder = PartialDecoder(4, 3).eval()
    maps = [torch.randn(2, 4, size, size + 1 * size) for size in (2, 4, 8)]
    assert decoder(*maps).shape == (2, 3, 8, 16)


@pytest.mark.parametrize("size", [(48, 64), (64, 33)])
def test_sizes_that_are_no_multiple_of_32_are_refused(small, size):
    with pytest.raises(ValueError, match="multiples of 32"):
        small(image(*size))


@pytest.mark.parametrize(
    ("encoder", "words"),
    [
        ("res2net50dd", "did you mean 'res2net50d'"),
        ("swin_tiny_patch4_window7_224", "take a ResNet"),
        ("vit_tiny_patch16_224", "take a ResNet"),
    ],
)
def test_encoders_without_such_maps_are_refused(encoder, words):
    with pytest.raises(UserError) as caught:
        PraNet(encoder=encoder)
    assert words in str(caught.value)


def test_no_classes_are_refused():
    with pytest.raises(ValueError, match="num_classes"):
        PraNet(0)


def test_encoder_starts_with_open_residual_branches(small):
    assert all(each.weight.all() for each in small.encoder.modules() if isinstance(each, torch.nn.BatchNorm2d))


def test_weights_of_an_encoder_are_read_from_a_file(tmp_path):
    net, other = PraNet(**SMALL), PraNet(**SMALL)
    weights = other.encoder.state_dict() | {"fc.weight": torch.ones(2, 512), "fc.bias": torch.ones(2)}
    torch.save(weights, tmp_path / "encoder.pth")
    net.load_pretrained(str(tmp_path / "encoder.pth"))
    assert all(torch.equal(net.encoder.state_dict()[name], value) for name, value in other.encoder.state_dict().items())
    with pytest.raises(UserError, match="no such file"):
        net.load_pretrained(str(tmp_path / "missing.pth"))
    torch.save({"conv1.weight": torch.ones(1)}, tmp_path / "other.pth")
    with pytest.raises(UserError, match=r"other\.pth: the weights do not fit"):
        net.load_pretrained(str(tmp_path / "other.pth"))

"""The invariants that stand in for golden cases, as no network is published, and the programs made of it."""

import io
import warnings

import pytest
import timm
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from foveal.apps.medseg.models.medusa import MEDUSA, AttentionBody, AttentionMaps, OpenGate, resize_map
from foveal.core.export.onnx import load as load_onnx
from foveal.core.export.onnx import save as save_onnx
from foveal.core.export.pt2 import exported
from foveal.core.weights.card import Card

SIZES = [(96, 96), (101, 79)]
CARD = Card(name="m", app="medseg", network={"class_path": "foveal.m"}, tile=96, overlap=0, outputs=("no", "yes"))


def build(awake=True, **options):
    torch.manual_seed(0)
    net = MEDUSA(**({"body_size": 64} | options)).double().eval()
    for head in net.heads if awake else ():
        if not isinstance(head, OpenGate):
            nn.init.normal_(head.to_gate.weight, 0, 0.05)
            nn.init.normal_(head.to_gate.bias, 0, 0.05)
    return net


@pytest.fixture(scope="module")
def net():
    return build()


def images(size=(96, 96), count=1, channels=3, seed=1):
    return torch.rand(count, channels, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def body_images(count=1, seed=2):
    return torch.randn(count, 1, 64, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("size", SIZES)
def test_a_fresh_network_is_its_plain_backbone(size):
    net, plain = build(awake=False), timm.create_model("resnet50", num_classes=2).double().eval()
    plain.load_state_dict(net.backbone.state_dict())
    x = images(size)
    assert torch.equal(net(x), plain(x))


def test_open_gates_make_an_awake_network_its_plain_backbone(net):
    x = images()
    assert not torch.allclose(net(x), net.backbone(x), rtol=1e-3)
    opened = build()
    opened.heads = nn.ModuleList(OpenGate() for _ in opened.heads)
    assert torch.equal(opened(x), opened.backbone(x))


def test_the_body_runs_once_and_every_head_gets_its_map(net):
    seen, runs = [], []
    hooks = [head.register_forward_pre_hook(lambda _, args: seen.append(args[1])) for head in net.heads]
    hooks.append(net.body.register_forward_hook(lambda *_: runs.append(1)))
    _, attention, _ = net.attend(images())
    for hook in hooks:
        hook.remove()
    assert len(runs) == 1
    assert len(seen) == 4
    assert all(torch.equal(each, attention) for each in seen)


def test_a_constant_map_makes_the_output_independent_of_the_body_image():
    net = build()
    net.body.forward = torch.zeros_like
    assert torch.equal(net(images(), body_images(seed=3)), net(images(), body_images(seed=4)))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("gate", "highest"), [("neutral", 2), ("sigmoid", 1)])
def test_shapes_and_ranges(size, gate, highest):
    net = build(gate=gate)
    features = []
    hooks = [head.register_forward_pre_hook(lambda _, args: features.append(args[0])) for head in net.heads]
    logits, attention, gates = net.attend(images(size, 2))
    for hook in hooks:
        hook.remove()
    assert logits.shape == (2, 2)
    assert attention.shape == (2, 1, 64, 64)
    assert 0 < attention.min() < attention.max() < 1
    assert [each.shape for each in gates] == [each.shape for each in features]
    assert [each.shape[1] for each in gates] == [256, 512, 1024, 2048]
    assert all(0 < each.min() < each.max() < highest for each in gates)


def test_the_map_has_256_pixels_unless_told_otherwise():
    net = MEDUSA().eval()
    with torch.inference_mode():
        assert net.attend(torch.rand(1, 3, 64, 64))[1].shape == (1, 1, 256, 256)


@pytest.mark.parametrize("changed", range(4))
def test_a_head_changes_what_comes_after_it_and_nothing_before(changed):
    net = build()
    _, _, before = net.attend(images())
    with torch.no_grad():
        net.heads[changed].to_gate.bias += 0.3
    _, _, after = net.attend(images())
    assert [torch.equal(*each) for each in zip(before, after, strict=True)] == [i < changed for i in range(4)]


@pytest.mark.parametrize("count", [1, 2])
def test_gradients_reach_every_parameter(net, count):
    gradients = torch.autograd.grad(net(images(count=count)).sum(), list(net.parameters()))
    names = [name for name, _ in net.named_parameters()]
    assert [name for name, each in zip(names, gradients, strict=True) if not each.abs().sum() > 0] == []


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_the_body_learns_through_each_scale_alone(scale):
    net = build(scales=(scale,))
    gradients = torch.autograd.grad(net(images()).sum(), list(net.body.parameters()))
    assert all(each.abs().sum() > 0 for each in gradients)


def test_at_the_start_only_the_last_convolutions_learn_and_after_a_step_all_do():
    net = build(awake=False)
    attention = {name: each for name, each in net.named_parameters() if name.startswith(("body.", "heads."))}

    def moved():
        net.zero_grad()
        net(images()).sum().backward()
        return {name for name, each in attention.items() if each.grad.abs().sum() > 0}

    assert moved() == {name for name in attention if ".to_gate." in name}
    torch.optim.SGD(net.parameters(), lr=1e-3).step()
    assert moved() == set(attention)


def test_resizing_keeps_a_constant_map_and_the_mean_of_any():
    flat = torch.full((1, 1, 256, 256), 0.3, dtype=torch.float64)
    noise = torch.rand(1, 1, 256, 256, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for side in (120, 60, 30, 15):
        like = torch.empty(1, 5, side, side)
        assert torch.allclose(resize_map(flat, like), torch.tensor(0.3, dtype=torch.float64), rtol=1e-12)
        resized = resize_map(noise, like)
        assert resized.mean().item() == pytest.approx(noise.mean().item(), rel=0.01)
        assert resized.std() < noise.std() * 256**-0.5 * side**0.5  # plain interpolation keeps the noise of its taps


@pytest.mark.parametrize("size", [(120, 15), (26, 20), (2, 3), (300, 64), (64, 256)])
def test_resizing_is_that_of_pytorch(size):
    noise = torch.rand(2, 1, 64, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = nn.functional.interpolate(noise, size, mode="bilinear", antialias=True)
    assert torch.allclose(resize_map(noise, torch.empty(2, 5, *size)), expected, rtol=1e-12)


def test_resizing_to_a_side_of_one_keeps_the_other_side():
    """PyTorch 2.15 gives both rows the same values there."""
    rows = torch.rand(1, 1, 64, 1, dtype=torch.float64).expand(-1, -1, -1, 64)
    expected = nn.functional.interpolate(rows, (2, 3), mode="bilinear", antialias=True)[..., :1]
    assert torch.allclose(resize_map(rows, torch.empty(1, 5, 2, 1)), expected, rtol=1e-12)


def test_a_sample_does_not_depend_on_its_neighbours(net):
    x = images(count=3)
    together = net(x)
    order = torch.tensor([2, 0, 1])
    assert torch.allclose(net(x[order]), together[order], rtol=1e-12)
    assert torch.allclose(net(x[1:2]), together[1:2], rtol=1e-12)


def test_both_images_matter(net):
    logits, attention, _ = net.attend(images(), body_images())
    other_body, other_map, _ = net.attend(images(), body_images(seed=5))
    assert not torch.allclose(other_body, logits, rtol=1e-9)
    assert not torch.allclose(other_map, attention)
    other_image, same_map, _ = net.attend(images(seed=6), body_images())
    assert not torch.allclose(other_image, logits)
    assert torch.equal(same_map, attention)


def test_the_budget_is_as_stated():
    with torch.device("meta"):
        net = MEDUSA()

    def count(part):
        return sum(each.numel() for each in part.parameters())

    assert count(net) == 28_940_259
    assert count(net.body) == 5_140_001
    assert [count(head) for head in net.heads] == [26_272, 42_912, 76_192, 142_752]
    with FlopCounterMode(display=False) as counter:
        net(torch.empty(1, 3, 480, 480, device="meta"))
    assert counter.get_total_flops() / 2e9 == pytest.approx(30.8, rel=0.01)


def test_the_backbone_has_the_names_of_torchvision():
    theirs = {name for name, _ in timm.create_model("resnet50").named_parameters()}
    assert {name for name, _ in MEDUSA().backbone.named_parameters()} == theirs
    assert {"conv1.weight", "layer4.2.bn3.weight", "layer1.0.downsample.0.weight", "fc.bias"} <= theirs


def spots(count, generator):
    """Bright distractor fields; half of them with a faint spot, whose mask is the second result."""
    coarse = torch.rand(count, 1, 4, 4, generator=generator)
    field = 0.45 + 0.3 * nn.functional.interpolate(coarse, size=64, mode="bicubic", align_corners=False)
    labels = torch.arange(count) % 2
    rows, columns = torch.randint(12, 52, (2, count, 1, 1), generator=generator)
    grid = torch.arange(64)
    near = ((grid[:, None] - rows) ** 2 + (grid[None] - columns) ** 2 < 36)[:, None]
    image = field + 0.25 * near * labels.view(-1, 1, 1, 1)
    return image.clamp(0, 1).expand(-1, 3, -1, -1), labels, near


@pytest.mark.slow
def test_a_short_training_finds_faint_spots_and_looks_at_them():
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    net = MEDUSA(backbone="resnet18", body_size=64, widths=(8, 16, 16))
    image, labels, near = spots(64, generator)
    optimizer = torch.optim.AdamW(
        [
            {"params": [*net.backbone.parameters(), *net.body.parameters()]},
            {"params": net.heads.parameters(), "lr": 1e-2},
        ],
        lr=2e-3,
    )
    losses = []
    for step in range(60):
        chosen = torch.arange(16) + 16 * (step % 4)
        loss = nn.functional.cross_entropy(net(image[chosen]), labels[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-4:]) / 4 < 0.1
    with torch.no_grad():
        attention = net.eval().attend(image)[1]
    sick = labels.bool()
    assert attention[sick][near[sick]].mean() > attention[sick][~near[sick]].mean()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scales": ()}, "scales must be"),
        ({"scales": (0, 1)}, "scales must be"),
        ({"gate": "open"}, "gate must be"),
        ({"body_size": 100}, "body_size must be a multiple of 16"),
        ({"backbone": "resnet51"}, "no network 'resnet51'"),
        ({"backbone": "swin_tiny_patch4_window7_224"}, "cannot be cut"),
        ({"backbone": "vit_tiny_patch16_224"}, "cannot be cut"),
    ],
)
def test_impossible_arguments_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        MEDUSA(**options)


def test_a_body_image_of_a_wrong_side_is_refused():
    with pytest.raises(ValueError, match="multiples of 16, not 64 x 72"):
        AttentionBody()(torch.rand(1, 1, 64, 72))


@pytest.mark.parametrize("backbone", ["resnet18", "regnetx_002", "convnext_atto"])
@pytest.mark.parametrize("channels", [1, 3])
def test_other_backbones_and_grey_images(backbone, channels):
    net = MEDUSA(3, channels, backbone, body_size=32, widths=(4, 8)).eval()
    x = torch.rand(1, channels, 64, 48)
    logits, _, gates = net.attend(x)
    assert logits.shape == (1, 3)
    assert torch.allclose(logits, net.backbone(x), atol=1e-5)
    assert len(gates) == 4


def test_the_body_sees_the_grey_image_with_mean_0_and_deviation_1():
    net = MEDUSA(backbone="resnet18", body_size=64, widths=(4, 8)).double()
    x = images((64, 64), 2)
    grey = 0.299 * x[:, 0] + 0.587 * x[:, 1] + 0.114 * x[:, 2]
    expected = (grey - grey.mean((1, 2), keepdim=True)) / grey.std((1, 2), keepdim=True, correction=0)
    assert torch.allclose(net.body_image(x)[:, 0], expected, rtol=1e-4, atol=1e-4)


def small():
    torch.manual_seed(0)
    net = MEDUSA(backbone="resnet18", body_size=32, widths=(4, 8)).eval()
    for head in net.heads:
        nn.init.normal_(head.to_gate.weight, 0, 0.05)
    return net


def test_a_script_gives_the_same_with_its_maps():
    net = small()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        file = io.BytesIO()
        torch.jit.save(torch.jit.script(net), file)
        file.seek(0)
        script = torch.jit.load(file)
    with torch.inference_mode():
        for size in SIZES:
            x = torch.rand(1, 3, *size)
            assert torch.allclose(script(x), net(x), atol=1e-5)
            for found, expected in zip(script.attend(x)[2], net.attend(x)[2], strict=True):
                assert torch.allclose(found, expected, atol=1e-5)


@pytest.mark.slow
def test_an_exported_graph_gives_the_same_at_any_size(tmp_path):
    net = small().requires_grad_(False)
    program, maps = exported(net, CARD).module(), exported(AttentionMaps(net), CARD).module()
    save_onnx(net, CARD, tmp_path / "m.onnx")
    run = load_onnx(tmp_path / "m.onnx", torch.device("cpu"))
    for count, *size in [(2, 96, 96), (1, 101, 79), (1, 43, 20)]:
        x = torch.rand(count, 3, *size)
        assert torch.allclose(program(x), net(x), atol=1e-5)
        assert torch.allclose(run(x), net(x), atol=1e-4)
        for found, expected in zip(maps(x), AttentionMaps(net)(x), strict=True):
            assert torch.allclose(found, expected, atol=1e-5)


def test_half_precision_runs_on_the_cpu():
    net = small()
    x = torch.rand(1, 3, 64, 64)
    with torch.autocast("cpu", torch.bfloat16):
        loss = net.train()(x.expand(2, -1, -1, -1)).float().sum()
    loss.backward()
    assert all(each.grad.isfinite().all() for each in net.parameters())


def test_the_maps_have_the_size_of_the_image():
    logits, attention, gates = AttentionMaps(small())(torch.rand(2, 3, 50, 40))
    assert (logits.shape, attention.shape, gates.shape) == ((2, 2), (2, 1, 50, 40), (2, 4, 50, 40))

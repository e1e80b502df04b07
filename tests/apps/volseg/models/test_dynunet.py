import pytest
import torch
from torch import nn

from foveal.apps.volseg.models.dynunet import DynUNet, planned
from foveal.core.losses.deep_supervision import DeepSupervision
from foveal.core.losses.segmentation import SegmentationLoss
from foveal.core.weights.card import Card
from foveal.core.weights.load import load_model, save_weights

SMALL = {"num_classes": 3, "patch": (16, 64, 64), "spacing": (3.0, 1.0, 1.0), "dim": 4, "max_dim": 12}


@pytest.fixture(scope="module")
def small():
    torch.manual_seed(0)
    return DynUNet(**SMALL).eval()


def image(*sizes, batch=1, channels=1):
    return torch.randn(batch, channels, *sizes, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("patch", "spacing", "kernels", "strides"),
    [
        ((128, 128, 128), (1, 1, 1), "333 333 333 333 333 333", "111 222 222 222 222 222"),
        # the prostate data of the Decathlon as nnU-Net plans it
        ((20, 320, 256), (3.6, 0.625, 0.625), "133 133 333 333 333 333 333", "111 122 122 222 222 122 122"),
        ((48, 192, 192), (3.0, 0.8, 0.8), "133 333 333 333 333 333", "111 122 222 222 222 122"),
        ((8, 8, 11), (1, 1, 1), "333 333", "111 222"),
        ((7, 8, 7), (1, 1, 1), "333", "111"),  # one axis alone must leave half as much again
        ((7, 12, 7), (1, 1, 1), "333 333", "111 121"),
    ],
)
def test_kernels_and_strides_are_those_of_nnunet(patch, spacing, kernels, strides):
    told = [" ".join("".join(map(str, each)) for each in plan) for plan in planned(patch, spacing)]
    assert told == [kernels, strides]


def test_the_usual_network_has_as_many_parameters_as_nnunets_in_monai():
    with torch.device("meta"):
        net = DynUNet()
    assert sum(each.numel() for each in net.parameters()) == 31_190_312
    assert net.size_multiple == (32, 32, 32)
    assert len(net.heads) == 4


def test_attributes(small):
    assert (small.num_classes, small.in_channels, small.size_multiple) == (3, 1, (4, 16, 16))


def test_resolutions_in_training_and_the_whole_one_in_evaluation(small):
    x = image(16, 32, 32, batch=2)
    with torch.inference_mode():
        prediction = small(x)
        levels = small.train()(x)
        small.eval()
    assert [tuple(each.shape[2:]) for each in levels] == [(16, 32, 32), (16, 16, 16), (8, 8, 8)]
    assert torch.equal(levels[0], prediction)


def test_one_supervised_resolution_is_no_list():
    net = DynUNet(**SMALL, supervised=1)
    assert net(image(16, 32, 32)).shape == (1, 3, 16, 32, 32)


@pytest.mark.parametrize("batch", [1, 2])
def test_gradients_reach_every_parameter(batch):
    torch.manual_seed(0)
    net = DynUNet(**SMALL, in_channels=2)
    target = torch.randint(3, (batch, 16, 32, 32), generator=torch.Generator().manual_seed(0))
    DeepSupervision(SegmentationLoss())(net(image(16, 32, 32, batch=batch, channels=2)), target).backward()
    without = [name for name, each in net.named_parameters() if each.grad is None or not each.grad.any()]
    assert all(name.endswith("bias") for name in without)  # of convolutions before a norm


def test_gradients_at_batch_size_one_are_those_of_norms_written_out(monkeypatch):
    torch.manual_seed(0)
    net = DynUNet(**SMALL).double().eval()
    x = image(16, 32, 32).double().requires_grad_()
    probe = torch.randn_like(net(x))
    wanted = [x, *(each for name, each in net.named_parameters() if not name.startswith("heads.1"))]
    found = torch.autograd.grad(net(x), wanted, probe, allow_unused=True)
    monkeypatch.setattr(nn.InstanceNorm3d, "forward", written_out)
    expected = torch.autograd.grad(net(x), wanted, probe, allow_unused=True)
    for ours, theirs in zip(found, expected, strict=True):
        if theirs is not None:
            torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-9)


def written_out(norm, x):
    variance, mean = torch.var_mean(x, (2, 3, 4), correction=0, keepdim=True)
    scale, shift = (each[:, None, None, None] for each in (norm.weight, norm.bias))
    return (x - mean) * (variance + norm.eps).rsqrt() * scale + shift


def test_weights_come_back_from_a_file(small, tmp_path):
    card = Card(
        name="dynunet",
        app="volseg",
        network={"class_path": f"{DynUNet.__module__}.DynUNet", "init_args": SMALL},
        dimensions=3,
        channels=("CT",),
        size_multiple=small.size_multiple,
        tile=(16, 32, 32),
        overlap=(8, 16, 16),
    )
    save_weights(small, card, tmp_path / "dynunet.safetensors")
    x = image(16, 32, 32)
    with torch.inference_mode():
        assert torch.equal(load_model(tmp_path / "dynunet.safetensors")(x), small(x))


@pytest.mark.parametrize(
    ("options", "words"),
    [({"patch": (8, 8, 8)}, "too small"), ({"supervised": 0}, "must be 1 to 4"), ({"supervised": 5}, "1 to 4")],
)
def test_impossible_options_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        DynUNet(**SMALL | options)


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")
def test_scripted_program_gives_the_same_at_another_size(small):
    scripted = torch.jit.script(small)
    for x in (image(16, 32, 32), image(8, 48, 16, batch=2)):
        for _ in range(2):  # the second run is the optimised one
            with torch.inference_mode():
                torch.testing.assert_close(scripted(x), small(x), rtol=1e-4, atol=1e-5)

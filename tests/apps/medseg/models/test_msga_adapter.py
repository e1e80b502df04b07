"""The authors' MSGA weights in our module: names, what is dropped, what is read from the shapes."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from foveal.apps.medseg.models.msga import MSGA
from foveal.apps.medseg.models.msga_adapter import UNUSED, recognises
from foveal.core.errors import UserError
from foveal.core.weights.load import load_model, load_reference

CASE = Path(__file__).parents[3] / "golden" / "msga_stacked.npz"
UNUSED_PARAMETERS = 955_412


def published_shapes():
    """The names and shapes of the authors' file, as the golden case lists them."""
    with np.load(CASE) as data:
        return {name: tuple(shape) for name, shape in json.loads(data["header"].tobytes())["shapes"].items()}


def reference_state(device="cpu"):
    generator = None if device == "meta" else torch.Generator().manual_seed(0)
    return {name: torch.randn(shape, generator=generator, device=device) for name, shape in published_shapes().items()}


@pytest.fixture(scope="module")
def state():
    return reference_state()


def test_unused_layers_are_those_that_the_authors_never_use():
    unused = {name: shape for name, shape in published_shapes().items() if UNUSED.match(name)}
    parameters = [shape for name, shape in unused.items() if "running_" not in name]
    assert sum(int(np.prod(shape)) for shape in parameters) == UNUSED_PARAMETERS


def test_every_used_value_arrives_under_its_new_name(state):
    net = load_reference("msga", state)
    ours = {name: value for name, value in net.state_dict().items() if not name.endswith("num_batches_tracked")}
    used = [name for name in state if not UNUSED.match(name)]
    assert len(ours) == len(used)
    assert {float(value.flatten()[0]) for value in ours.values()} == {float(state[name].flatten()[0]) for name in used}
    for found, name in [
        (net.backbone.layer1[2].conv2.weight, "resnext.layer1.1.2.conv2.weight"),
        (net.backbone.layer3[22].bn3.bias, "resnext.layer3.22.bn3.bias"),
        (net.down[3][0].weight, "down4.0.weight"),
        (net.down[0][2].weight, "down1.2.weight"),
        (net.fuse[2][1].bias, "fuse1.fuse_attn.7.bias"),
        (net.heads1[0].bias, "predict1.bias"),
        (net.heads2[3].bias, "predict4_2.bias"),
        (net.stage1.scales[1].position[1].value.bias, "pam_attention_1_2.attn.3.value_conv.bias"),
        (net.stage2.scales[3].channel[1].gamma, "cam_attention_2_4.attn.3.gamma"),
        (net.stage2.scales[0].channel[2][1].bias, "cam_attention_2_1.attn.5.bias"),
        (net.stage1.scales[0].gate.bias, "conv_sem_1_4.bias"),  # counted from the coarsest scale
        (net.stage2.scales[3].gate.bias, "conv_sem_2_1.bias"),
        (net.stage1.scales[2].project.bias, "conv8_2.bias"),
        (net.stage2.scales[2].project.bias, "conv8_12.bias"),
        (net.stage2.semantic.encode2[1][0].bias, "semanticModule_2_1.enc2.encode.3.bias"),
        (net.stage1.semantic.decode1[2].weight, "semanticModule_1_1.dec1.decode.6.weight"),
    ]:
        assert torch.equal(found, state[name]), name


def test_published_file_is_recognised_and_described(tmp_path, state):
    norms = {name.removesuffix(".running_var") for name in state if name.endswith(".running_var")}
    whole = state | {f"{name}.num_batches_tracked": torch.tensor(7) for name in norms}
    torch.save(whole, tmp_path / "msga.pth")
    net = load_model(tmp_path / "msga.pth")
    assert isinstance(net, MSGA)
    assert net.fuse[0][1].num_batches_tracked == 7
    assert net.card.channels == ("grey",)
    assert net.card.outputs == ("background", "liver", "right kidney", "left kidney", "spleen")
    assert net.card.network["init_args"] == {
        "num_classes": 5, "in_channels": 1, "backbone": "resnext101_32x8d", "dim": 64,
    }  # fmt: skip


def test_other_classes_and_channels_are_read_from_the_shapes():
    state = reference_state("meta")
    for scale in range(1, 5):
        for name in (f"predict{scale}", f"predict{scale}_2"):
            state |= {f"{name}.weight": torch.empty(2, 64, 1, 1), f"{name}.bias": torch.empty(2)}
    state["resnext.layer0.0.weight"] = torch.empty(64, 3, 7, 7)
    with torch.device("meta"):
        net = load_reference("msga", {name: value.to("meta") for name, value in state.items()})
    assert (net.num_classes, net.in_channels) == (2, 3)
    assert [label.name for label in net.card.labels] == ["class 1"]
    assert net.card.channels == ("red", "green", "blue")


def test_names_of_others_are_not_recognised():
    assert recognises(published_shapes())
    assert not recognises(MSGA(backbone="resnet18", dim=8).state_dict())
    assert not recognises(["resnext.layer0.0.weight"])


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"clases": 5}, "unknown MSGA option 'clases'; did you mean 'classes'"),
        ({"classes": 4}, "the weights do not fit MSGA"),
        ({"classes": 1}, "num_classes 1 must be at least 2"),
        ({"backbone": "resnet18"}, "the weights do not fit MSGA"),
        ({"backbone": "resnext999"}, "timm has no network 'resnext999'"),
    ],
)
def test_configs_that_do_not_fit_are_refused(config, words):
    with torch.device("meta"), pytest.raises(UserError) as caught:
        load_reference("msga", reference_state("meta"), config)
    assert words in str(caught.value)


def test_incomplete_weights_are_refused():
    state = reference_state("meta")
    del state["down2.0.bias"]
    with torch.device("meta"), pytest.raises(UserError, match=r"missing down\.1\.0\.bias"):
        load_reference("msga", state)
    with pytest.raises(UserError, match="no weights of MSGA"):
        load_reference("msga", {"conv.weight": torch.ones(1)})

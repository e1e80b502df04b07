"""The authors' MPU-Net weights in our module: names, arguments read from shapes, unused modules left out."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from foveal.apps.volseg.models.mpunet import MPUNet
from foveal.apps.volseg.models.mpunet_adapter import recognises
from foveal.core.errors import UserError
from foveal.core.weights.load import load_model, load_reference

GOLDEN = Path(__file__).parents[3] / "golden" / "mpunet_liver_tumour.npz"


@pytest.fixture(scope="module")
def state():
    """Constant values under the authors' names and shapes."""
    with np.load(GOLDEN) as case:
        shapes = json.loads(case["header"].tobytes())["shapes"]
    return {name: torch.full(shape, float(i % 97)) for i, (name, shape) in enumerate(shapes.items())}


def test_every_value_arrives_under_its_new_name(state):
    net = load_reference("mpunet", state)
    for ours, theirs in [
        (net.first[0].weight, "encoder1.encoder_stage.0.weight"),
        (net.first[3].weight, "encoder1.encoder_stage.3.weight"),
        (net.downsampling[3][1].bias, "down4.down_conv.1.bias"),
        (net.encoder[0].convolutions[2].weight, "encoder2.encoder_stage.2.weight"),
        (net.bottom[0][2].running_var, "down5.down_conv.2.running_var"),
        (net.bottom[1][2].weight, "PCL.attn.2.weight"),
        (net.bottom[1][3].value.bias, "PCL.attn.3.value_conv.bias"),
        (net.bottom[1][3].gamma, "PCL.attn.3.gamma"),
        (net.deepest.convolutions[4].weight, "decoder1.decoder_stage.4.weight"),
        (net.deepest.gate.of_map[0].weight, "Att4.Wx.0.weight"),
        (net.upsampling[0][0].weight, "up2.up_conv.0.weight"),
        (net.upsampling[2][1].weight, "up4.up_conv.1.weight"),
        (net.decoder[0].gate.of_gate[1].weight, "Att3.Wg.1.weight"),
        (net.decoder[2].gate.score[1].running_mean, "Att1.psi.1.running_mean"),
        (net.decoder[2].convolutions[0].bias, "decoder4.decoder_stage.0.bias"),
        (net.sides[0].classify.weight, "map1.map_conv.0.weight"),
    ]:
        assert torch.equal(ours, state[theirs]), theirs


def test_whole_checkpoint_counts_as_published(state):
    buffers = ("running_mean", "running_var", "num_batches_tracked")
    assert sum(each.numel() for name, each in state.items() if not name.endswith(buffers)) == 22_557_496


def test_arguments_are_read_from_the_weights(state):
    with torch.device("meta"):
        published = MPUNet(3)
    net = load_reference("mpunet", state, {"in_channels": 1, "out_channels": 3})
    shapes = {name: value.shape for name, value in net.state_dict().items()}
    assert shapes == {name: value.shape for name, value in published.state_dict().items()}
    assert not net.training


def test_file_is_recognised_and_has_a_card(state, tmp_path):
    torch.save({"state_dict": {f"module.{name}": value for name, value in state.items()}}, tmp_path / "mpunet.pth")
    card = load_model(tmp_path / "mpunet.pth").card
    assert (card.name, card.app, card.dimensions) == ("mpunet", "volseg", 3)
    assert (card.tile, card.overlap, card.size_multiple) == ((48, 256, 256), (24, 128, 128), 8)
    assert (card.intensity, card.value_range) == ({"window": [-200.0, 200.0]}, (-1.0, 1.0))
    assert (card.probabilities, card.activation) == (True, "argmax")
    assert [label.name for label in card.labels] == ["liver", "tumour"]
    assert not recognises(["PCL.attn.3.gamma"])


@pytest.mark.parametrize(
    ("config", "words"),
    [({"out_channel": 3}, "did you mean 'out_channels'"), ({"out_channels": 2}, "the weights are for 3")],
)
def test_configs_that_do_not_fit_are_refused(state, config, words):
    with pytest.raises(UserError) as caught:
        load_reference("mpunet", state, config)
    assert words in str(caught.value)


@pytest.mark.parametrize(("name", "words"), [("map1.map_conv.0.weight", "no weights"), ("Att4.Wx.0.bias", "missing")])
def test_incomplete_weights_are_refused(state, name, words):
    with pytest.raises(UserError, match=words):
        load_reference("mpunet", {each: value for each, value in state.items() if each != name})

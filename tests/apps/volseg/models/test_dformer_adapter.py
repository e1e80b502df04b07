"""The authors' D-Former weights in our module: names, arguments read from shapes, the head left out."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from foveal.apps.volseg.models.dformer import DFormer
from foveal.apps.volseg.models.dformer_adapter import recognises
from foveal.core.errors import UserError
from foveal.core.weights.load import load_model, load_reference
from foveal.data.datasets.synapse import Synapse

GOLDEN = Path(__file__).parents[3] / "golden" / "dformer_synapse.npz"


@pytest.fixture(scope="module")
def state():
    """Constant values under the authors' names and shapes."""
    with np.load(GOLDEN) as case:
        shapes = json.loads(case["header"].tobytes())["shapes"]
    return {name: torch.full(shape, float(i % 97)) for i, (name, shape) in enumerate(shapes.items())}


def test_every_value_arrives_under_its_new_name(state):
    net = load_reference("dformer", state)
    for ours, theirs in [
        (net.embedding.project.bias, "model_down.patch_embed.proj.bias"),
        (net.encoder[2].blocks[5].mlp[3].weight, "model_down.layers.2.blocks.5.mlp.fc2.weight"),
        (net.merging[1].reduction.weight, "model_down.layers.1.downsample.reduction.weight"),
        (net.bottleneck.blocks[1].mixer.proj.weight, "model_down.layers.3.blocks.1.attn.proj.weight"),
        (net.bottleneck_norm.weight, "model_down.norm.weight"),
        (net.expansions[0].expand.weight, "model_down.layers_up.0.expand.weight"),
        (net.expansions[2].norm.bias, "model_down.layers_up.2.upsample.norm.bias"),
        (net.fusions[0].weight, "model_down.concat_back_dim.1.weight"),
        (net.decoder[2].position.weight, "model_down.layers_up.3.pos_block.proj.0.weight"),
        (net.norm.bias, "model_down.norm_up.bias"),
        (net.heads[1].expansion.expand.weight, "final.1.0.expand.weight"),
        (net.heads[0].classify.weight[..., None, None, None], "final.0.1.weight"),
    ]:
        assert torch.equal(ours, state[theirs]), theirs


def test_arguments_are_read_from_the_weights(state):
    with torch.device("meta"):
        published = DFormer()
    net = load_reference("dformer", state, {"deep_supervision": True, "num_heads": [3, 6, 12, 24]})
    shapes = {name: value.shape for name, value in net.state_dict().items()}
    assert shapes == {name: value.shape for name, value in published.state_dict().items()}
    assert [each.interval for stage in net.encoder for each in [stage.blocks[1].mixer]] == [8, 4, 2]
    assert net.bottleneck.blocks[0].mixer.heads == 24
    assert len(load_reference("dformer", state, {"deep_supervision": False}).heads) == 1


def test_file_is_recognised_and_has_a_card(state, tmp_path):
    torch.save({"state_dict": state}, tmp_path / "dformer.pth")
    card = load_model(tmp_path / "dformer.pth").card
    assert (card.name, card.app, card.dimensions) == ("dformer", "volseg", 3)
    assert (card.tile, card.size_multiple) == ((64, 128, 128), (16, 32, 32))
    assert [label.name for label in card.labels] == list(Synapse.classes)
    assert not recognises(["final.0.1.weight"])


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"num_head": [3, 6, 12, 24]}, "did you mean 'num_heads'"),
        ({"num_heads": [5, 6, 12, 24]}, "heads 5 must divide dim 96"),
    ],
)
def test_configs_that_do_not_fit_are_refused(state, config, words):
    with pytest.raises(UserError) as caught:
        load_reference("dformer", state, config)
    assert words in str(caught.value)


@pytest.mark.parametrize(("name", "words"), [("final.0.1.weight", "no weights"), ("model_down.norm.bias", "missing")])
def test_incomplete_weights_are_refused(state, name, words):
    with pytest.raises(UserError, match=words):
        load_reference("dformer", {each: value for each, value in state.items() if each != name})

import time

import pytest
import timm
import torch
import torch.nn.functional as F
from huggingface_hub import constants
from safetensors.torch import save_file

from foveal.apps.wsi.colour_texture import ColourTexture
from foveal.apps.wsi.encoders import open_encoder
from foveal.core.errors import UserError
from foveal.tests.fixtures.slide import stained

SMALL = "test_resnet.r160_in1k"


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return timm.create_model(SMALL).eval()


@pytest.fixture(scope="module")
def weights(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "small.pth"
    torch.save(network.state_dict(), path)
    return path


@pytest.fixture
def tiles():
    return torch.from_numpy(stained(240, 320, seed=1)).unfold(0, 80, 80).unfold(1, 80, 80).flatten(0, 1).movedim(1, 3)


def test_colour_texture_is_the_same_when_a_tile_is_turned_or_mirrored(tiles):
    encoder = open_encoder("colour-texture")
    found = encoder(tiles)
    assert found.shape == (12, encoder.dim) == (12, 56)
    assert found.isfinite().all()
    torch.testing.assert_close(encoder(tiles.rot90(1, (1, 2))), found, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(encoder(tiles.flip(1)), found, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(encoder(tiles[:1]), found[:1], atol=1e-6, rtol=1e-6)


def test_colour_texture_tells_glass_from_stroma_and_nuclei():
    features = ColourTexture()
    pixels = torch.tensor([(243, 243, 243), (225, 150, 190), (90, 60, 140)]) / 255
    found = features(pixels[:, :, None, None].expand(3, 3, 32, 32))
    torch.testing.assert_close(found[:, :3], pixels)
    haematoxylin, eosin = found[:, 6], found[:, 7]
    assert haematoxylin.argmax() == 2
    assert haematoxylin[0] < 0.1
    assert eosin[1] > eosin[0] + 0.1
    assert (found[:, 12 + 16 + 4 + 9] == 0).all()  # a flat tile has but the pattern of no brighter neighbour
    assert (found[:, 12 + 16 + 4] == 1).all()


def test_patterns_are_those_of_the_definition():
    features = ColourTexture()
    assert features.pattern_of.sum(dim=0).tolist() == [1, *[8] * 7, 1, 198]
    edge = torch.zeros(1, 9, 9)
    edge[:, :, 5:] = 1
    shares = features._patterns(edge)[0] * 49
    assert shares.round().tolist() == [42, 0, 0, 7, 0, 0, 0, 0, 0, 0]  # left of the edge three neighbours are brighter


def test_a_network_of_timm_with_weights_from_a_file(network, weights, tiles, tmp_path):
    encoder = open_encoder(SMALL, weights)
    facts = network.pretrained_cfg
    assert (encoder.mean, encoder.std, encoder.size) == (facts["mean"], facts["std"], (160, 160))
    x = tiles.permute(0, 3, 1, 2) / 255
    x = F.interpolate(x, (160, 160), mode=encoder.interpolation, antialias=True).clamp(0, 1)
    x = (x - torch.tensor(facts["mean"])[:, None, None]) / torch.tensor(facts["std"])[:, None, None]
    with torch.no_grad():
        expected = network.forward_head(network.forward_features(x), pre_logits=True)
    torch.testing.assert_close(encoder(tiles), expected)
    assert encoder.dim == expected.shape[1]
    assert not any(each.requires_grad for each in encoder.module.parameters())


def test_the_digest_is_that_of_the_weights_and_not_of_the_file(network, weights, tmp_path):
    other = tmp_path / "other.safetensors"
    save_file({f"backbone.{name}": value.contiguous() for name, value in network.state_dict().items()}, other)
    digest = open_encoder(SMALL, weights).digest
    assert open_encoder(SMALL, other).digest == digest
    state = network.state_dict()
    state["conv1.weight" if "conv1.weight" in state else next(iter(state))] *= 1.01
    torch.save(state, tmp_path / "changed.pth")
    assert open_encoder(SMALL, tmp_path / "changed.pth").digest != digest
    assert open_encoder("colour-texture").digest == open_encoder("colour-texture").digest


def test_large_transformers_of_pathology_have_layer_scale(tmp_path):
    torch.manual_seed(0)
    state = timm.create_model("test_vit", init_values=1e-5).state_dict()
    torch.save({"teacher": {}, "state_dict": state}, tmp_path / "vit.pth")
    assert open_encoder("test_vit", tmp_path / "vit.pth").dim == 64


def refused(name, weights=None):
    with pytest.raises(UserError) as caught:
        open_encoder(name, weights)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_weights_that_cannot_be_fetched_are_told_at_once(monkeypatch):
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    begun = time.monotonic()
    told = refused(SMALL)
    assert time.monotonic() - begun < 5
    assert told.startswith(f"--encoder {SMALL}: its weights cannot be had from timm/{SMALL} (the hub does not answer")
    assert "--encoder_weights FILE" in told
    assert "from Nobody/Nothing (the hub" in refused("hf-hub:Nobody/Nothing")


def test_names_and_files_that_do_not_fit_are_told(weights, tmp_path):
    assert refused("resnet19").endswith("timm has no such network; did you mean 'resnet18'?")
    assert "timm has no such weights of resnet18; there is a1_in1k" in refused("resnet18.nope")
    assert refused(SMALL, tmp_path / "gone.pth").endswith("gone.pth: there is no such file.")
    assert "small.pth: the weights do not fit" in refused("test_vit", weights)
    assert "is made by hand and has none" in refused("colour-texture", weights)
    (tmp_path / "text.pth").write_text("no weights")
    assert "text.pth: is no weights file" in refused(SMALL, tmp_path / "text.pth")

import re

import pytest
import torch

import foveal
from foveal.apps.udc.discriminator import PixelDiscriminator
from foveal.apps.udc.models.mpgnet import MPGNet
from foveal.apps.udc.models.mpgnet_adapter import BLUR, RENAMES, VERDICT
from foveal.core.errors import UserError


def theirs(net):
    """Our state by the authors' names."""
    state = {}
    places = {f"blur.layers.{ours}.": f"psf.model.{theirs}." for theirs, ours in BLUR.items()}
    back = [(re.sub(r"\\", "", new), re.sub(r"[\^\\]", "", old)) for old, new in (*VERDICT, *RENAMES) if "(" not in old]
    for name, value in net.state_dict().items():
        for ours, original in places.items():
            name = name.replace(ours, original) if name.startswith(ours) else name
        name = re.sub(r"^(psf\.model\.1[0-8])\.conv\.", r"\1.conv_block.1.", name)
        name = re.sub(r"^(psf\.model\.1[0-8])\.norm\.", r"\1.conv_block.2.", name)
        for ours, original in sorted(back, key=lambda pair: -len(pair[0])):
            if name.startswith(ours):
                name = original + name.removeprefix(ours)
                break
        state[name] = value
    return state


@pytest.mark.parametrize(("config", "display"), [({}, "poled"), ({"class": "MPGNet_T"}, "toled")])
def test_a_generator_comes_back_as_it_was(config, display):
    torch.manual_seed(0)
    net = MPGNet(display)
    loaded = foveal.load_reference("mpgnet", theirs(net), config)
    assert loaded.display == display
    assert loaded.card.name == f"mpgnet-{display}"
    assert all(torch.equal(value, net.state_dict()[name]) for name, value in loaded.state_dict().items())


def test_a_discriminator_comes_back_as_it_was():
    net = PixelDiscriminator(dim=4)
    loaded = foveal.load_reference("mpgnet", theirs(net), {"num_feat": 4, "num_in_ch": 6})
    assert all(torch.equal(value, net.state_dict()[name]) for name, value in loaded.state_dict().items())


@pytest.mark.parametrize(
    ("config", "words"),
    [({"class": "MPGNet_Q"}, "unknown MPGNet class 'MPGNet_Q'"), ({"klass": 1}, "unknown MPGNet option 'klass'")],
)
def test_wrong_options_are_refused(config, words):
    with pytest.raises(UserError, match=words):
        foveal.load_reference("mpgnet", theirs(MPGNet()), config)


def test_other_weights_are_refused():
    with pytest.raises(UserError, match="these are no weights of MPGNet"):
        foveal.load_reference("mpgnet", {"a.weight": torch.zeros(1)})

import pytest
import torch

from foveal.core.baselines.unet import Unet
from foveal.core.errors import UserError
from foveal.core.weights import pretrained


def test_the_encoder_alone_begins_with_weights_of_a_file(tmp_path):
    torch.manual_seed(0)
    net, other = Unet("resnet18", 3, 2), Unet("resnet18", 3, 5)
    head, decoder = net.net.segmentation_head[0].weight.clone(), net.net.decoder.blocks[0].conv1[0].weight.clone()
    torch.save(other.net.encoder.state_dict() | {"fc.weight": torch.ones(1000, 512)}, tmp_path / "resnet18.pth")
    net.load_pretrained(tmp_path / "resnet18.pth")
    for found, expected in zip(net.net.encoder.parameters(), other.net.encoder.parameters(), strict=True):
        assert torch.equal(found, expected)
    assert torch.equal(net.net.segmentation_head[0].weight, head)
    assert torch.equal(net.net.decoder.blocks[0].conv1[0].weight, decoder)
    with pytest.raises(UserError, match=r"resnet18\.pth: the weights do not fit"):
        Unet("resnet34").load_pretrained(tmp_path / "resnet18.pth")


def test_published_weights_that_cannot_be_had_are_told(monkeypatch):
    def refuse():
        raise OSError("no network")

    monkeypatch.setattr(pretrained, "hub_or_cache", refuse)
    with pytest.raises(UserError, match=r"cannot be downloaded \(no network\); give a file"):
        Unet("resnet18").load_pretrained()

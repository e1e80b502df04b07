import pytest
import timm
import torch

from foveal.apps.medseg.backbone import Backbone
from foveal.apps.medseg.models.medusa import MEDUSA
from foveal.apps.medseg.models.timm_classifier import TimmClassifier
from foveal.core.errors import UserError


def test_the_plain_network_has_the_weights_of_medusas_backbone():
    medusa, plain = MEDUSA(backbone="resnet18").eval(), TimmClassifier("resnet18").eval()
    plain.backbone.load_state_dict(medusa.backbone.state_dict())
    x = torch.rand(2, 3, 50, 40)
    assert torch.equal(plain(x), medusa(x))


@pytest.mark.parametrize("name", ["resnet18", "vit_tiny_patch16_224"])
def test_classes_and_channels(name):
    net = TimmClassifier(name, num_classes=5, in_channels=1)
    assert net(torch.rand(1, 1, 224, 224)).shape == (1, 5)
    assert (net.num_classes, net.in_channels) == (5, 1)


def test_an_unknown_name_is_refused_with_a_near_one():
    with pytest.raises(ValueError, match="did you mean"):
        TimmClassifier("resnet50x")


@pytest.mark.parametrize("make", [lambda: Backbone("resnet18"), lambda: TimmClassifier("resnet18"), MEDUSA])
def test_weights_of_other_classes_fill_all_but_the_classifier(make, tmp_path):
    net = make()
    name = "resnet50" if isinstance(net, MEDUSA) else "resnet18"
    other = timm.create_model(name, num_classes=7)
    torch.save(other.state_dict(), tmp_path / "weights.pth")
    layers = getattr(net, "backbone", net)
    before = layers.fc.weight.clone()
    net.load_pretrained(str(tmp_path / "weights.pth"))
    assert torch.equal(layers.layer4[0].conv1.weight, other.layer4[0].conv1.weight)
    assert torch.equal(layers.fc.weight, before)


def test_weights_that_do_not_fit_or_are_absent_are_refused(tmp_path):
    torch.save(timm.create_model("resnet34").state_dict(), tmp_path / "weights.pth")
    with pytest.raises(UserError, match="do not fit Backbone"):
        Backbone("resnet18").load_pretrained(str(tmp_path / "weights.pth"))
    with pytest.raises(UserError, match="no such file"):
        Backbone("resnet18").load_pretrained(str(tmp_path / "absent.pth"))

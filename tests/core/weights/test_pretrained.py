import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from foveal.core.errors import UserError
from foveal.core.weights import hub
from foveal.core.weights.pretrained import fill_pretrained, read_state


class Classifier(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.body = nn.Linear(2, 3)
        self.fc = nn.Linear(3, classes)


@pytest.fixture(autouse=True)
def within_reach(monkeypatch):
    monkeypatch.setattr(hub, "_answers", lambda address: True)


def refuse():
    raise OSError("no\nnetwork")


@pytest.mark.parametrize("form", ["safetensors", "pth", "published"])
def test_all_weights_but_the_classifiers_come_from_elsewhere(tmp_path, form):
    net, other = Classifier(2), Classifier(1000)
    own, path = net.fc.weight.clone(), tmp_path / f"weights.{form}"
    if form == "pth":
        torch.save({"state_dict": other.state_dict()}, path)
    elif form == "safetensors":
        save_file(other.state_dict(), path)
    fill_pretrained(net, "fc.", None if form == "published" else path, lambda: other)
    assert torch.equal(net.body.weight, other.body.weight)
    assert torch.equal(net.fc.weight, own)


def test_a_part_without_classifier_is_filled_too(tmp_path):
    torch.save(Classifier(5).state_dict(), tmp_path / "whole.pth")
    part = nn.ModuleDict({"body": nn.Linear(2, 3)})
    fill_pretrained(part, "fc.", tmp_path / "whole.pth", refuse)
    assert torch.equal(part["body"].weight, read_state(tmp_path / "whole.pth")["body.weight"])


def test_what_cannot_be_had_or_does_not_fit_is_refused_in_one_line(tmp_path):
    torch.save({"other": torch.ones(1)}, tmp_path / "other.pth")
    for source, words in (
        (tmp_path / "gone.pth", r"gone\.pth: there is no such file"),
        (tmp_path / "other.pth", r"other\.pth: the weights do not fit Classifier"),
        (None, r"cannot be downloaded \(no network\)"),
    ):
        with pytest.raises(UserError, match=words) as caught:
            fill_pretrained(Classifier(2), "fc.", source, refuse)
        assert "\n" not in str(caught.value)

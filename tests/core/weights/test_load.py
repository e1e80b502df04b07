"""Loading: every kind of source gives the same network, and no file can do harm or fail without a clear line."""

import os
import pickle

import pytest
import torch
from safetensors.torch import save_file

from foveal.apps.superres.models.dlgsanet import DLGSANet
from foveal.core.errors import UserError
from foveal.core.weights import shipped
from foveal.core.weights.card import Card
from foveal.core.weights.load import digest, load_model, load_program, save_weights

NETWORK = "foveal.apps.superres.models.dlgsanet.DLGSANet"
ARGUMENTS = {"scale": 2, "dim": 12, "groups": 1, "pairs": 1, "heads": 3, "kernel": 3}


def tiny_card(**changes) -> Card:
    network = {"class_path": NETWORK, "init_args": ARGUMENTS}
    return Card(
        **({"name": "tiny", "app": "superres", "network": network, "scale": 2, "tile": 64, "overlap": 8} | changes)
    )


@pytest.fixture
def net():
    torch.manual_seed(0)
    return DLGSANet(**ARGUMENTS).eval()


@pytest.fixture
def weights(net, tmp_path):
    path = tmp_path / "tiny.safetensors"
    save_weights(net, tiny_card(), path)
    return path


def checkpoint_of(net, card=None):
    state = {f"net.{name}": value for name, value in net.state_dict().items()} | {"loss.weight": torch.ones(1)}
    return {"state_dict": state, "card": (card or tiny_card()).to_json(), "epoch": 3, "optimizer_states": []}


def same_weights(first, second) -> bool:
    first, second = first.state_dict(), second.state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def refusal(path, action=load_model) -> str:
    """Return the one line with which the file is refused."""
    with pytest.raises(UserError) as caught:
        action(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message


def test_saved_weights_come_back_with_their_card(net, weights):
    loaded = load_model(weights)
    assert same_weights(loaded, net)
    assert loaded.card == tiny_card()
    assert not loaded.training
    assert [path.name for path in weights.parent.iterdir()] == ["tiny.safetensors"]


def test_lightning_checkpoint_gives_its_network(net, tmp_path):
    torch.save(checkpoint_of(net), tmp_path / "last.ckpt")
    loaded = load_model(tmp_path / "last.ckpt")
    assert same_weights(loaded, net)
    assert loaded.card == tiny_card()


def test_checkpoint_in_double_precision_comes_back_in_float32(net, tmp_path):
    torch.save(checkpoint_of(net.double()), tmp_path / "last.ckpt")
    assert load_model(tmp_path / "last.ckpt").shallow.weight.dtype == torch.float32


def test_loading_leaves_the_random_state_alone(weights):
    before = torch.get_rng_state()
    load_model(weights)
    assert torch.equal(torch.get_rng_state(), before)


def test_load_program_gives_a_callable_with_a_card(weights):
    program = load_program(weights)
    assert program.card == tiny_card()
    with torch.inference_mode():
        assert program(torch.rand(1, 3, 9, 7)).shape == (1, 3, 18, 14)


def test_shipped_names_are_found_and_suggested(weights, monkeypatch):
    monkeypatch.setattr(shipped, "shipped_weights", lambda: {"dlgsanet-tiny-x2": weights})
    assert load_model("dlgsanet-tiny-x2").card == tiny_card()
    with pytest.raises(UserError, match=r"dlgsanet-tinny-x2: no such .* did you mean 'dlgsanet-tiny-x2'"):
        load_model("dlgsanet-tinny-x2")


def test_missing_file_and_folder_are_refused(tmp_path):
    assert "no such weights file" in refusal(tmp_path / "absent.ckpt")
    (tmp_path / "last.ckpt").touch()
    assert f"there is no such file; {tmp_path} has last.ckpt." in refusal(tmp_path / "best.ckpt")
    assert "is a folder" in refusal(tmp_path)


def test_digest_is_the_sha256_of_the_file(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")
    assert digest(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


class Harm:
    """Creates a folder when it is unpickled."""

    def __init__(self, marker):
        self.marker = str(marker)

    def __reduce__(self):
        return os.mkdir, (self.marker,)


@pytest.mark.parametrize("action", [load_model, load_program])
@pytest.mark.parametrize(
    "save", [torch.save, lambda content, path: path.write_bytes(pickle.dumps(content, protocol=2))]
)
def test_a_file_that_would_run_code_is_refused_and_does_not_run(save, action, net, tmp_path):
    path, marker = tmp_path / "evil.ckpt", tmp_path / "marker"
    save(checkpoint_of(net) | {"callbacks": Harm(marker)}, path)
    assert "would run code" in refusal(path, action)
    assert not marker.exists()


def test_a_pickle_of_a_newer_protocol_does_not_run_either(tmp_path):
    path, marker = tmp_path / "evil.ckpt", tmp_path / "marker"
    path.write_bytes(pickle.dumps(Harm(marker)))
    assert "which alone are loaded" in refusal(path)
    assert not marker.exists()


def test_the_harmful_file_is_harmful(tmp_path):
    pickle.loads(pickle.dumps(Harm(tmp_path / "marker")))
    assert (tmp_path / "marker").exists()


@pytest.mark.parametrize(
    "content", [b"", b"not weights at all\n", b"\x80\x02junk", b"PK\x03\x04junk", b"\x89PNG\r\n\x1a\n"]
)
def test_files_that_are_no_weights_are_refused(content, tmp_path):
    path = tmp_path / "model.ckpt"
    path.write_bytes(content)
    refusal(path)


def test_cut_off_files_are_refused(net, weights, tmp_path):
    checkpoint = tmp_path / "last.ckpt"
    torch.save(checkpoint_of(net), checkpoint)
    for path in (weights, checkpoint):
        path.write_bytes(path.read_bytes()[:-1000])
        assert "Copy or write it again" in refusal(path)


def test_a_tensor_alone_is_refused(tmp_path):
    torch.save(torch.ones(2), tmp_path / "x.pt")
    assert "holds a Tensor" in refusal(tmp_path / "x.pt")


def test_checkpoint_of_an_unknown_network_is_refused(tmp_path):
    torch.save({"state_dict": {"backbone.conv.weight": torch.ones(1)}}, tmp_path / "other.ckpt")
    assert "backbone.conv.weight" in refusal(tmp_path / "other.ckpt")
    save_file({"backbone.conv.weight": torch.ones(1)}, tmp_path / "other.safetensors")
    assert "no network that Foveal knows" in refusal(tmp_path / "other.safetensors")


def test_weights_that_do_not_fit_their_card_are_told_apart(net, tmp_path):
    path = tmp_path / "last.ckpt"
    content = checkpoint_of(net)
    state = content["state_dict"]
    state["net.extra"] = torch.ones(1)
    state["net.fuse.bias"] = torch.ones(7)
    del state["net.shallow.weight"]
    torch.save(content, path)
    message = refusal(path)
    for part in ("missing shallow.weight", "not part of it extra", "fuse.bias is (7,) instead of (12,)"):
        assert part in message


def class_path(path, **arguments):
    return {"network": {"class_path": path, "init_args": arguments}}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"scale": 3}, "says scale 3, but its network has 2"),
        ({"channels": ("grey",)}, "says in_channels 1, but its network has 3"),
        ({"dates": 2}, "says in_channels 6, but its network has 3"),
        (class_path("os.path.Join"), "not part of Foveal"),
        (class_path(NETWORK, local={"class_path": "os.system"}), "'os.system' is not part of Foveal"),
        (class_path(NETWORK, local=[{"class_path": "foveal.core.cli.main"}]), "is no network of Foveal"),
        (class_path("fovealx.models.Net"), "not part of Foveal"),
        (class_path("foveal.__main__.main"), "not part of Foveal"),
        (class_path("foveal.apps.superres.models.dlgsanet.Unknown"), "has no network"),
        (class_path("foveal.apps.superres.models.missing.Net"), "has no network"),
        (class_path("foveal.apps.superres.models.dlgsanet.Tensor"), "is no network"),
        (class_path("foveal.core.weights.load.load_model"), "is no network"),
        (class_path("foveal.apps.superres.models.dlgsanet.DLGSANet", width=3), "cannot be built"),
        (class_path("foveal.apps.superres.models.dlgsanet.DLGSANet", heads=5), "cannot be built"),
    ],
)
def test_cards_that_contradict_the_weights_are_refused(changes, words, net, tmp_path):
    path = tmp_path / "tiny.safetensors"
    save_weights(net, tiny_card(**changes), path)
    assert words in refusal(path)


def test_failing_to_write_leaves_the_older_file(net, weights, monkeypatch):
    before = weights.read_bytes()

    def full_disk(path, content):
        with path.open("wb") as file:
            file.write(content[:100])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full_disk)
    with pytest.raises(OSError, match="No space left"):
        save_weights(net, tiny_card(), weights)
    assert weights.read_bytes() == before
    assert [path.name for path in weights.parent.iterdir()] == ["tiny.safetensors"]

"""The authors' ACMIL weights in our modules: names, forms, inferred arguments."""

import pytest
import torch

from foveal.apps.wsi.models.acmil import ACMIL, MultiHeadACMIL
from foveal.apps.wsi.models.acmil_adapter import recognises
from foveal.core.errors import UserError
from foveal.core.weights.load import load_model, load_reference, save_weights


def linear(name, outs, ins):
    return {f"{name}.weight": (outs, ins), f"{name}.bias": (outs,)}


def heads(branches, classes, dim):
    shapes = {}
    for name in (*(f"classifier.{i}" for i in range(branches)), "Slide_classifier"):
        shapes |= linear(f"{name}.fc", classes, dim)
    return shapes


def gated_shapes(branches=5, channels=24, dim=16, classes=2):
    shapes = {"dimreduction.fc1.weight": (dim, channels)}
    shapes |= linear("attention.attention_V.0", 128, dim) | linear("attention.attention_U.0", 128, dim)
    return shapes | linear("attention.attention_weights", branches, 128) | heads(branches, classes, dim)


def multi_head_shapes(branches=3, channels=24, dim=16, classes=2):
    shapes = {"q": (1, branches, dim), "dimreduction.fc1.weight": (dim, channels)}
    for i in range(branches):
        for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
            shapes |= linear(f"sub_attention.{i}.{part}", dim, dim)
        shapes |= {f"sub_attention.{i}.layer_norm.{leaf}": (dim,) for leaf in ("weight", "bias")}
    shapes |= linear("bag_attention.v_proj", dim, dim) | linear("bag_attention.out_proj", dim, dim)
    shapes |= {f"bag_attention.layer_norm.{leaf}": (dim,) for leaf in ("weight", "bias")}
    return shapes | heads(branches, classes, dim)


def state_of(shapes, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    return {name: torch.rand(shape, generator=generator, dtype=dtype) for name, shape in shapes.items()}


def test_every_value_of_the_gated_form_arrives_under_its_new_name():
    state = state_of(gated_shapes())
    net = load_reference("acmil", state)
    assert type(net) is ACMIL
    for ours, theirs in [
        (net.reduce.weight, "dimreduction.fc1.weight"),
        (net.scorer.content.weight, "attention.attention_V.0.weight"),
        (net.scorer.gate.bias, "attention.attention_U.0.bias"),
        (net.scorer.score.weight, "attention.attention_weights.weight"),
        (net.branch_heads[3].bias, "classifier.3.fc.bias"),
        (net.slide_head.weight, "Slide_classifier.fc.weight"),
    ]:
        assert torch.equal(ours, state[theirs]), theirs


def test_every_value_of_the_multi_head_form_arrives_under_its_new_name():
    state = state_of(multi_head_shapes(), torch.float64)
    net = load_reference("acmil", state)
    assert type(net) is MultiHeadACMIL
    assert net.reduce.weight.dtype == torch.float64
    assert torch.equal(net.scorer.queries, state["q"][0])
    for ours, theirs in [
        (net.scorer.query[2].weight, "sub_attention.2.q_proj.weight"),
        (net.scorer.key[1].bias, "sub_attention.1.k_proj.bias"),
        (net.readout.branches[0].value.weight, "sub_attention.0.v_proj.weight"),
        (net.readout.branches[2].out.bias, "sub_attention.2.out_proj.bias"),
        (net.readout.branches[1].norm.weight, "sub_attention.1.layer_norm.weight"),
        (net.readout.slide.value.bias, "bag_attention.v_proj.bias"),
        (net.readout.slide.out.weight, "bag_attention.out_proj.weight"),
        (net.readout.slide.norm.bias, "bag_attention.layer_norm.bias"),
    ]:
        assert torch.equal(ours, state[theirs]), theirs


def test_arguments_are_read_from_the_weights_or_given():
    net = load_reference("acmil", state_of(gated_shapes(1, 40, 8, 4)))
    arguments = {"num_classes": 4, "in_channels": 40, "dim": 8, "branches": 1, "hidden": 128}
    assert net.card.network["init_args"] == arguments
    assert (net.card.name, net.card.outputs, net.card.kind) == (
        "abmil",
        tuple(f"class {i}" for i in range(4)),
        "bag",
    )
    given = {"arch": "mha", "heads": 4, "n_masked_patch": 7, "mask_drop": 0.3, "attention_hidden": None}
    net = load_reference("acmil", state_of(multi_head_shapes()), given)
    assert (net.scorer.heads, net.readout.slide.heads, net.top_k, net.mask_ratio) == (4, 4, 7, 0.3)


@pytest.mark.parametrize("shapes", [gated_shapes(), multi_head_shapes()])
def test_file_is_recognised_and_comes_back_from_our_own(shapes, tmp_path):
    torch.save({"model": state_of(shapes), "epoch": 3}, tmp_path / "checkpoint.pth")
    net = load_model(tmp_path / "checkpoint.pth")
    save_weights(net, net.card, tmp_path / "acmil.safetensors")
    bag = torch.rand(1, 9, 24)
    assert torch.equal(load_model(tmp_path / "acmil.safetensors")(bag), net(bag))


def test_other_names_are_not_recognised():
    assert recognises(gated_shapes())
    assert recognises(multi_head_shapes())
    assert not recognises(["dimreduction.fc1.weight", "classifier.0.fc.weight", "Slide_classifier.fc.weight"])


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"n_tokens": 5}, "unknown ACMIL option 'n_tokens'; did you mean 'n_token'"),
        ({"heads": 8}, "unknown ACMIL option 'heads'"),
        ({"arch": "mha"}, "arch 'mha' is asked for"),
        ({"n_token": 4}, "the weights do not fit ACMIL"),
        ({"mask_drop": 2}, "mask_ratio"),
    ],
)
def test_configs_that_do_not_fit_are_refused(config, words):
    with pytest.raises(UserError) as caught:
        load_reference("acmil", state_of(gated_shapes()), config)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("classifier.0.fc.bias", "missing branch_heads.0.bias"),
        ("dimreduction.fc1.weight", "no weights of ACMIL"),
    ],
)
def test_incomplete_weights_are_refused(name, words):
    state = state_of(gated_shapes())
    del state[name]
    with pytest.raises(UserError, match=words):
        load_reference("acmil", state)

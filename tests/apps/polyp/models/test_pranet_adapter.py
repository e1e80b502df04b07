"""The authors' PraNet weights in our module: names, the common first convolutions, inferred arguments."""

import pytest
import torch

from foveal.apps.polyp.models.pranet import PraNet
from foveal.apps.polyp.models.pranet_adapter import ENTRIES, recognises
from foveal.core.errors import UserError
from foveal.core.weights.load import load_model, load_reference


def unit_shapes(prefix, channels_out, channels_in, kernel=(1, 1)):
    yield f"{prefix}.conv.weight", (channels_out, channels_in, *kernel)
    for name in ("weight", "bias", "running_mean", "running_var"):
        yield f"{prefix}.bn.{name}", (channels_out,)
    yield f"{prefix}.bn.num_batches_tracked", ()


def field_shapes(prefix, channels, dim):
    yield from unit_shapes(f"{prefix}.branch0.0", dim, channels)
    for branch, side in enumerate((3, 5, 7), start=1):
        yield from unit_shapes(f"{prefix}.branch{branch}.0", dim, channels)
        yield from unit_shapes(f"{prefix}.branch{branch}.1", dim, dim, (1, side))
        yield from unit_shapes(f"{prefix}.branch{branch}.2", dim, dim, (side, 1))
        yield from unit_shapes(f"{prefix}.branch{branch}.3", dim, dim, (3, 3))
    yield from unit_shapes(f"{prefix}.conv_cat", dim, 4 * dim, (3, 3))
    yield from unit_shapes(f"{prefix}.conv_res", dim, channels)


def decoder_shapes(dim):
    for number in range(1, 5):
        yield from unit_shapes(f"agg1.conv_upsample{number}", dim, dim, (3, 3))
    yield from unit_shapes("agg1.conv_upsample5", 2 * dim, 2 * dim, (3, 3))
    yield from unit_shapes("agg1.conv_concat2", 2 * dim, 2 * dim, (3, 3))
    yield from unit_shapes("agg1.conv_concat3", 3 * dim, 3 * dim, (3, 3))
    yield from unit_shapes("agg1.conv4", 3 * dim, 3 * dim, (3, 3))
    yield "agg1.conv5.weight", (1, 3 * dim, 1, 1)
    yield "agg1.conv5.bias", (1,)


def reverse_shapes():
    yield from unit_shapes("ra4_conv1", 256, 2048)
    for number in (2, 3, 4):
        yield from unit_shapes(f"ra4_conv{number}", 256, 256, (5, 5))
    yield from unit_shapes("ra4_conv5", 1, 256)
    for step, channels in ((3, 1024), (2, 512)):
        yield from unit_shapes(f"ra{step}_conv1", 64, channels)
        for number in (2, 3):
            yield from unit_shapes(f"ra{step}_conv{number}", 64, 64, (3, 3))
        yield from unit_shapes(f"ra{step}_conv4", 1, 64, (3, 3))


def reference_state(dim=32, encoder="res2net50d", dtype=torch.float32):
    """The authors' file with random values; its encoder has timm's names."""
    generator = torch.Generator().manual_seed(0)
    with torch.device("meta"):
        layers = PraNet(encoder=encoder).encoder.state_dict()
    shapes = {f"resnet.{name}": tuple(value.shape) for name, value in layers.items()}
    shapes |= {"resnet.fc.weight": (1000, 2048), "resnet.fc.bias": (1000,)} if encoder == "res2net50d" else {}
    for field, channels in (("rfb2_1", 512), ("rfb3_1", 1024), ("rfb4_1", 2048)):
        shapes |= dict(field_shapes(field, channels, dim))
    shapes |= dict(decoder_shapes(dim)) | dict(reverse_shapes())
    return {
        name: torch.rand(shape, generator=generator, dtype=dtype) if shape else torch.tensor(7)
        for name, shape in shapes.items()
    }


@pytest.fixture(scope="module")
def state():
    return reference_state()


def test_published_file_has_the_published_number_of_parameters(state):
    counted = [name for name in state if not name.rpartition(".")[2].startswith(("running", "num_batches"))]
    assert sum(state[name].numel() for name in counted) == 32_547_319


def test_every_value_arrives_under_its_new_name(state):
    net = load_reference("pranet", state)
    for ours, theirs in [
        (net.encoder.conv1[3].weight, "resnet.conv1.3.weight"),
        (net.encoder.layer4[2].convs[1].weight, "resnet.layer4.2.convs.1.weight"),
        (net.encoder.layer1[0].downsample[2].running_var, "resnet.layer1.0.downsample.2.running_var"),
        (net.field_middle.branches[1][0].conv.weight, "rfb3_1.branch2.1.conv.weight"),
        (net.field_deep.branches[2][2].norm.bias, "rfb4_1.branch3.3.bn.bias"),
        (net.field_fine.fuse.conv.weight, "rfb2_1.conv_cat.conv.weight"),
        (net.decoder.deep_on_middle.conv.weight, "agg1.conv_upsample1.conv.weight"),
        (net.decoder.deep_on_fine.conv.weight, "agg1.conv_upsample2.conv.weight"),
        (net.decoder.middle_on_fine.conv.weight, "agg1.conv_upsample3.conv.weight"),
        (net.decoder.deep_beside_middle.conv.weight, "agg1.conv_upsample4.conv.weight"),
        (net.decoder.middle_beside_fine.norm.running_mean, "agg1.conv_upsample5.bn.running_mean"),
        (net.decoder.refine.conv.weight, "agg1.conv4.conv.weight"),
        (net.decoder.head.bias, "agg1.conv5.bias"),
        (net.reverse_deep.reduce.weight, "ra4_conv1.conv.weight"),
        (net.reverse_deep.inner[4].conv.weight, "ra4_conv4.conv.weight"),
        (net.reverse_deep.last.norm.num_batches_tracked, "ra4_conv5.bn.num_batches_tracked"),
        (net.reverse_middle.inner[2].norm.weight, "ra3_conv3.bn.weight"),
        (net.reverse_fine.last.conv.weight, "ra2_conv4.conv.weight"),
        (net.reverse_fine.norm.weight, "ra2_conv1.bn.weight"),
    ]:
        assert torch.equal(ours, state[theirs]), theirs
    for leaf, found in (("conv.weight", net.field_deep.entry.conv.weight), ("bn.bias", net.field_deep.entry.norm.bias)):
        for entry, part in zip(ENTRIES, found.chunk(5), strict=True):
            assert torch.equal(part, state[f"rfb4_1.{entry}.{leaf}"]), entry


def test_arguments_are_read_from_the_weights_or_given(state):
    published = {"num_classes": 1, "in_channels": 3, "dim": 32, "encoder": "res2net50d"}
    given = {"channel": 32, "backbone": "res2net50_v1b_26w_4s"}
    assert load_reference("pranet", state).card.network["init_args"] == published
    assert load_reference("pranet", state, given).card.network["init_args"] == published


def test_plain_resnet_and_other_widths_and_channels_are_taken():
    state = reference_state(8, "resnet50", torch.float64)
    state["resnet.conv1.weight"] = state["resnet.conv1.weight"][:, :1]
    net = load_reference("pranet", state)
    assert net.card.network["init_args"] == {"num_classes": 1, "in_channels": 1, "dim": 8, "encoder": "resnet50"}
    assert net.card.channels == ("grey",)  # as a network of ours calls it
    assert net.decoder.head.weight.dtype == torch.float64


def test_file_is_recognised_and_its_card_says_what_it_was_trained_on(state, tmp_path):
    torch.save(state, tmp_path / "PraNet-19.pth")
    net = load_model(tmp_path / "PraNet-19.pth")
    assert isinstance(net, PraNet)
    card = net.card
    assert (card.name, card.app, card.frame, card.size_multiple) == ("pranet", "polyp", (352, 352), 32)
    assert card.activation == "threshold"
    assert card.mean == pytest.approx((0.485, 0.456, 0.406))
    assert "permission" in card.licence


def test_other_names_are_not_recognised(state):
    assert recognises(state)
    assert not recognises(["resnet.conv1.0.weight", "rfb2_1.conv_res.conv.weight"])


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"chanel": 32}, "unknown PraNet option 'chanel'; did you mean 'channel'"),
        ({"backbone": "res2net50"}, "backbone 'res2net50' is not built; did you mean 'resnet50'"),
        ({"channel": 16}, "the weights do not fit PraNet"),
        ({"backbone": "resnet50"}, "the weights do not fit PraNet"),
    ],
)
def test_configs_that_do_not_fit_are_refused(state, config, words):
    with pytest.raises(UserError) as caught:
        load_reference("pranet", state, config)
    assert words in str(caught.value)


def test_incomplete_weights_are_refused(state):
    for name, words in [
        ("agg1.conv5.bias", r"missing decoder\.head\.bias"),
        ("rfb2_1.branch1.0.bn.bias", r"missing one of rfb2_1\.\*\.bn\.bias"),
        ("agg1.conv5.weight", "no weights of PraNet"),
    ]:
        rest = {each: value for each, value in state.items() if each != name}
        with pytest.raises(UserError, match=words):
            load_reference("pranet", rest)

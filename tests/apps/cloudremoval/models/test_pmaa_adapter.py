"""The authors' PMAA weights in our modules: names, what is left out, inferred arguments."""

import pytest
import torch

from foveal.apps.cloudremoval.discriminator import PatchDiscriminator
from foveal.apps.cloudremoval.models.cloud_teacher import CloudTeacher
from foveal.apps.cloudremoval.models.pmaa import PMAA
from foveal.apps.cloudremoval.models.pmaa_adapter import recognises
from foveal.core.errors import UserError
from foveal.core.weights.load import load_model, load_reference


def extractor_shapes(prefix, dim, bands, norm):
    def unit(name, out, inside, kernel, follower):
        yield f"{prefix}{name}.weight", (out, inside, kernel, kernel)
        if norm:
            for leaf in ("weight", "bias", "running_mean", "running_var"):
                yield f"{prefix}{follower}.{leaf}", (out,)

    yield from unit("conv_in.0", dim, bands, 3, "conv_in.1")
    for i in range(1, 7):
        for first, kernel in ((0, 1), (3, 3), (6, 1)):
            path = f"bottle{i}.bottleneck"
            yield from unit(f"{path}.{first}", dim, dim, kernel, f"{path}.{first + 1}")
    path = "cloud_detection.cloud_det"
    for first, inside, out in ((0, dim, 2 * dim), (3, 2 * dim, 4 * dim)):
        yield from unit(f"{path}.{first}", out, inside, 1, f"{path}.{first + 1}")
        yield f"{prefix}{path}.{first}.bias", (out,)
    yield f"{prefix}{path}.6.weight", (1, 4 * dim, 1, 1)
    yield f"{prefix}{path}.6.bias", (1,)
    for i in range(4):
        yield from unit(f"ASPP.convs.{i}.0", 4 * dim, dim, 3 if i else 1, f"ASPP.convs.{i}.1")
    yield from unit("ASPP.convs.4.1", 4 * dim, dim, 1, "ASPP.convs.4.2")
    yield from unit("ASPP.project.0", dim, 20 * dim, 1, "ASPP.project.1")
    yield f"{prefix}aux_conv.weight", (bands, dim, 3, 3)
    yield f"{prefix}aux_conv.bias", (bands,)


def block_shapes(prefix, inside, dim):
    width = 4 * dim
    yield f"{prefix}.proj_1x1.conv_dw.weight", (inside, 1, 1, 1)
    yield f"{prefix}.proj_1x1.conv_pw.weight", (width, inside, 1, 1)
    for i in range(5):
        yield f"{prefix}.spp_dw.{i}.conv_dw.weight", (width, width, 3, 3)
        yield f"{prefix}.spp_dw.{i}.conv_pw.weight", (width, width, 1, 1)
    for group, count, kernel in (("loc_glo_fus", 5, 1), ("last_layer", 4, 5)):
        for i in range(count):
            for part in ("local_embedding", "global_embedding", "global_act"):
                yield f"{prefix}.{group}.{i}.{part}.0.weight", (width, 1, kernel, kernel)
    yield f"{prefix}.globalatt.layer_scale_1", (width,)
    yield f"{prefix}.globalatt.layer_scale_2", (width,)
    convolutions = {
        "attn.a.0": (width, width, 1, 1),
        "attn.a.2": (width, 1, 11, 11),
        "attn.v": (width, width, 1, 1),
        "attn.proj": (width, width, 1, 1),
        "mlp.fc1": (4 * width, width, 1, 1),
        "mlp.pos": (4 * width, 1, 3, 3),
        "mlp.fc2": (width, 4 * width, 1, 1),
    }
    for name, shape in ({"attn.norm": (width,), "mlp.norm": (width,)} | convolutions).items():
        yield f"{prefix}.globalatt.{name}.weight", shape
        yield f"{prefix}.globalatt.{name}.bias", shape[:1]
    yield f"{prefix}.res_conv.weight", (dim, width, 1, 1)
    yield f"{prefix}.res_conv.bias", (dim,)


def drawn(shapes, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    return {name: torch.rand(shape, generator=generator, dtype=dtype) for name, shape in shapes}


def generator_state(dim=32, outputs=4, kernel=1, dates=3, bands=4, dtype=torch.float32):
    shapes = dict(extractor_shapes("feature_extractor.", dim, bands, norm=False))
    shapes |= dict(block_shapes("concat_unet", dates * dim, dim))
    shapes |= dict(block_shapes("other_unet.0", dim, dim)) | dict(block_shapes("other_unet.1", dim, dim))
    shapes |= {"output_layer.0.weight": (outputs, dim, kernel, kernel), "output_layer.0.bias": (outputs,)}
    return drawn(shapes.items(), dtype)


def teacher_state(dim=32):
    return drawn(extractor_shapes("", dim, 4, norm=True))


def discriminator_state():
    widths, norms = (6, 4, 4, 5, 7, 8, 1), (3, 6, 9, 12)
    shapes = {
        f"discriminator.{i}.weight": (out, inside, 4, 4)
        for i, inside, out in zip((0, 2, 5, 8, 11, 14), widths[:-1], widths[1:], strict=True)
    }
    shapes |= {"discriminator.0.bias": (4,), "discriminator.14.bias": (1,)}
    for i, width in zip(norms, widths[2:6], strict=True):
        leaves = ("weight", "bias", "running_mean", "running_var")
        shapes |= {f"discriminator.{i}.{leaf}": (width,) for leaf in leaves}
    return drawn(shapes.items())


@pytest.fixture(scope="module")
def state():
    return generator_state()


def test_published_file_has_the_published_number_of_parameters(state):
    assert len(state) == 218
    assert sum(value.numel() for value in state.values()) == 3_439_689


def test_every_value_arrives_under_its_new_name(state):
    net = load_reference("pmaa", state)
    for ours, theirs in [
        (net.features.stem[0].weight, "feature_extractor.conv_in.0.weight"),
        (net.features.bottlenecks[5][3].weight, "feature_extractor.bottle6.bottleneck.3.weight"),
        (net.features.mask[3].bias, "feature_extractor.cloud_detection.cloud_det.3.bias"),
        (net.features.pyramid.branches[2][0].weight, "feature_extractor.ASPP.convs.2.0.weight"),
        (net.features.pyramid.whole[0].weight, "feature_extractor.ASPP.convs.4.1.weight"),
        (net.features.pyramid.project[0].weight, "feature_extractor.ASPP.project.0.weight"),
        (net.features.auxiliary.bias, "feature_extractor.aux_conv.bias"),
        (net.blocks[0].project.spatial.weight, "concat_unet.proj_1x1.conv_dw.weight"),
        (net.blocks[1].scales[4].pointwise.weight, "other_unet.0.spp_dw.4.conv_pw.weight"),
        (net.blocks[2].fusions[3].embed.weight, "other_unet.1.loc_glo_fus.3.global_embedding.0.weight"),
        (net.blocks[2].decoders[0].gate.weight, "other_unet.1.last_layer.0.global_act.0.weight"),
        (net.blocks[0].decoders[3].local.weight, "concat_unet.last_layer.3.local_embedding.0.weight"),
        (net.blocks[1].mixer.attention_scale, "other_unet.0.globalatt.layer_scale_1"),
        (net.blocks[1].mixer.feed_forward_scale, "other_unet.0.globalatt.layer_scale_2"),
        (net.blocks[0].mixer.attention.query.weight, "concat_unet.globalatt.attn.a.0.weight"),
        (net.blocks[0].mixer.attention.value.weight, "concat_unet.globalatt.attn.v.weight"),
        (net.blocks[0].mixer.attention.proj.weight, "concat_unet.globalatt.attn.proj.weight"),
        (net.blocks[0].mixer.feed_forward.reduce.bias, "concat_unet.globalatt.mlp.fc2.bias"),
        (net.blocks[0].out.weight, "concat_unet.res_conv.weight"),
        (net.head.bias, "output_layer.0.bias"),
    ]:
        assert torch.equal(ours, state[theirs]), theirs


def test_file_is_recognised_and_its_card_says_what_it_takes(state, tmp_path):
    torch.save(state, tmp_path / "pmaa_new.pth")
    net = load_model(tmp_path / "pmaa_new.pth")
    assert isinstance(net, PMAA)
    card = net.card
    assert (card.name, card.app, card.tile, card.value_range) == ("pmaa-sen2mtc-new", "cloudremoval", 256, (0.0, 1.0))
    assert card.channels == card.outputs == ("red", "green", "blue", "nir")
    assert (card.dates, card.unit, card.mean, card.std) == (3, "reflectance", (0.5,) * 4, (0.5,) * 4)


def test_other_sizes_are_read_from_the_weights():
    net = load_reference("pmaa", generator_state(8, 3, dates=2, dtype=torch.float64))
    assert net.card.network["init_args"] == {"dates": 2, "bands": 4, "num_outputs": 3, "dim": 8}
    assert (net.card.dates, net.card.unit, net.card.outputs) == (2, "", ("red", "green", "blue"))
    assert net.head.weight.dtype == torch.float64


def test_teacher_is_recognised_and_stays_frozen(tmp_path):
    state = teacher_state()
    torch.save(state, tmp_path / "Feature_Extrator_FS2.pth")
    net = load_model(tmp_path / "Feature_Extrator_FS2.pth")
    assert isinstance(net, CloudTeacher)
    assert not any(each.requires_grad for each in net.parameters())
    assert torch.equal(net.extractor.pyramid.whole[1].running_var, state["ASPP.convs.4.2.running_var"])
    assert torch.equal(net.extractor.bottlenecks[0][7].bias, state["bottle1.bottleneck.7.bias"])
    assert net.card.outputs == ("clear sky",)


def test_discriminator_is_read():
    state = discriminator_state()
    net = load_reference("pmaa", state, {"input_nc": 6, "ndf": 4, "n_layers": 3})
    assert isinstance(net, PatchDiscriminator)
    assert torch.equal(net.layers[3][1].running_mean, state["discriminator.12.running_mean"])
    assert torch.equal(net.head.bias, state["discriminator.14.bias"])


def test_other_names_are_not_recognised(state):
    assert recognises(state)
    assert recognises(teacher_state())
    assert not recognises(discriminator_state())
    assert not recognises(["output_layer.0.weight", "conv_in.0.weight"])


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"hidden_chanels": 32}, "unknown PMAA option 'hidden_chanels'; did you mean 'hidden_channels'"),
        ({"hidden_channels": 64}, "the option hidden_channels is 64, they have 32"),
        ({"norm": "batch"}, "the option norm is 'batch', they have 'instance'"),
    ],
)
def test_options_that_do_not_fit_are_refused(state, config, words):
    with pytest.raises(UserError) as caught:
        load_reference("pmaa", state, config)
    assert words in str(caught.value)


def test_weights_of_the_early_version_are_named():
    with pytest.raises(UserError, match="end in a 7x7 convolution"):
        load_reference("pmaa", generator_state(8, kernel=7))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("output_layer.0.bias", r"missing head\.bias"),
        ("concat_unet.proj_1x1.conv_dw.weight", "do not fit PMAA: 'concat_unet"),
        ("output_layer.0.weight", "no weights of PMAA"),
    ],
)
def test_incomplete_weights_are_refused(state, name, words):
    with pytest.raises(UserError, match=words):
        load_reference("pmaa", {each: value for each, value in state.items() if each != name})

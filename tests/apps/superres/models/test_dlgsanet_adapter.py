"""The authors' DLGSANet weights in our module: names, inferred hyper-parameters, published sizes."""

import pytest
import torch

from foveal.apps.superres.models.dlgsanet import DLGSANet
from foveal.apps.superres.models.dlgsanet_adapter import recognises
from foveal.core.errors import UserError
from foveal.core.weights.load import load_model, load_reference

PUBLISHED = {  # (dim, groups, blocks): parameters at x2, x3, x4
    (48, 3, 3): (565_710, 572_205, 581_298),
    (48, 4, 3): (745_188, 751_683, 760_776),
    (90, 6, 4): (4_733_724, 4_745_889, 4_762_920),
}
TINY = {
    "upscale": 2,
    "dim": 12,
    "groups": 2,
    "blocks": 2,
    "idynamic_num_heads": 3,
    "restormer_num_heads": 2,
    "window_size": 5,
}


def feed_forward_shapes(prefix, dim):
    yield f"{prefix}.project_in.weight", (4 * dim, dim, 1, 1)
    yield f"{prefix}.dwconv.weight", (4 * dim, 1, 3, 3)
    yield f"{prefix}.project_out.weight", (dim, 2 * dim, 1, 1)


def norm_shapes(prefix, dim):
    yield f"{prefix}.body.weight", (dim,)
    yield f"{prefix}.body.bias", (dim,)


def local_shapes(prefix, dim, kernels, side):
    branch, narrow = f"{prefix}.IDynamicDWConv.conv", dim // 4
    yield from norm_shapes(f"{prefix}.norm1", dim)
    yield f"{prefix}.IDynamicDWConv.conv0.weight", (dim, dim, 1, 1)
    yield f"{prefix}.IDynamicDWConv.conv1.weight", (dim, dim, 1, 1)
    yield f"{branch}.conv1.0.weight", (narrow, dim, 1, 1)
    yield f"{branch}.conv1.0.bias", (narrow,)
    yield f"{branch}.conv1.1.weight", (narrow, 1, side, side)
    yield f"{branch}.conv1.1.bias", (narrow,)
    yield f"{branch}.conv2.0.weight", (side * side * kernels, narrow, 1, 1)
    yield f"{branch}.conv2.0.bias", (side * side * kernels,)
    yield from norm_shapes(f"{prefix}.norm2", dim)
    yield from feed_forward_shapes(f"{prefix}.IDynamic_ffn", dim)


def global_shapes(prefix, dim, heads):
    yield from norm_shapes(f"{prefix}.norm3", dim)
    yield f"{prefix}.restormer_attn.temperature", (heads, 1, 1)
    yield f"{prefix}.restormer_attn.qkv.weight", (3 * dim, dim, 1, 1)
    yield f"{prefix}.restormer_attn.qkv_dwconv.weight", (3 * dim, 1, 3, 3)
    yield f"{prefix}.restormer_attn.project_out.weight", (dim, dim, 1, 1)
    yield from norm_shapes(f"{prefix}.norm4", dim)
    yield from feed_forward_shapes(f"{prefix}.restormer_ffn", dim)


def reference_shapes(config):
    """Yield (name, shape) of the authors' file, as published."""
    dim, groups, blocks, scale = (config[name] for name in ("dim", "groups", "blocks", "upscale"))
    kernels = dim // config.get("idynamic_num_heads", 6)
    yield "overlap_embed.0.proj.weight", (dim, 3, 3, 3)
    for group in range(groups):
        body = f"deep_feature_extraction.{group}.body"
        for pair in range(blocks):
            yield from local_shapes(f"{body}.{2 * pair}", dim, kernels, config.get("window_size", 7))
            yield from global_shapes(f"{body}.{2 * pair + 1}", dim, config.get("restormer_num_heads", 6))
        yield f"{body}.{2 * blocks}.weight", (dim, dim, 3, 3)
        yield f"{body}.{2 * blocks}.bias", (dim,)
    yield f"deep_feature_extraction.{groups}.weight", (dim, dim, 3, 3)
    yield f"deep_feature_extraction.{groups}.bias", (dim,)
    yield "upsample.0.weight", (3 * scale**2, dim, 3, 3)
    yield "upsample.0.bias", (3 * scale**2,)


def reference_state(config, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    return {name: torch.randn(shape, generator=generator, dtype=dtype) for name, shape in reference_shapes(config)}


@pytest.mark.parametrize("size", PUBLISHED)
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_published_weights_fit_and_have_the_published_number_of_parameters(size, scale):
    config = dict(zip(("dim", "groups", "blocks"), size, strict=True)) | {"upscale": scale}
    with torch.device("meta"):
        state = {name: torch.empty(shape) for name, shape in reference_shapes(config)}
        net = load_reference("dlgsanet", state)
    assert sum(parameter.numel() for parameter in net.parameters()) == PUBLISHED[size][scale - 2]
    assert net.card.scale == net.scale == scale
    assert net.groups[0].blocks[1].mixer.window == {2: 96, 3: 72, 4: 48}[scale]


def test_every_value_arrives_under_its_new_name():
    state = reference_state(TINY)
    net = load_reference("dlgsanet", state)
    assert sorted(map(tuple, (p.shape for p in net.parameters()))) == sorted(tuple(v.shape) for v in state.values())
    for ours, theirs in [
        (net.shallow.weight, "overlap_embed.0.proj.weight"),
        (net.groups[1].blocks[2].norm1.bias, "deep_feature_extraction.1.body.2.norm1.body.bias"),
        (net.groups[1].blocks[2].norm2.bias, "deep_feature_extraction.1.body.2.norm2.body.bias"),
        (
            net.groups[1].blocks[2].mixer.project_in.weight,
            "deep_feature_extraction.1.body.2.IDynamicDWConv.conv0.weight",
        ),
        (
            net.groups[1].blocks[2].mixer.project_out.weight,
            "deep_feature_extraction.1.body.2.IDynamicDWConv.conv1.weight",
        ),
        (net.groups[0].blocks[3].norm1.weight, "deep_feature_extraction.0.body.3.norm3.body.weight"),
        (
            net.groups[0].blocks[3].mixer.project_out.weight,
            "deep_feature_extraction.0.body.3.restormer_attn.project_out.weight",
        ),
        (
            net.groups[0].blocks[3].feed_forward.depthwise.weight,
            "deep_feature_extraction.0.body.3.restormer_ffn.dwconv.weight",
        ),
        (net.groups[1].conv.weight, "deep_feature_extraction.1.body.4.weight"),
        (net.fuse.weight, "deep_feature_extraction.2.weight"),
        (net.upsample.bias, "upsample.0.bias"),
    ]:
        assert torch.equal(ours, state[theirs]), theirs


def test_hyper_parameters_read_from_shapes_equal_the_given_ones():
    state = reference_state(TINY)
    inferred = load_reference("dlgsanet", state)
    given = load_reference("dlgsanet", state, TINY | {"tlc_kernel": 96, "tlc_flag": True, "in_chans": 3})
    assert inferred.card == given.card
    assert inferred.card.network["init_args"] == {
        "scale": 2, "dim": 12, "groups": 2, "pairs": 2, "heads": 2, "channels_per_kernel": 3, "kernel": 5,
        "in_channels": 3, "tlc": True, "tlc_window": 96,
    }  # fmt: skip


def test_double_precision_is_kept_and_arrays_are_taken():
    state = {name: value.numpy() for name, value in reference_state(TINY, torch.float64).items()}
    assert load_reference("dlgsanet", state).fuse.weight.dtype == torch.float64


def test_image_range_is_folded_into_the_weights():
    state = reference_state(TINY, torch.float64)
    image = torch.rand(1, 3, 6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    net = load_reference("dlgsanet", state, {"img_range": 255.0})
    plain = load_reference("dlgsanet", state)
    features = plain.shallow((image - plain.mean) * 255.0)
    deep = features + plain.fuse(plain.groups(features))
    expected = torch.pixel_shuffle(plain.upsample(deep), 2) / 255.0 + plain.mean
    torch.testing.assert_close(net(image), expected)


def test_published_file_is_recognised_and_its_running_average_preferred(tmp_path):
    average = reference_state(TINY)
    raw = {name: torch.zeros_like(value) for name, value in average.items()}
    torch.save({"params": raw, "params_ema": average}, tmp_path / "net_g_latest.pth")
    for net in (load_model(tmp_path / "net_g_latest.pth"), load_reference("dlgsanet", tmp_path / "net_g_latest.pth")):
        assert isinstance(net, DLGSANet)
        assert torch.equal(net.fuse.weight, average["deep_feature_extraction.2.weight"])
        assert net.card.app == "superres"
    torch.save({"params": raw}, tmp_path / "raw.pth")
    assert load_model(tmp_path / "raw.pth").fuse.weight.count_nonzero() == 0


def test_weights_of_a_data_parallel_run_are_taken(tmp_path):
    state = reference_state(TINY)
    torch.save({f"module.{name}": value for name, value in state.items()}, tmp_path / "parallel.pth")
    assert torch.equal(load_model(tmp_path / "parallel.pth").fuse.weight, state["deep_feature_extraction.2.weight"])


def test_other_names_are_not_recognised():
    assert recognises(reference_state(TINY))
    assert not recognises(DLGSANet(dim=12, groups=1, pairs=1).state_dict())
    assert not recognises(["overlap_embed.0.proj.weight"])


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"activation": "softmax"}, "activation='softmax' is not built"),
        ({"buildblock_type": "edge"}, "buildblock_type='edge' is not built"),
        ({"idynamic": False}, "idynamic=False is not built"),
        ({"upsampler": "pixelshuffle"}, "upsampler='pixelshuffle' is not built"),
        ({"tlc_kernal": 16}, "unknown DLGSANet option 'tlc_kernal'; did you mean 'tlc_kernel'"),
        ({"dim": 24}, "the weights do not fit DLGSANet"),
        ({"restormer_num_heads": 5}, "heads 5 must divide dim 12"),
    ],
)
def test_configs_that_do_not_fit_are_refused(config, words):
    with pytest.raises(UserError) as caught:
        load_reference("dlgsanet", reference_state(TINY), config)
    assert words in str(caught.value)


def test_incomplete_weights_are_refused():
    state = reference_state(TINY)
    del state["deep_feature_extraction.2.weight"]
    with pytest.raises(UserError, match=r"missing fuse\.weight"):
        load_reference("dlgsanet", state)
    with pytest.raises(UserError, match="no weights of DLGSANet"):
        load_reference("dlgsanet", {"conv.weight": torch.ones(1)})


def test_unknown_system_is_refused_with_the_nearest_name():
    with pytest.raises(UserError, match="did you mean 'dlgsanet'"):
        load_reference("dlgsnet", {})

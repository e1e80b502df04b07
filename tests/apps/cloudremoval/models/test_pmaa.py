import pytest
import torch

from foveal.apps.cloudremoval.models.pmaa import PMAA


@pytest.fixture(scope="module")
def small():
    torch.manual_seed(0)
    return PMAA(dim=4).eval()


def scene(height=24, width=20, batch=1, channels=12):
    return torch.rand(batch, channels, height, width, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.mark.parametrize(("num_outputs", "published"), [(4, 3_439_689), (3, 3_439_656)])
def test_number_of_parameters_is_the_published_one_without_the_fusions_of_no_effect(num_outputs, published):
    with torch.device("meta"):
        net = PMAA(num_outputs=num_outputs)
    assert sum(each.numel() for each in net.parameters()) == published - 3 * 3 * 128


def test_training_gives_masks_and_auxiliary_images_too(small):
    x = scene(17, 30, batch=2)
    with torch.inference_mode():
        image = small(x)
        small.training = True  # dropout and dropped paths stay off
        found = small(x)
        small.training = False
    assert isinstance(found, tuple)
    assert [tuple(each.shape) for each in found] == [(2, 4, 17, 30), (2, 3, 1, 17, 30), (2, 3, 4, 17, 30)]
    assert torch.equal(found[0], image)
    assert found[1].min() >= 0
    assert found[1].max() <= 1


def test_dates_bands_and_outputs_can_be_others():
    net = PMAA(dates=2, bands=3, num_outputs=1, dim=4).eval()
    assert (net.in_channels, net.size_multiple, net.scale) == (6, 1, 1)
    with torch.inference_mode():
        assert net(scene(channels=6)).shape == (1, 1, 24, 20)


def test_dates_are_seen_by_one_extractor_each_by_itself(small):
    x = scene()
    turned = torch.cat([x[:, 8:], x[:, :8]], dim=1)
    with torch.inference_mode():
        (image, masks, auxiliary), (other, turned_masks, turned_auxiliary) = small.maps(x), small.maps(turned)
    assert torch.equal(turned_masks, masks.roll(1, dims=1))
    assert torch.equal(turned_auxiliary, auxiliary.roll(1, dims=1))
    assert not torch.allclose(other, image, atol=1e-3)


def test_images_of_a_batch_do_not_see_each_other_in_training():
    torch.manual_seed(0)
    net = PMAA(dim=4, dropout=0.0, drop_path=0.0).double().train()
    x = scene(batch=2).double()
    together, alone = net(x), net(x[1:])
    assert all(torch.allclose(one[1:], two) for one, two in zip(together, alone, strict=True))


def test_gradients_reach_every_parameter_but_those_that_a_norm_erases():
    torch.manual_seed(0)
    net = PMAA(dim=4).double().train()
    for block in net.blocks:  # as after training; their first value leaves next to nothing of what lies behind
        block.mixer.attention_scale.data.fill_(1)
        block.mixer.feed_forward_scale.data.fill_(1)
    sum(each.square().sum() for each in net(scene(batch=2).double())).backward()
    assert all(each.grad is not None for each in net.parameters())
    sizes = {name: each.grad.abs().max().item() for name, each in net.named_parameters()}
    erased = {"features.mask.0.bias", "features.mask.3.bias", "features.pyramid.whole.0.weight"}
    erased |= {f"blocks.{i}.mixer.feed_forward.reduce.bias" for i in range(3)}
    assert max(sizes[name] for name in erased) < 1e-10
    assert {name for name, size in sizes.items() if size < 1e-10} == erased


@pytest.mark.parametrize("batch", [1, 2])
def test_gradients_of_the_image_are_those_of_finite_differences(small, batch):
    net = PMAA(dim=4).double().eval()
    net.load_state_dict(small.state_dict())
    x = scene(18, 17, batch).double().requires_grad_()
    assert torch.autograd.gradcheck(net, (x,), fast_mode=True, eps=1e-7, atol=1e-3)


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")
def test_scripted_program_gives_the_same_at_another_size(small, tmp_path):
    torch.jit.save(torch.jit.script(small), tmp_path / "pmaa.pt")
    scripted = torch.jit.load(tmp_path / "pmaa.pt")
    for x in (scene(), scene(16, 35, batch=2)):
        with torch.inference_mode():
            assert torch.allclose(scripted(x), small(x), atol=1e-5)


@pytest.mark.slow
def test_exported_program_gives_the_same_at_another_size(small):
    sizes = {0: torch.export.Dim("batch"), 2: torch.export.Dim("h", min=17), 3: torch.export.Dim("w", min=17)}
    program = torch.export.export(small, (scene(40, 33, batch=2),), dynamic_shapes=(sizes,)).module()
    for x in (scene(64, 21, batch=3), scene(17, 50)):
        with torch.inference_mode():
            assert torch.allclose(program(x), small(x), atol=1e-5)


@pytest.mark.parametrize(
    ("x", "words"),
    [(scene(channels=4), "3 dates of 4 bands as channels, not 4"), (scene(16, 16), "above 16 pixels, not 16 and 16")],
)
def test_inputs_that_do_not_fit_are_refused(small, x, words):
    with pytest.raises(ValueError, match=words):
        small(x)


@pytest.mark.parametrize("count", ["dates", "bands", "num_outputs", "dim"])
def test_counts_below_one_are_refused(count):
    with pytest.raises(ValueError, match="at least one"):
        PMAA(**{count: 0})


def test_blocks_may_start_as_the_identity():
    x = torch.randn(1, 4, 20, 20)
    assert torch.equal(PMAA(dim=4, zero_start=True).blocks[1](x), x)
    assert not torch.equal(PMAA(dim=4).blocks[1](x), x)

import pytest
import torch

from foveal.apps.volseg.models.dformer import DFormer, Expansion, PatchMerging

SMALL = {"num_classes": 3, "dim": 8, "depths": (1, 2, 2, 2), "heads": (1, 2, 4, 8)}


@pytest.fixture(scope="module")
def small():
    torch.manual_seed(0)
    return DFormer(**SMALL).eval()


def image(*sizes, batch=1, channels=1):
    return torch.randn(batch, channels, *sizes, generator=torch.Generator().manual_seed(1))


def test_the_published_network_has_the_published_number_of_parameters():
    with torch.device("meta"):
        published, whole = DFormer(supervised=3), DFormer()
    assert sum(each.numel() for each in published.parameters()) == 50_557_248
    assert sum(each.numel() for each in whole.parameters()) == 50_557_248 - 4_724_736


@pytest.mark.parametrize("supervised", [1, 2, 3])
def test_resolutions_in_training_and_the_whole_one_in_evaluation(supervised):
    torch.manual_seed(0)
    net = DFormer(**SMALL, supervised=supervised)
    x = image(16, 32, 64, batch=2)
    with torch.inference_mode():
        levels, prediction = net(x), net.eval()(x)
    assert isinstance(levels, tuple) == (supervised > 1)
    levels = levels if supervised > 1 else (levels,)
    sizes = [(2, 3, 16, 32, 64), (2, 3, 8, 16, 32), (2, 3, 4, 8, 16)]
    assert [each.shape for each in levels] == sizes[:supervised]
    assert torch.equal(levels[0], prediction)


def test_attributes_and_channels():
    net = DFormer(**SMALL, in_channels=2, patch=(1, 4, 4)).eval()
    assert (net.num_classes, net.in_channels, net.size_multiple) == (3, 2, (8, 32, 32))
    with torch.inference_mode():
        assert net(image(8, 32, 32, channels=2)).shape == (1, 3, 8, 32, 32)


def test_gradients_reach_every_parameter():
    torch.manual_seed(0)
    net = DFormer(**SMALL, drop_path=0.0)
    sum(each.square().sum() for each in net(image(16, 32, 32))).backward()
    assert [name for name, each in net.named_parameters() if each.grad is None or not each.grad.any()] == []


def test_merging_takes_the_width_first_and_expansion_puts_it_back():
    x = torch.arange(8.0).reshape(1, 2, 2, 2, 1)
    merging, expansion = PatchMerging(1), Expansion(8, 1, (2, 2, 2))
    merging.norm, expansion.norm = torch.nn.Identity(), torch.nn.Identity()
    merging.reduction, expansion.expand = torch.nn.Identity(), torch.nn.Identity()
    assert torch.equal(merging(x).flatten(), x.flatten())
    assert torch.equal(expansion(merging(x)), x)


def test_merging_takes_a_map_of_eight_tokens_that_lie_channels_first():
    merging, x = PatchMerging(3), torch.randn(1, 3, 2, 2, 2).movedim(1, -1)
    torch.testing.assert_close(merging(x), merging(x.contiguous()))


def test_truncated_init():
    net = DFormer(**SMALL, truncated_init=True)
    linear = net.bottleneck.blocks[0].mlp[0]
    assert linear.weight.std().item() == pytest.approx(0.02, rel=0.1)
    assert not linear.bias.any()


def test_dropped_paths_grow_to_the_bottleneck():
    net = DFormer(**SMALL, drop_path=0.6)
    rates = [block.drop_path.rate for stage in (*net.encoder, net.bottleneck) for block in stage.blocks]
    assert rates == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    assert [block.drop_path.rate for block in net.decoder[0].blocks] == pytest.approx([0.3, 0.4])


@pytest.mark.parametrize(
    ("sizes", "words"),
    [((8, 32, 32), "multiples of 16, 32, 32"), ((16, 32, 48), "multiples"), ((64, 224, 32), "cannot cover 28 tokens")],
)
def test_sizes_that_do_not_fit_are_refused(small, sizes, words):
    with torch.inference_mode(), pytest.raises(ValueError, match=words):
        small(image(*sizes))


@pytest.mark.parametrize("options", [{"heads": (1, 2)}, {"supervised": 4}, {"supervised": 0}])
def test_impossible_options_are_refused(options):
    with pytest.raises(ValueError, match="must be"):
        DFormer(**SMALL | options)


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")
def test_scripted_program_gives_the_same_at_another_size(small, tmp_path):
    torch.jit.save(torch.jit.script(small), tmp_path / "dformer.pt")
    scripted = torch.jit.load(tmp_path / "dformer.pt")
    for x in (image(16, 32, 32), image(32, 64, 96, batch=2)):
        for _ in range(2):  # the second run is the optimised one
            with torch.inference_mode():
                assert torch.allclose(scripted(x), small(x), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_exported_program_of_one_size_gives_the_same_for_another_batch(small):
    sizes = {0: torch.export.Dim("batch")}
    program = torch.export.export(small, (image(16, 64, 64, batch=2),), dynamic_shapes=(sizes,)).module()
    x = image(16, 64, 64, batch=3)
    with torch.inference_mode():
        assert torch.allclose(program(x), small(x), rtol=1e-4, atol=1e-5)

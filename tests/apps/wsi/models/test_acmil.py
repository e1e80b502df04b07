import pytest
import torch

from foveal.apps.wsi.models.acmil import ACMIL, BagOutputs, MultiHeadACMIL
from foveal.core.attention.mil import slide_attention
from foveal.core.losses.branch_attention import BranchAttentionLoss
from foveal.kernels.gated_attention_pool import MASKED

FORMS = pytest.mark.parametrize("form", [ACMIL, MultiHeadACMIL])


def small(form, **options):
    torch.manual_seed(0)
    net = form(**{"num_classes": 3, "in_channels": 12, "dim": 16} | options).eval()
    if form is MultiHeadACMIL:
        torch.nn.init.normal_(net.scorer.queries)  # not near zero, so that attention differs
    return net


def bag(patches=20, channels=12, seed=1):
    return torch.randn(1, patches, channels, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("form", "options", "count"),
    [
        (ACMIL, {}, 84_369),
        (MultiHeadACMIL, {}, 416_140),
        (ACMIL, {"num_classes": 3, "in_channels": 1024, "dim": 512, "branches": 1}, 658_823),
    ],
)
def test_number_of_parameters_is_the_stated_one(form, options, count):
    assert sum(parameter.numel() for parameter in form(**options).parameters()) == count


@FORMS
def test_logits_in_evaluation_and_everything_in_training(form):
    net = small(form)
    assert (net.in_channels, net.num_classes, net.size_multiple) == (12, 3, 1)
    assert net(bag()).shape == (1, 3)
    found = net.train()(bag())
    maps = 1 if form is ACMIL else 8
    assert isinstance(found, BagOutputs)
    assert [each.shape for each in found] == [(5, 3), (1, 3), (maps, 5, 20)]
    assert (found.scores == MASKED).sum(dim=-1).eq(6).all()


@FORMS
def test_masking_does_not_depend_on_the_mode(form):
    net = small(form)
    uniform = torch.rand(1 if form is ACMIL else 8, 5, 10)
    assert not (net.outputs(bag()).scores == MASKED).any()
    masked = net.outputs(bag(), True, uniform)
    assert torch.equal(masked.scores, net.outputs(bag(), True, uniform).scores)
    assert not torch.allclose(masked.slide, net(bag()))


def test_the_feature_of_the_slide_is_pooled_by_the_mean_of_the_attentions():
    net = small(ACMIL)
    patches = net.reduce(bag())
    _, slide, scores = net.features(bag())
    assert torch.allclose(slide[0], slide_attention(scores) @ patches, atol=1e-6)


@FORMS
def test_order_of_the_patches_does_not_matter(form):
    net, x = small(form), bag()
    order = torch.randperm(20, generator=torch.Generator().manual_seed(3))
    assert torch.allclose(net(x[:, order]), net(x), atol=1e-6)
    assert torch.allclose(net.outputs(x[:, order]).scores, net.outputs(x).scores[..., order], atol=1e-6)


@FORMS
@pytest.mark.parametrize("branches", [1, 3])
def test_gradients_reach_every_parameter_that_the_loss_uses(form, branches):
    net = small(form, branches=branches).train()
    BranchAttentionLoss()(net(bag()), torch.tensor([1])).backward()
    without = {name for name, each in net.named_parameters() if each.grad is None}
    expected = set()
    if branches == 1:  # see "traps" of the authors' code: the only branch's own head is not trained
        expected = {
            name for name, _ in net.named_parameters() if name.startswith(("branch_heads.", "readout.branches."))
        }
    assert without == expected


@FORMS
def test_gradients_of_the_bag_are_those_of_finite_differences(form):
    net = small(form, branches=2).double()
    assert torch.autograd.gradcheck(net, (bag(6).double().requires_grad_(),), fast_mode=True)


@FORMS
@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")
def test_scripted_program_gives_the_same_for_other_bags(form, tmp_path):
    net = small(form)
    torch.jit.save(torch.jit.script(net), tmp_path / "acmil.pt")
    program = torch.jit.load(tmp_path / "acmil.pt")
    for patches in (1, 7, 33):
        assert torch.allclose(program(bag(patches)), net(bag(patches)), atol=1e-5)


@FORMS
def test_exported_program_gives_the_same_for_other_bags(form):
    net = small(form)
    program = torch.export.export(net, (bag(),), dynamic_shapes=({1: torch.export.Dim("patches")},)).module()
    for patches in (1, 7, 33):
        assert torch.allclose(program(bag(patches)), net(bag(patches)), atol=1e-5)


@FORMS
def test_one_patch_takes_all_attention(form):
    net = small(form)
    assert net.train()(bag(1)).slide.isfinite().all()
    assert slide_attention(net.outputs(bag(1)).scores).tolist() == pytest.approx([1])


@FORMS
def test_half_precision_gives_about_the_same(form):
    net, x = small(form), bag()
    with torch.autocast("cpu", torch.bfloat16):
        found = net.train().outputs(x).slide if form is ACMIL else net(x)
    assert torch.allclose(found.float(), net.eval()(x), atol=0.05)
    assert net.half()(x.half()).isfinite().all()


@FORMS
def test_several_bags_and_impossible_arguments_are_refused(form):
    net = small(form)
    for wrong in (bag().expand(2, -1, -1), bag()[0]):
        with pytest.raises(ValueError, match="one bag"):
            net(wrong)
    for options, words in [
        ({"num_classes": 0}, "at least 1"),
        ({"mask_ratio": 1.5}, "mask_ratio"),
        ({"top_k": -1}, "top_k"),
    ]:
        with pytest.raises(ValueError, match=words):
            small(form, **options)


def test_heads_must_divide_the_channels():
    with pytest.raises(ValueError, match="must divide dim"):
        MultiHeadACMIL(dim=30)

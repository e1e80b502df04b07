import pytest
import torch
import torch.nn.functional as F

from foveal.core.attention.reverse import ReverseAttention, background


@pytest.mark.parametrize(("sizes", "mode"), [((8, 11), "bilinear"), ((3, 8, 5), "trilinear")])
def test_weighting_after_the_first_convolution_is_weighting_the_features(sizes, mode):
    torch.manual_seed(0)
    dimensions = len(sizes)
    unit = ReverseAttention(6, dim=4, kernel=5, depth=3, last_kernel=1, spatial_dims=dimensions).double().eval()
    features, coarse = torch.randn(2, 6, *sizes).double(), 3 * torch.randn(2, 1, *(2, 4, 3)[:dimensions]).double()
    guide = F.interpolate(coarse, size=sizes, mode=mode, align_corners=False)
    rest = features * (1 - torch.sigmoid(guide))
    expected = unit.last(unit.inner(unit.norm(unit.reduce(rest)))) + guide
    assert torch.allclose(unit(features, coarse), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")
@pytest.mark.parametrize("sizes", [(8, 11), (3, 8, 5)])
def test_scripted_unit_gives_the_same(sizes):
    unit = ReverseAttention(6, dim=4, spatial_dims=len(sizes)).eval()
    features, coarse = torch.randn(2, 6, *sizes), torch.randn(2, 1, *(2, 4, 3)[: len(sizes)])
    with torch.no_grad():
        torch.testing.assert_close(torch.jit.script(unit)(features, coarse), unit(features, coarse))


def test_what_the_coarser_map_is_sure_of_is_erased():
    torch.manual_seed(0)
    unit = ReverseAttention(6).eval()
    features = torch.randn(1, 6, 8, 8)
    sure, unsure = torch.full((1, 1, 4, 4), 50.0), torch.zeros(1, 1, 4, 4)
    assert torch.equal(unit(features, sure), unit(0 * features, sure))
    assert not torch.equal(unit(features, unsure), unit(0 * features, unsure))


def test_guide_gets_gradients():
    coarse = torch.randn(1, 1, 4, 4, requires_grad=True)
    unit = ReverseAttention(6).eval()
    unit.last.norm.weight.data.zero_()
    unit(torch.randn(1, 6, 8, 8), coarse).sum().backward()
    assert torch.allclose(coarse.grad.sum(), torch.tensor(64.0))


def test_background_of_one_logit_is_that_of_two_classes():
    logits = torch.randn(2, 1, 3, 5)
    assert torch.allclose(background(logits), background(torch.cat([torch.zeros_like(logits), logits], dim=1)))
    several = torch.randn(2, 4, 3, 5)
    assert torch.equal(background(several), several.softmax(1)[:, :1])


def test_several_classes_keep_their_channels():
    unit = ReverseAttention(6, num_classes=3)
    assert unit(torch.randn(2, 6, 8, 8), torch.randn(2, 3, 2, 2)).shape == (2, 3, 8, 8)

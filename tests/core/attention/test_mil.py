import pytest
import torch
import torch.nn.functional as F

from foveal.core.attention.mil import (
    GatedAttention,
    HeadMerge,
    QueryAttention,
    attention_shares,
    draw_ranks,
    slide_attention,
)
from foveal.kernels.gated_attention_pool import MASKED, attention_pool, mask_ranks


def drawn(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def mask_strongest(scores, top_k, ratio, uniform=None):
    return mask_ranks(scores, top_k, draw_ranks(*scores.shape[:2], scores[0].mT, top_k, ratio, uniform))


def test_gated_attention_is_the_formula():
    scorer = GatedAttention(6, 3, hidden=4).double()
    patches = drawn(9, 6)
    pooled, scores = scorer(patches)
    assert scores.shape == (1, 3, 9)
    assert torch.allclose(pooled, attention_shares(scores) @ patches)
    inner = torch.tanh(scorer.content(patches[4])) * torch.sigmoid(scorer.gate(patches[4]))
    assert torch.allclose(scores[0, :, 4], scorer.score(inner))


def test_query_scores_and_merged_heads_are_multi_head_attention():
    torch.manual_seed(0)
    scorer, merge = QueryAttention(12, 3, heads=4).double(), HeadMerge(12, heads=4).double().eval()
    scorer.queries.data.normal_()
    patches = drawn(9, 12)
    pooled, scores = scorer(patches)
    for i in range(3):
        q, k = (x.view(-1, 4, 3).transpose(0, 1) for x in (scorer.query[i](scorer.queries[i]), scorer.key[i](patches)))
        v = merge.value(patches).view(-1, 4, 3).transpose(0, 1)
        assert torch.allclose(scores[:, i], (q @ k.mT)[:, 0] / 3**0.5)
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(0, 1).reshape(1, 12)
        assert torch.allclose(merge(pooled[:, i]), merge.norm(merge.out(mixed)))


def test_queries_start_near_zero():
    assert 0 < QueryAttention(64, 5).queries.abs().max() < 1e-5


def test_shares_of_each_branch_and_of_the_slide_add_up_to_one():
    scores = drawn(2, 3, 11)
    assert torch.allclose(attention_shares(scores).sum(dim=-1), torch.ones(2, 3, dtype=torch.float64))
    slide = slide_attention(scores)
    assert slide.shape == (11,)
    patches = drawn(11, 4, seed=2)
    assert torch.allclose(slide @ patches, attention_pool(scores, patches).mean(dim=(0, 1)))


def test_ranks_with_the_smallest_numbers_are_masked():
    scores = torch.tensor([[[0.0, 5.0, 3.0, 4.0, 1.0], [9.0, 1.0, 8.0, 2.0, 7.0]]])
    uniform = torch.tensor([[[0.9, 0.1, 0.5, 0.2], [0.1, 0.9, 0.2, 0.8]]])  # ranks 1 and 3; ranks 0 and 2
    masked = mask_strongest(scores, top_k=4, ratio=0.5, uniform=uniform)
    expected = torch.tensor([[[0.0, 5.0, 3.0, MASKED, MASKED], [MASKED, 1.0, 8.0, 2.0, MASKED]]])
    assert torch.equal(masked, expected)


@pytest.mark.parametrize(
    ("patches", "top_k", "ratio", "count"),
    [(50, 10, 0.6, 6), (7, 10, 0.6, 4), (1, 10, 0.6, 0), (50, 0, 0.6, 0), (9, 9, 1.0, 9)],
)
def test_count_of_masked_patches_is_rounded_down(patches, top_k, ratio, count):
    scores = drawn(2, 3, patches)
    masked = mask_strongest(scores, top_k, ratio) == MASKED
    assert masked.sum(dim=-1).eq(count).all()
    weakest = scores.argsort(dim=-1)[..., : max(patches - top_k, 0)]
    assert not masked.gather(-1, weakest).any()


def test_rows_are_drawn_independently_and_by_the_seed():
    scores = drawn(1, 1, 40).expand(1, 20, 40)
    found = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        found.append(mask_strongest(scores, 10, 0.6) == MASKED)
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])
    assert len(found[0][0].unique(dim=0)) > 10


def test_bag_that_is_masked_as_a_whole_has_equal_shares():
    shares = attention_shares(mask_strongest(drawn(1, 2, 4), 10, 1.0))
    assert torch.equal(shares, torch.full((1, 2, 4), 0.25, dtype=torch.float64))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_masked_and_shared_in_single(dtype):
    masked = mask_strongest(drawn(1, 2, 30).to(dtype), 10, 0.6)
    assert masked.dtype == torch.float32
    assert attention_shares(masked).isfinite().all()
    assert attention_pool(masked, drawn(30, 4).to(dtype)).dtype == dtype

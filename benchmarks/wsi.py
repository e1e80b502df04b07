"""Speed and memory of the slide classifiers beside the plain formulation: `python benchmarks/wsi.py [ROW ...]`.

Every row first checks that both forms agree, then times them in turns in one process; peak memory, beside the bag
itself, is taken in a fresh process for each form. The table is printed and appended to benchmarks/RESULTS.md.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable

import torch
from measure import in_fresh_process, medians, peak_megabytes, record
from torch import Tensor

from foveal.apps.wsi.models.acmil import ACMIL, BagNetwork, BagOutputs, MultiHeadACMIL
from foveal.core.attention.mil import HeadMerge
from foveal.core.losses.branch_attention import BranchAttentionLoss

Forms = tuple[Callable[[], Tensor], Callable[[], Tensor]]
"""The plain form and ours, without arguments, each giving what both must agree on."""


def plain_gated(net: ACMIL, bag: Tensor) -> BagOutputs:
    """Gated ACMIL in the steps of the authors' code: branches and slide pool the patches each for itself."""
    patches = torch.relu(net.reduce(bag[0]))
    content, gate = torch.tanh(net.scorer.content(patches)), torch.sigmoid(net.scorer.gate(patches))
    scores = net.scorer.score(content * gate).t()
    features = torch.softmax(scores, dim=1) @ patches
    branches = [head(features[i : i + 1]) for i, head in enumerate(net.branch_heads)]
    slide = torch.softmax(scores, dim=1).mean(dim=0, keepdim=True) @ patches
    return BagOutputs(torch.cat(branches), net.slide_head(slide), scores[None])


def plain_heads(net: MultiHeadACMIL, bag: Tensor) -> BagOutputs:
    """Multi-head ACMIL in the steps of the authors' code: every branch makes keys and values of all patches."""
    patches, scorer = torch.relu(net.reduce(bag[0])), net.scorer
    found, all_scores = [], []
    for i, merge in enumerate(net.readout.branches):
        q, k = (_heads(x, scorer.heads) for x in (scorer.query[i](scorer.queries[i : i + 1]), scorer.key[i](patches)))
        scores = q @ k.mT / q.shape[-1] ** 0.5
        found.append(_merged(merge, torch.softmax(scores, dim=-1), patches))
        all_scores.append(scores)
    mean = torch.stack([torch.softmax(each, dim=-1) for each in all_scores]).mean(dim=0)
    slide = _merged(net.readout.slide, mean, patches)
    branches = [head(each) for head, each in zip(net.branch_heads, found, strict=True)]
    return BagOutputs(torch.cat(branches), net.slide_head(slide), torch.cat(all_scores, dim=1))


def _heads(x: Tensor, heads: int) -> Tensor:
    return x.view(len(x), heads, -1).transpose(0, 1)


def _merged(merge: HeadMerge, shares: Tensor, patches: Tensor) -> Tensor:
    pooled = shares @ _heads(merge.value(patches), merge.heads)
    return merge.norm(merge.dropout(merge.out(pooled.transpose(0, 1).reshape(1, -1))))


PLAIN = {ACMIL: plain_gated, MultiHeadACMIL: plain_heads}


def network(kind: type[BagNetwork]) -> BagNetwork:
    """The network for 1,024 features, without dropout and masking, so that both forms compute the same."""
    options = {} if kind is ACMIL else {"dropout": 0.0}
    net = kind(2, 1024, 512, top_k=0, **options)
    if kind is MultiHeadACMIL:
        torch.nn.init.normal_(net.scorer.queries)
    return net


def inference(kind: type[BagNetwork]) -> Forms:
    """One pass over a bag."""
    net, bag = network(kind).eval(), torch.randn(1, 100_000, 1024)

    def run(forward: Callable[[Tensor], BagOutputs]) -> Tensor:
        with torch.inference_mode():
            return forward(bag).slide

    return lambda: run(lambda x: PLAIN[kind](net, x)), lambda: run(net.outputs)


def training(kind: type[BagNetwork]) -> Forms:
    """One training step, with ACMIL's loss."""
    net, bag = network(kind).train(), torch.randn(1, 20_000, 1024)

    def step(forward: Callable[[Tensor], BagOutputs]) -> Tensor:
        net.zero_grad()
        BranchAttentionLoss()(forward(bag), torch.tensor([1])).backward()
        return torch.cat([each.grad.flatten() for each in net.parameters() if each.grad is not None])

    return lambda: step(lambda x: PLAIN[kind](net, x)), lambda: step(net)


ROWS: dict[str, tuple[str, Callable[[], Forms]]] = {
    "gated": ("ACMIL, gated, one pass over 100,000 x 1,024", lambda: inference(ACMIL)),
    "heads": ("ACMIL, multi-head, one pass over 100,000 x 1,024", lambda: inference(MultiHeadACMIL)),
    "gated_step": ("ACMIL, gated, one training step, 20,000 x 1,024", lambda: training(ACMIL)),
    "heads_step": ("ACMIL, multi-head, one training step, 20,000 x 1,024", lambda: training(MultiHeadACMIL)),
}


def compared(name: str) -> str:
    """Measure one row of the table."""
    torch.manual_seed(0)
    what, forms = ROWS[name]
    plain, ours = forms()
    expected, found = plain(), ours()
    difference = float((found - expected).norm() / expected.norm())
    assert difference < 1e-3, f"{name}: the two forms differ by {difference:.1e}"
    slow, fast = medians([plain, ours])
    large, small = (in_fresh_process(__file__, name, form) for form in ("plain", "ours"))
    return (
        f"| {what} | {slow:.2f} | {fast:.2f} | {slow / fast:.1f}x "
        f"| {large:.0f} | {small:.0f} | {small / large:.2f}x | {difference:.0e} |"
    )


def main() -> None:
    """Measure the rows that were asked for, all by default."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"{', '.join(ROWS)}; all by default")
    parser.add_argument("--peak", nargs=2, metavar=("ROW", "FORM"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peak:
        row, form = options.peak
        torch.manual_seed(0)
        print(json.dumps(peak_megabytes(ROWS[row][1]()[form == "ours"])))
        return
    lines = ["| what | plain s | ours s | faster | plain MB | ours MB | memory | difference |"]
    lines.append("| --- | --- | --- | --- | --- | --- | --- | --- |")
    record("Slide classification", [*lines, *(compared(row) for row in options.rows or ROWS)])


if __name__ == "__main__":
    main()

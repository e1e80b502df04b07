"""Whole slides, measured: `python benchmarks/wsi.py quality|speed|limits [ROW ...]`.

quality: ACMIL, ABMIL and pooling on small bags in datasets/whole_slide, by repeated folds. speed: beside the plain
formulation; every row first checks that both forms agree, then times them in turns in one process, and takes peak
memory, beside the bag itself, in a fresh process for each. limits: bags from file to file, and lower precision. The
table goes into benchmarks/RESULTS.md.
"""

from __future__ import annotations

from pathlib import Path

import h5py
import torch
import wsi_quality
from limits import FileRow, Subject, built, limits_table
from measure import Forms, Table, forms_table, in_training, in_use, run_app
from quality import HEAD, NAMED
from torch import Tensor, nn

from foveal.apps.wsi.models.acmil import ACMIL, BagNetwork, BagOutputs, MultiHeadACMIL
from foveal.core.attention.mil import HeadMerge
from foveal.core.losses.branch_attention import BranchAttentionLoss
from foveal.core.weights.card import Card


def plain_gated(net: ACMIL, bag: Tensor) -> BagOutputs:
    """Gated ACMIL in the steps of the authors' code: branches and slide pool the patches each for itself."""
    patches = net.reduce(bag)
    content, gate = torch.tanh(net.scorer.content(patches)), torch.sigmoid(net.scorer.gate(patches))
    scores = net.scorer.score(content * gate).t()
    features = torch.softmax(scores, dim=1) @ patches
    branches = [head(features[i : i + 1]) for i, head in enumerate(net.branch_heads)]
    slide = torch.softmax(scores, dim=1).mean(dim=0, keepdim=True) @ patches
    return BagOutputs(torch.cat(branches), net.slide_head(slide), scores[None])


def plain_heads(net: MultiHeadACMIL, bag: Tensor) -> BagOutputs:
    """Multi-head ACMIL in the steps of the authors' code: every branch makes keys and values of all patches."""
    patches, scorer = net.reduce(bag), net.scorer
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
    """Return both forms of one pass over a bag."""
    net, bag = network(kind).eval(), torch.randn(1, 100_000, 1024)
    return in_use(lambda x: PLAIN[kind](net, x).slide, lambda x: net.outputs(x).slide, bag)


def training(kind: type[BagNetwork]) -> Forms:
    """Return both forms of one training step, with ACMIL's loss."""
    net, bag = network(kind).train(), torch.randn(1, 20_000, 1024)
    loss, label = BranchAttentionLoss(), torch.tensor([1])
    return in_training(net, lambda: loss(PLAIN[kind](net, bag), label), lambda: loss(net(bag), label))


def gated() -> Forms:
    """ACMIL, gated, one pass over a bag of 100,000 x 1,024."""
    return inference(ACMIL)


def heads() -> Forms:
    """ACMIL, multi-head, one pass over a bag of 100,000 x 1,024."""
    return inference(MultiHeadACMIL)


def gated_step() -> Forms:
    """ACMIL, gated, one training step, a bag of 20,000 x 1,024."""
    return training(ACMIL)


def heads_step() -> Forms:
    """ACMIL, multi-head, one training step, a bag of 20,000 x 1,024."""
    return training(MultiHeadACMIL)


ROWS = {"gated": gated, "heads": heads, "gated_step": gated_step, "heads_step": heads_step}


def bag(path: Path, size: tuple[int, ...]) -> None:
    """Write the features of a slide as CLAM does."""
    with h5py.File(path, "w") as file:
        file["features"] = torch.randn(*size, 1024).numpy()
        file["coords"] = 256 * torch.stack([torch.arange(size[0]) % 400, torch.arange(size[0]) // 400], 1).numpy()


def acmil() -> tuple[nn.Module, Card]:
    """ACMIL as published, for 1,024 features."""
    facts = {"kind": "bag", "channels": ("feature",) * 1024, "tile": 1, "overlap": 0, "outputs": ("no", "yes")}
    return built("wsi", ACMIL, {"num_classes": 2, "in_channels": 1024, "dim": 512}, activation="softmax", **facts)


FILES = {
    "smallest": FileRow("`infer` of features, ACMIL", (1,), bag, "slide.h5", "answer"),
    "large": FileRow("`infer` of features, ACMIL", (100_000,), bag, "slide.h5", "answer"),
}
LIMITS = Subject("wsi", acmil, (1, 20_000, 1024), (20_000,), "tiles of 1,024 features", FILES)
NOT_FOR = (
    "Not for diagnosis, and no segmentation: attention shows what a prediction was drawn from, not where tumour is. "
    "What reads and describes the tiles of a slide takes far longer than the network; it is not in these rows."
)
NOTE = (
    "Rate, steps and sizes are the same for every network and were not tuned; the last weights are scored, so nothing "
    "was chosen by the scored bags. Intervals draw bags, not patients: the IDC windows are of two patients only. "
    '"ACMIL\'s AUC less this" is of the same drawn bags. "Attention to tumour" is the AUC of the attention for the '
    "tumour patches of a positive window, out of fold, mean over windows; 0.5 is chance. Entropy is that of the "
    'attention, relative to uniform; "most attended" is the mean share of the most attended instance.'
)

if __name__ == "__main__":
    title = "Whole slides"
    quality = Table(f"{title}: quality", HEAD, wsi_quality.SETS, wsi_quality.lines, tuple, NOTE, NAMED)
    speed = forms_table(__file__, f"{title}: speed and memory", ROWS, limit=1e-3)
    run_app(__doc__, quality, speed, limits_table(__file__, title, LIMITS, NOT_FOR))

"""How sure a mean over cases is: the bootstrap."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Interval:
    """A mean over cases and its confidence interval, in the metric's units.

    Attributes:
        mean: mean over the cases that have a value; not-a-number without any.
        low: lower end of the interval.
        high: upper end of the interval.
        count: cases that have a value.
    """

    mean: float
    low: float
    high: float
    count: int

    @property
    def is_known(self) -> bool:
        """Whether it tells how sure the mean is; a single case or group, such as one place, cannot tell."""
        return self.low < self.high

    def __str__(self) -> str:
        """Return for example `31.42 [30.10, 32.65], n = 14`."""
        return f"{self.mean:.4g} [{self.low:.4g}, {self.high:.4g}], n = {self.count}"


def bootstrap_mean(values: Sequence[float], confidence: float = 0.95, resamples: int = 2000, seed: int = 0) -> Interval:
    """Return the mean over cases with its percentile bootstrap interval (Efron 1979).

    Args:
        values: one number per case (image, patient, slide, scene: what was sampled independently). Not-a-number means
            that the metric has no value there and is left out; infinities stay.
        confidence: share of resampled means inside the interval.
        resamples: how many times as many cases are drawn with replacement.
        seed: of the draws; the same values and seed give the same interval.

    Raises:
        ValueError: the confidence is not between 0 and 1.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"the confidence must lie between 0 and 1, not be {confidence}")
    cases = torch.tensor(list(values), dtype=torch.float64)
    cases = cases[~cases.isnan()]
    if not len(cases):
        return Interval(float("nan"), float("nan"), float("nan"), 0)
    draws = torch.randint(len(cases), (resamples, len(cases)), generator=torch.Generator().manual_seed(seed))
    tail = (1 - confidence) / 2
    # The nearest resampled mean: interpolating between infinities would give not-a-number.
    ends = cases[draws].mean(dim=1).quantile(torch.tensor([tail, 1 - tail]).double(), interpolation="nearest")
    return Interval(cases.mean().item(), *ends.tolist(), len(cases))


def bootstrap(
    statistic: Callable[[Tensor], Tensor],
    cases: int,
    groups: Sequence[str] | None = None,
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> list[Interval]:
    """Return statistics of a set of cases with their percentile bootstrap intervals (Efron 1979).

    Whole groups are drawn with replacement, so that cases of one patient come together (Field and Welsh 2007).

    Args:
        statistic: gives k numbers, (k,), for the numbers of the cases drawn, (n,); not-a-number where one has no value.
        cases: how many there are.
        groups: the group of each case; None where every case is one.
        confidence: share of resampled statistics inside the interval.
        resamples: how many times as many groups are drawn.
        seed: of the draws.

    Raises:
        ValueError: the confidence is not between 0 and 1.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"the confidence must lie between 0 and 1, not be {confidence}")
    whole = statistic(torch.arange(cases)).double()
    members = _members(cases, groups)
    if not members:
        return [Interval(float("nan"), float("nan"), float("nan"), 0)] * len(whole)
    draws = torch.randint(len(members), (resamples, len(members)), generator=torch.Generator().manual_seed(seed))
    distinct, place = draws.sort(dim=1).values.unique(dim=0, return_inverse=True)  # of few groups most are the same
    values = torch.stack([statistic(torch.cat([members[i] for i in draw])) for draw in distinct.tolist()]).double()
    values = values[place]
    tail = (1 - confidence) / 2
    ends = values.nanquantile(torch.tensor([tail, 1 - tail]).double(), dim=0, interpolation="nearest")
    return [Interval(*each, cases) for each in zip(whole.tolist(), *ends.tolist(), strict=True)]


def _members(cases: int, groups: Sequence[str] | None) -> list[Tensor]:
    """Return the numbers of the cases of each group."""
    if groups is None:
        return list(torch.arange(cases).split(1)) if cases else []
    found: dict[str, list[int]] = {}
    for number, group in enumerate(groups):
        found.setdefault(group, []).append(number)
    return [torch.tensor(each) for each in found.values()]

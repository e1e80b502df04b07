"""How large `init` proposes networks and trainings: as large as the data and this machine bear."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeVar

Asked = Literal["auto", "light", "full"]
Choice = TypeVar("Choice")
FEWEST = 10
"""Cases to train on, from which on a full network is proposed."""


@dataclass(frozen=True)
class Size:
    """What a proposal is made for.

    Attributes:
        is_light: a small network and a short training, which need no GPU.
        told: that, why, how large the published training is, and how to get the other proposal.
    """

    is_light: bool
    told: str

    def of(self, light: Choice, full: Choice) -> Choice:
        """Return the one that fits."""
        return light if self.is_light else full


def size_of(asked: Asked, cases: int, published: str) -> Size:
    """Choose by the number of cases and by whether there is a GPU, so that a folder gives the same on a machine.

    Args:
        asked: "light" or "full" settles it.
        cases: to train on.
        published: the network and the length of its published training, in words.
    """
    is_light, why = _chosen(asked, cases)
    proposal = "light network, short training" if is_light else "full network and training"
    other = "full" if is_light else "light"
    return Size(is_light, f"{proposal}, {why}; published: {published}; --size {other} proposes the {other} one")


def _chosen(asked: Asked, cases: int) -> tuple[bool, str]:
    """Return whether the proposal is light, and why."""
    from ..core.inference.device import find_device

    if asked != "auto":
        return asked == "light", "as asked for"
    if find_device("auto").type == "cpu":
        return True, "as there is no GPU here"
    if cases < FEWEST:
        return True, f"as {cases} cases to train on are few"
    return False, f"as there are a GPU and {cases} cases to train on"

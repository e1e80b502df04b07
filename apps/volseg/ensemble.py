"""Several networks as one: the mean of their probabilities, such as those of the folds of one training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace

import torch
from torch import Tensor, nn

from ...core.errors import UserError
from ...core.inference.command import open_program, warn_of_exported
from ...core.inference.device import Precision
from ...core.weights.card import Card
from ...core.weights.load import Program

OWN = ("name", "network", "licence", "training", "metrics", "probabilities")
"""What the cards of members may say differently: none of it says what goes in or comes out of the ensemble."""


def open_ensemble(
    weights: Sequence[str], device: str = "auto", precision: Precision = "float32"
) -> tuple[Ensemble, dict[str, object]]:
    """Load weights and return the program that runs all of them, and the facts on which its outputs depend.

    Args:
        weights: of each member, what `load_program` takes.
        device: where they run.
        precision: what networks compute in; exported programs keep their own.

    Raises:
        UserError: weights cannot be loaded, are of another app, or do not belong together.
    """
    members, facts = zip(*(open_program("volseg", each, device) for each in weights), strict=True)
    for each in members:
        warn_of_exported(each, precision)
    files = [{"name": each["card"], "sha256": each["weights"]} for each in facts]
    return Ensemble(members, weights), {**facts[0], "weights": files}


class Ensemble(nn.Module):
    """Gives the mean of the members' probabilities, (N, C, D, H, W) -> (N, K, D, H, W); one member is one too.

    Args:
        members: networks and exported programs that give logits or probabilities of the same exclusive classes.
        names: what errors call them.

    Attributes:
        card: of the members, but that it gives probabilities.

    Raises:
        UserError: the cards of two members differ in what goes in or comes out, or give no exclusive classes.
    """

    def __init__(self, members: Sequence[Program], names: Sequence[str]) -> None:
        super().__init__()
        self.members = nn.ModuleList(each for each in members if isinstance(each, nn.Module))
        self.programs = [each for each in members if not isinstance(each, nn.Module)]
        self.card = _common([each.card for each in members], names)

    def forward(self, x: Tensor) -> Tensor:
        """Return probabilities."""
        total = sum(_probabilities(member(x), member.card) for member in self.members)
        for each in self.programs:  # which take one tile at a time
            total = total + torch.cat([_probabilities(each(tile), each.card) for tile in x.split(1)])
        return total / (len(self.members) + len(self.programs))


def _probabilities(outputs: Tensor, card: Card) -> Tensor:
    return outputs.float() if card.probabilities else outputs.float().softmax(dim=1)


def _common(cards: Sequence[Card], names: Sequence[str]) -> Card:
    """Return the card of an ensemble."""
    first = cards[0]
    for card, name in zip(cards, names, strict=True):
        if card.activation != "argmax":
            raise UserError(f"--weights {name}: gives no exclusive classes ({card.activation}), so no label map.")
        for each in fields(Card):
            own, wanted = (getattr(either, each.name) for either in (card, first))
            if each.name not in OWN and own != wanted:
                raise UserError(
                    f"--weights {name}: its card says {each.name} {own}, that of {names[0]} {wanted}; "
                    "an ensemble needs networks of one task. Give those of one training."
                )
    name = first.name if len(cards) == 1 else f"{first.name} and {len(cards) - 1} more"
    return replace(first, name=name, probabilities=True)

"""What a network says of one bag: the probabilities of its classes, and how it shares its attention among the tiles."""

# N tiles, D features, K branches, G attention maps of a branch

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from ...core.attention.mil import attention_shares, slide_attention
from ...core.errors import UserError
from ...core.inference.classes import chances
from ...core.inference.prepared import normalised
from ...core.weights.card import Card
from ...core.weights.load import Program
from .feature_facts import unfinite


@dataclass(frozen=True, eq=False)
class Score:
    """What is said of a bag.

    Attributes:
        probabilities: of the classes, float64 (classes,).
        attention: the share of each tile in the slide's feature, float32 (N,); None of a network without attention.
        branches: that of each branch, mean over its maps, float32 (N, K); None likewise.
    """

    probabilities: np.ndarray
    attention: np.ndarray | None = None
    branches: np.ndarray | None = None


class Scorer:
    """Runs a network, or an exported program, on bags.

    Args:
        program: with a card of kind "bag".
        device: where it is.

    Attributes:
        card: of the program.
        attends: whether it tells its attention, which exported programs and pooling do not.

    Raises:
        UserError: the program is for something else than bags.
    """

    def __init__(self, program: Program, device: torch.device) -> None:
        self.program = program
        self.device = device
        self.card: Card = program.card
        self.attends = hasattr(program, "outputs")
        if self.card.kind != "bag":
            raise UserError(f"--weights: {self.card.name} is no classifier of slides; give one that `fit` trained.")

    def score(self, features: np.ndarray, where: object) -> Score:
        """Return what the network says of one bag.

        Args:
            features: (N, D).
            where: the bag, for errors.

        Raises:
            UserError: the features are of another encoder, or not finite.
        """
        if features.shape[1] != len(self.card.channels):
            raise UserError(
                f"{where}: has features of {features.shape[1]} channels, but {self.card.name} takes "
                f"{len(self.card.channels)}; take the encoder it was trained on."
            )
        if (problem := unfinite(features)) is not None:
            raise UserError(f"{where}: {problem}.")
        bag = torch.from_numpy(features.astype(np.float32))[None].to(self.device)
        with torch.inference_mode():
            bag = normalised(bag, self.card)
            if not self.attends:
                return Score(self._probabilities(self.program(bag)))
            found = self.program.outputs(bag)
            shares = attention_shares(found.scores).mean(dim=0).T.contiguous()
            attention = slide_attention(found.scores)
        return Score(self._probabilities(found.slide), attention.cpu().numpy(), shares.cpu().numpy())

    def _probabilities(self, logits: torch.Tensor) -> np.ndarray:
        if logits.shape != (1, len(self.card.outputs)):
            raise UserError(
                f"the network made {tuple(logits.shape)} of a bag; its card promises {len(self.card.outputs)} classes."
            )
        return chances(logits, self.card)[0].cpu().numpy()

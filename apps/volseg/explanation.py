"""Pictures of what the deepest stage of D-Former took into account: what `volseg infer --explain` writes."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from ...core.attention_overlay import Panel, draw_panels
from ...core.errors import UserError
from ...core.explain.maps import relevance_maps
from ...core.explain.relevance import self_relevance
from ...core.explanation import WARNING, marked_score, of_largest
from ...core.inference.engine import Engine
from ...core.inference.orientation import turn_between
from ...core.inference.pipeline import padded
from ...core.inference.streams import Source
from ...core.planes import busiest, planes
from ...core.weights.card import Card
from ...data.infer import check_folder
from ...data.io.formats import output_suffixes
from ...data.volume_channels import KINDS
from ...data.volume_run import prepared_volume
from .ensemble import Ensemble
from .models.dformer import DFormer

PLANES = ("axial", "coronal", "sagittal")


class Explainer:
    """Draws the relevance of the tokens of D-Former's deepest stage for what was marked, in the tile that holds most.

    Args:
        ensemble: of one network.
        engine: which runs it.
        folder: where pictures go.

    Raises:
        UserError: it is another network, or several; or pictures cannot go there.
    """

    def __init__(self, ensemble: Ensemble, engine: Engine, folder: Path) -> None:
        nets = [*ensemble.members, *ensemble.programs]
        if len(nets) != 1 or not isinstance(nets[0], DFormer):
            raise UserError("--explain: shows the attention of one D-Former; give a checkpoint of it, or leave it out.")
        check_folder("explain", folder, output_suffixes(KINDS))
        self.network, self.card, self.engine = nets[0], ensemble.card, engine

    def draw(self, source: Source, path: Path, title: str) -> None:
        """Draw three planes of a volume and the relevance over them.

        Args:
            source: the volume, in the units of its format.
            path: the PNG file to write.
            title: of the picture.
        """
        tile, labels = max(self._tiles(source), key=lambda found: np.count_nonzero(found[1]))
        x = torch.from_numpy(np.ascontiguousarray(tile))[None].to(self.engine.device)
        maps = relevance_maps(self.network, x, score=marked_score, within=self.network.bottleneck)
        relevance = self_relevance(maps.values())
        others = (relevance - torch.eye(relevance.shape[-1], device=relevance.device)).mean(1)
        stage = [size // multiple for size, multiple in zip(tile.shape[1:], self.card.size_multiple, strict=True)]
        whole = F.interpolate(others.view(1, 1, *stage), tile.shape[1:], mode="trilinear", align_corners=False)
        tokens, voxels, side = (" x ".join(map(str, each)) for each in (stage, tile.shape[1:], self.card.size_multiple))
        caption = (
            f"Relevance, (gradient x attention)+, of the {tokens} tokens of the deepest stage for what was marked, in "
            f"the tile of {voxels} voxels that holds most of it, as a share of the largest. A token stands for {side} "
            f"voxels. {WARNING}"
        )
        panels = self._panels(source, tile[0], labels, of_largest(whole[0, 0].cpu().numpy()))
        draw_panels(panels, path, title, caption=caption)

    def _tiles(self, source: Source) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield each tile as the network sees it, (C, D, H, W), with the class of each voxel."""
        volume = prepared_volume(source, self.card)
        for place in product(*self.engine.plan(volume.shape[1:])):
            tile = padded(volume[:, *(slice(each.start, each.stop) for each in place)], place)
            x = torch.from_numpy(np.ascontiguousarray(tile))[None].to(self.engine.device)
            with torch.inference_mode():
                labels = self.network(x)[0].argmax(0).cpu().numpy()
            yield tile, labels

    def _panels(self, source: Source, image: np.ndarray, labels: np.ndarray, relevance: np.ndarray) -> list[Panel]:
        """Return each plane without and with the relevance."""
        orientation, spacing = _frame(source, self.card)
        low, high = np.percentile(image, [1, 99])
        unit = ((image - low) / max(high - low, 1e-8)).clip(0, 1)
        place = busiest(labels)
        greys, maps = (planes(each, place, orientation, spacing) for each in (unit, relevance))
        shown = []
        for name, grey, each in zip(PLANES, greys, maps, strict=True):
            shown += [Panel(name, grey[None]), Panel("relevance", grey[None], each, (0.0, 1.0))]
        return shown


def _frame(source: Source, card: Card) -> tuple[str, tuple[float, ...]]:
    """Return the orientation and the spacing in millimetres of what the network sees."""
    stored = source.geometry.orientation
    turn = turn_between(stored, card.orientation)
    return card.orientation or stored, card.spacing or tuple(source.geometry.spacing_mm[axis] for axis in turn.order)

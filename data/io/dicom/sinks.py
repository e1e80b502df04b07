"""What is written of DICOM images as DICOM: segmentations and secondary captures."""

from __future__ import annotations

from pathlib import Path

from ....core.weights.card import Card
from .capture import SecondaryCaptureSink
from .segmentation import DicomSegSink
from .source import DicomSource

__all__ = ["DicomSegSink", "DicomSink", "SecondaryCaptureSink"]


class DicomSink:
    """Chooses the kind of DICOM file for what a network makes."""

    @staticmethod
    def like(
        path: str | Path, source: DicomSource, card: Card, fingerprint: str = ""
    ) -> DicomSegSink | SecondaryCaptureSink:
        """Return a segmentation for labels and probabilities, a secondary capture for values.

        Raises:
            UserError: DICOM cannot hold what the network makes of this source.
        """
        kind = SecondaryCaptureSink if card.activation == "none" else DicomSegSink
        return kind(path, source, card, fingerprint)

"""DICOM: single images, multi-frame files and series; segmentations and secondary captures."""

from .series import list_series
from .sinks import DicomSegSink, DicomSink, SecondaryCaptureSink
from .source import DicomSource

__all__ = ["DicomSegSink", "DicomSink", "DicomSource", "SecondaryCaptureSink", "list_series"]

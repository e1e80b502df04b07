"""Whole-slide images; heatmaps, outlines and pictures of them."""

from .sinks import GeoJsonSink, HeatmapSink, PreviewSink
from .source import SUFFIXES, SlideSource

__all__ = ["SUFFIXES", "GeoJsonSink", "HeatmapSink", "PreviewSink", "SlideSource"]

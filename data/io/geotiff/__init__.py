"""GeoTIFF rasters of one or many dates."""

from .files import SUFFIXES, GeoTiffSink, GeoTiffSource

__all__ = ["SUFFIXES", "GeoTiffSink", "GeoTiffSource"]

"""GeoTIFF rasters of one or many dates."""

from .dates import SUFFIXES
from .files import GeoTiffSource
from .sink import GeoTiffSink

__all__ = ["SUFFIXES", "GeoTiffSink", "GeoTiffSource"]

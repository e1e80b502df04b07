"""GeoTIFF rasters of one or many dates."""

from .dates import SUFFIXES, rasters_in
from .files import GeoTiffSource
from .sink import GeoTiffSink

__all__ = ["SUFFIXES", "GeoTiffSink", "GeoTiffSource", "rasters_in"]

"""NIfTI files of two to four dimensions."""

from .files import SUFFIXES, NiftiSink, NiftiSource

__all__ = ["SUFFIXES", "NiftiSink", "NiftiSource"]

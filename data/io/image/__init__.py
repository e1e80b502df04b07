"""Images: PNG, JPEG, TIFF and BMP."""

from .files import SUFFIXES, ImageSink, ImageSource, read_image, write_image

__all__ = ["SUFFIXES", "ImageSink", "ImageSource", "read_image", "write_image"]

"""Operations worth a fast form of their own: one folder each, needing torch alone, and Triton for the fastest."""

from .backend import use_backend

__all__ = ["use_backend"]

"""Attention blocks, one idea per file, needing torch alone."""

"""Inference: tiles of any size of input through one engine, resumable, over many files."""

"""Whole slides: tissue, tiles and features, and slide labels by multiple-instance learning."""

"""Weights: the card that travels with them, and files read and written safely."""

"""Cloud removal: one clear satellite image out of several cloudy dates."""

COMMANDS = {"composite": "make an image of the clear dates of each pixel, without a network"}

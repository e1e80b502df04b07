"""Cloud removal: one clear satellite image out of several cloudy dates."""

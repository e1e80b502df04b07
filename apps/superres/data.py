"""Training patches and evaluation images for super-resolution."""

from ...data.pair_data import PairData


class SuperResolutionData(PairData):
    """Pairs of low- and high-resolution images."""

    cache_name = "superres"

import numpy as np
import pytest

from foveal.core.attention.offsets import offset_index


@pytest.mark.parametrize("sizes", [(4,), (2, 3), (3, 1, 2)])
def test_each_pair_finds_its_offset(sizes):
    places = list(np.ndindex(*sizes))
    ranges = [2 * size - 1 for size in sizes]
    index = offset_index(list(sizes)).tolist()
    for row, query in enumerate(places):
        for column, key in enumerate(places):
            offset = [q - k + size - 1 for q, k, size in zip(query, key, sizes, strict=True)]
            assert index[row][column] == np.ravel_multi_index(offset, ranges)

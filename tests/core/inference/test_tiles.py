import itertools
import random

import numpy as np
import pytest

from foveal.core.errors import UserError
from foveal.core.inference.tiles import plan_axis


def cases(count=3000):
    generator = random.Random(0)
    for _ in range(count):
        tile = generator.randint(1, 80)
        yield (
            generator.randint(1, 300),
            tile,
            generator.randint(0, tile // 2),
            generator.choice((1, 2, 3, 4)),
            generator.choice((1, 1, 2, 7, 8)),
        )


def test_weights_sum_to_one_exactly_and_at_most_two_tiles_meet():
    for length, tile, overlap, scale, multiple in cases():
        total, count = np.zeros(length * scale, np.float32), np.zeros(length * scale, int)
        for span in plan_axis(length, tile, overlap, scale, multiple):
            total[span.low : span.high] += span.weights
            count[span.low : span.high] += 1
        assert (total == 1).all()
        assert count.max() <= 2


def test_products_over_axes_sum_to_one_exactly():
    rows, columns = plan_axis(101, 24, 9, 3), plan_axis(77, 24, 9, 3)
    total = np.zeros((303, 231), np.float32)
    for row, column in itertools.product(rows, columns):
        total[row.low : row.high, column.low : column.high] += row.weights[:, None] * column.weights
    assert (total == 1).all()


def test_tiles_have_one_size_start_at_multiples_and_share_the_overlap():
    for length, tile, overlap, scale, multiple in cases():
        spans = plan_axis(length, tile, overlap, scale, multiple)
        assert len({span.stop - span.start for span in spans}) == 1
        assert all(span.start % multiple == 0 for span in spans)
        assert 0 <= spans[-1].stop - length < multiple
        assert all(span.start * scale <= span.low < span.high <= span.stop * scale for span in spans)
        if tile > multiple:
            assert all(before.stop - after.start >= overlap for before, after in itertools.pairwise(spans))


@pytest.mark.parametrize("tile", [24, None])
def test_a_short_axis_is_padded_to_the_smallest_size(tile):
    (span,) = plan_axis(5, tile, 4, 2, 8, smallest=17)
    assert (span.start, span.stop, span.low, span.high) == (0, 24, 0, 10)


def test_what_fits_is_one_tile_without_ramps():
    for tile in (50, 64, None):
        (span,) = plan_axis(50, tile, 8, 2)
        assert (span.start, span.stop, span.low, span.high) == (0, 50, 0, 100)
        assert (span.weights == 1).all()


def test_neighbours_are_blended_in_the_middle_of_what_they_share():
    first, second = plan_axis(28, 16, 4)
    assert (first.stop, second.start) == (16, 12)
    assert (second.low, first.high) == (12, 16)
    assert first.weights[-4:].tolist() == [0.875, 0.625, 0.375, 0.125]


@pytest.mark.parametrize(("tile", "overlap", "named"), [(0, 0, "--tile"), (8, 5, "--overlap"), (8, -1, "--overlap")])
def test_impossible_options_are_refused_by_name(tile, overlap, named):
    with pytest.raises(UserError, match=named):
        plan_axis(10, tile, overlap)

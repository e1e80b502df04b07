import numpy as np
import pytest

from foveal.apps.wsi.slides import slide_name
from foveal.apps.wsi.tiling import check_tiling, plan_tiles, tissue_shares
from foveal.core.errors import UserError
from foveal.data.io.slide import SlideSource
from foveal.tests.fixtures.slide import stained, write_tiff

HEIGHT, WIDTH = 400, 600


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write_tiff(tmp_path_factory.mktemp("slide") / "slide.tif", stained(HEIGHT, WIDTH), levels=2)


def tissue_at(source, top, bottom, left, right):
    """Tissue in a box, counted in pixels of the finest level."""
    step = source.overview_step
    mask = np.zeros(source.overview_shape, bool)
    mask[int(top / step) : int(bottom / step), int(left / step) : int(right / step)] = True
    return mask


@pytest.mark.parametrize(("mpp", "step0"), [(0.5, 1), (1.0, 2), (0.75, 1.5), (0.25, 0.5)])
def test_the_grid_begins_where_tissue_does_and_leaves_the_slide_nowhere(path, mpp, step0):
    with SlideSource(path, mpp) as source:
        tiles = plan_tiles(source, 40, None, 0.0, tissue_at(source, 60, 380, 120, 600))
    x, y = tiles.coords.T
    assert (x.min(), y.min()) == (120, 60)
    assert tiles.size0 == 40 * step0
    assert tiles.coords.dtype == np.int64
    for places, length in ((x, WIDTH), (y, HEIGHT)):
        steps = np.diff(np.unique(places))
        assert np.abs(steps - tiles.size0).max() <= 1
        assert places.max() + tiles.size0 <= length
        assert places.max() + 2 * tiles.size0 > min(length, 380)
    assert (tiles.mpp, tiles.level0_mpp, tiles.level0_shape) == (mpp, 0.5, (HEIGHT, WIDTH))


def test_tiles_may_overlap_or_leave_gaps(path):
    with SlideSource(path) as source:
        mask = tissue_at(source, 0, 400, 0, 600)
        for step in (20, 60):
            x, _ = plan_tiles(source, 40, step, 0.0, mask).coords.T
            assert np.unique(x).tolist() == list(range(0, 561, step))


def test_tiles_hold_the_share_of_tissue_that_is_asked_for(path):
    with SlideSource(path) as source:
        mask = tissue_at(source, 0, 100, 0, 130)
        # 2 x 3 tiles are full, 3 below are half full, 2 to the right a quarter, and one in the corner an eighth
        for least, count in ((0.0, 12), (0.125, 12), (0.2, 11), (0.3, 9), (0.51, 6), (1.0, 6)):
            assert len(plan_tiles(source, 40, None, least, mask).coords) == count


def test_shares_are_exact_between_the_pixels_of_the_mask():
    rng = np.random.default_rng(0)
    mask = rng.random((10, 14)) > 0.5
    fine = mask.repeat(6, axis=0).repeat(6, axis=1)
    rows, columns = np.array([0, 5, 40]), np.array([3, 17, 64])
    shares = tissue_shares(mask, (60, 84), rows, columns, 20)
    expected = [[fine[row : row + 20, column : column + 20].mean() for column in columns] for row in rows]
    np.testing.assert_allclose(shares, expected, atol=1e-12)


def test_tissue_at_the_edge_of_the_slide_is_seen_by_a_tile_within_it(path):
    with SlideSource(path) as source:
        tiles = plan_tiles(source, 128, None, 0.0, tissue_at(source, 390, 400, 590, 600))
    assert tiles.coords.tolist() == [[WIDTH - 128, HEIGHT - 128]]


def test_found_tissue_is_tiled_where_none_is_given(path):
    with SlideSource(path) as source:
        tiles = plan_tiles(source, 64)
        middle = tiles.coords + 32
    offset = (middle - (0.45 * WIDTH, 0.55 * HEIGHT)) / (WIDTH, HEIGHT)
    assert len(tiles.coords) > 5
    assert np.hypot(*offset.T).max() < 0.45


def test_what_cannot_be_tiled_is_told(path, tmp_path):
    with SlideSource(path) as source:
        with pytest.raises(
            UserError, match=r"slide\.tif: tiles of 401 pixels at 0\.5 µm/pixel are larger .* 600 x 400"
        ):
            plan_tiles(source, 401)
        with pytest.raises(UserError, match=r"of \d+ tiles of 400 .* none has 90% tissue or more"):
            plan_tiles(source, 400, min_tissue=0.9)
    blank = write_tiff(tmp_path / "blank.tif", np.full((100, 100, 3), 240, np.uint8))
    with SlideSource(blank) as source, pytest.raises(UserError, match=r"blank\.tif: no tissue was found"):
        plan_tiles(source, 32)


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ((0, 256, None, 0), "--mpp"),
        ((1, 0, None, 0), "--size"),
        ((1, 9, 0, 0), "--step"),
        ((1, 9, 9, 2), "--min_tissue"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, name):
    with pytest.raises(UserError, match=f"^{name} "):
        check_tiling(*options)


def test_the_name_of_a_slide_keeps_its_dots(tmp_path):
    assert slide_name(tmp_path / "TCGA-05.6f4b.svs") == "TCGA-05.6f4b"
    assert slide_name(tmp_path / "a.b.TIFF") == "a.b"
    (tmp_path / "1.2.tif").mkdir()
    assert slide_name(tmp_path / "1.2.tif") == "1.2.tif"

"""The grid on which tiles are painted, and the pictures made of it."""

import numpy as np
import pytest
from PIL import Image

from foveal.apps.wsi.heatmap import LONGEST, TileGrid, draw_heatmap
from foveal.apps.wsi.tiling import Tiles, plan_tiles
from foveal.core.weights.card import Card
from foveal.data.io.slide import SlideSource
from foveal.data.io.slide.preview import FOOT, HEAD, MARGIN
from foveal.tests.fixtures.slide import stained, write_tiff


class Slide:
    """As much of a slide as a grid takes from it."""

    path = overview = None
    overview_mpp = 1.0


def tiles_at(coords, size, size0, shape, mpp=None):
    return Tiles("a", np.asarray(coords), size, size0, mpp or size0 / size * 0.25, 0.25, shape)


def painted(grid, values):
    """Paint in bands of odd heights."""
    height = grid.geometry.shape[0]
    rows = [grid.painted(values, top, min(top + 7, height)) for top in range(0, height, 7)]
    return np.concatenate(rows)


@pytest.mark.parametrize("level0_mpp", [0.2501, 0.2487, 0.2527, 0.31])
def test_tiles_of_fractional_size_leave_no_gap_and_keep_their_values(level0_mpp, tmp_path):
    path = write_tiff(tmp_path / "a.tif", np.tile(stained(100, 130)[30:80, 20:90], (12, 12, 1)), mpp=level0_mpp)
    with SlideSource(path, 0.5) as source:
        tiles = plan_tiles(source, 32, tissue=np.ones((2, 2), bool))
        grid = TileGrid(source, tiles)
    values = np.arange(1, len(tiles.coords) + 1, dtype=np.float32)
    found = painted(grid, values)
    rows, columns = (len(np.unique(tiles.coords[:, axis])) for axis in (1, 0))
    inner = found[: rows * grid.side, : columns * grid.side]
    expected = np.kron(values.reshape(rows, columns), np.ones((grid.side, grid.side), np.float32))
    np.testing.assert_array_equal(inner, expected)
    np.testing.assert_array_equal(found > 0, grid.tissue_overview)
    assert grid.geometry.shape[1] * grid.geometry.mpp == pytest.approx(840 * level0_mpp, abs=grid.geometry.mpp)


def test_where_tiles_overlap_their_mean_is_painted():
    grid = TileGrid(Slide, tiles_at([[0, 0], [32, 0], [200, 128]], 64, 64, (256, 256)))
    found = painted(grid, np.array([1, 3, 5], np.float32))
    row = found[0]
    half = grid.side // 2
    np.testing.assert_array_equal(row[: 3 * half], np.repeat([1, 2, 3], half))
    assert found[grid.side :].max() == 5
    assert (row[3 * half :] == 0).all()


def test_the_heatmap_of_the_largest_slides_stays_small():
    shape = (200_000, 150_000)
    grid = TileGrid(Slide, tiles_at([[0, 0], [149_744, 199_744]], 256, 256, shape))
    assert max(grid.geometry.shape) <= LONGEST + 1
    corner = grid.painted(np.ones(2, np.float32), grid.geometry.shape[0] - 5, grid.geometry.shape[0])[:, -5:]
    assert corner[:-1, :-1].all()  # the last pixels lie half beyond the slide
    tiny = TileGrid(Slide, tiles_at([[5, 7]], 3, 3, (20, 20)))
    assert tiny.geometry.shape == (7, 7)


def test_the_picture_shows_attention_over_the_tile_it_belongs_to(tmp_path):
    height, width = 700, 900
    path = write_tiff(tmp_path / "a.tif", np.full((height, width, 3), 200, np.uint8))
    card = Card(
        name="small",
        app="wsi",
        network={"class_path": "none"},
        kind="bag",
        channels=("feature",),
        tile=1,
        overlap=0,
        outputs=("a", "b"),
        activation="softmax",
    )
    tiles = Tiles("a", np.array([[100, 200], [164, 200], [100, 264]]), 64, 64, 0.5, 0.5, (height, width))
    with SlideSource(path) as source:
        draw_heatmap(
            tmp_path / "a_heatmap.tif",
            tmp_path / "a.png",
            source,
            tiles,
            np.array([0, 0.9, 0.1], np.float32),
            card,
            "b",
        )
    picture = np.asarray(Image.open(tmp_path / "a.png").convert("RGB")).astype(int)
    assert picture.shape[0] == HEAD + height + FOOT
    slide = picture[HEAD : HEAD + height, MARGIN : MARGIN + width]
    changed = np.argwhere((slide != 200).any(axis=2) & (slide != 205).any(axis=2))
    assert (changed.min(axis=0).tolist(), changed.max(axis=0).tolist()) == ([200, 100], [327, 227])
    assert (slide[264:328, 164:228] == 200).all()  # no tile there
    reddest = np.argwhere(slide[..., 0] - slide[..., 2] > 60)
    assert (reddest.min(axis=0).tolist(), reddest.max(axis=0).tolist()) == ([200, 164], [263, 227])

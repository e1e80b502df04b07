"""What the report shows of a bag: its slide or the map of its tiles, the attention, the tiles it lies on."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from foveal.apps.wsi.exhibit import TILE, bag_exhibit
from foveal.data.datasets.bag import Bag
from foveal.data.io.features import Features
from foveal.tests.fixtures.slide import stained, write_tiff

CASE = {"truth": "ill", "predicted": "well", "probability_well": "0.75", "probability_ill": "0.25"}
COORDS = np.array([[0, 0], [32, 0], [32, 16]])


def made(tmp_path: Path, picture: Path | None = None, coords: np.ndarray | None = COORDS, **facts: float) -> Bag:
    found = Features(np.zeros((3, 8)), coords, facts)
    return Bag("b", "ill", tmp_path / "b.h5", features=found, picture=picture)


def photograph(tmp_path: Path) -> Path:
    values = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    Image.fromarray(values).save(tmp_path / "photograph.png")
    return tmp_path / "photograph.png"


def shown(bag: Bag, shares: tuple[float, ...] | None = (0.1, 0.2, 0.7)):
    return bag_exhibit(bag, CASE, ("well", "ill"), None if shares is None else np.array(shares))


def test_the_attention_lies_where_its_tiles_do(tmp_path):
    found = shown(made(tmp_path, photograph(tmp_path), patch_size=16))
    slide, attention = found.pictures["slide"], found.pictures["attention"]
    assert slide.shape == (64, 96, 3)
    assert attention.shape == (64, 96, 4)
    opaque = attention[..., 3]
    assert (opaque[:16, :16] > 0).all()
    assert (opaque[16:32, 32:48] == 255).all()
    assert (opaque[32:] == 0).all()
    assert opaque[0, 0] < opaque[0, 40] < 255
    assert found.facts["probabilities"] == {"well": 0.75, "ill": 0.25}
    assert [round(each["times"], 6) for each in found.facts["top"]] == [2.1, 0.6, 0.3]
    assert found.facts["top"][0]["box"] == pytest.approx([100 * 32 / 96, 25, 100 * 16 / 96, 25], abs=1e-3)
    assert found.pictures["1"].shape == (TILE, TILE, 3)


def test_without_a_slide_the_tiles_are_drawn(tmp_path):
    found = shown(made(tmp_path, patch_size=16))
    assert set(found.pictures) == {"slide", "attention"}
    assert found.pictures["slide"].shape == (32, 48, 3)
    assert (found.pictures["slide"][:16, :16] < 255).all()
    assert (found.pictures["slide"][16:, :32] == 255).all()
    known = shown(made(tmp_path, patch_size_level0=16, level0_width=96, level0_height=64))
    assert known.pictures["slide"].shape == (64, 96, 3)


def test_a_slide_that_cannot_be_read_is_told_and_left_out(tmp_path, caplog):
    (tmp_path / "slide.svs").write_bytes(b"no slide")
    found = shown(made(tmp_path, tmp_path / "slide.svs", patch_size=16))
    assert set(found.pictures) == {"slide", "attention"}
    assert "The report shows its tiles alone" in caplog.text


@pytest.mark.parametrize("facts", [{"level0_width": 192, "level0_height": 128}, {}])
def test_a_smaller_copy_of_the_slide_is_told_and_left_out(tmp_path, caplog, facts):
    slide = write_tiff(tmp_path / "slide.tif", stained(64, 96))
    fitting = made(tmp_path, slide, patch_size_level0=16)
    assert shown(fitting).pictures["slide"].shape == (64, 96, 3)
    assert not caplog.messages
    coords = COORDS * (1 if facts else 10)
    found = shown(made(tmp_path, slide, coords, patch_size_level0=16, **facts))
    assert set(found.pictures) == {"slide", "attention"}
    assert "b.h5: its tiles are not of" in caplog.text
    assert "which has 96 x 64 pixels. The report shows its tiles alone." in caplog.text


def test_a_network_without_attention_shows_the_slide(tmp_path):
    found = shown(made(tmp_path, photograph(tmp_path), patch_size=16), None)
    assert set(found.pictures) == {"slide"}
    assert found.facts["top"] == []


def test_tiles_that_lie_nowhere_are_not_shown(tmp_path):
    assert shown(made(tmp_path, coords=None)).pictures == {}


def test_the_size_of_tiles_is_that_of_their_grid_where_it_is_not_told(tmp_path):
    assert shown(made(tmp_path)).pictures["slide"].shape == (32, 48, 3)

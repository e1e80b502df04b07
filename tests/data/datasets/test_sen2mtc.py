import numpy as np
import pytest
import torch
from PIL import Image

from foveal.core.errors import UserError
from foveal.data.datasets.sen2mtc_new import TILES, Sen2MTCNew
from foveal.data.datasets.sen2mtc_old import Sen2MTCOld
from foveal.tests.fixtures.scenes import opened, write_scene


def cover(image):
    raise AssertionError("cover is not needed")


@pytest.fixture
def new(tmp_path, monkeypatch):
    monkeypatch.setitem(TILES, "validation", ["T22MCT_R024", "T34TDT_R036"])
    for tile in TILES["validation"]:
        write_scene(tmp_path / tile / "cloudless" / "5.ab.tif", 0.25, names=())
        for number in range(3):
            write_scene(tmp_path / tile / "cloud" / f"5_{number}.tif", 0.3 + number / 10, names=())
    return tmp_path


def test_the_published_split_of_new_is_by_tile():
    assert {part: len(tiles) for part, tiles in TILES.items()} == {"train": 34, "validation": 5, "test": 10}
    assert len({tile for tiles in TILES.values() for tile in tiles}) == 49
    assert TILES["train"][0] == "T49SCC_R018"
    assert TILES["test"][-1] == "T56JMQ_R030"


def test_new_pairs_three_dates_with_the_clear_image_of_the_name(new, tmp_path):
    series = Sen2MTCNew(str(new), "validation").series(cover)
    assert [(each.name, each.place) for each in series] == [
        ("T22MCT_R024/5", "T22MCT_R024"),
        ("T34TDT_R036/5", "T34TDT_R036"),
    ]
    files = opened(tmp_path)
    levels = [files.values(image).mean() for image in (series[0].truth, *series[0].images)]
    np.testing.assert_allclose(levels, [0.25, 0.3, 0.4, 0.5], rtol=1e-5)


def test_new_tells_what_is_missing(new):
    (new / "T34TDT_R036" / "cloud" / "5_1.tif").unlink()
    with pytest.raises(UserError, match=r"has no date 1; expected .*cloud/5_1\.tif"):
        Sen2MTCNew(str(new), "validation").series(cover)
    with pytest.raises(UserError, match="T49SCC_R018/cloud: is missing or empty; get Sen2_MTC_New"):
        Sen2MTCNew(str(new), "train").images()
    with pytest.raises(UserError, match="part 'val': give train, validation, test"):
        Sen2MTCNew(str(new), "val")


@pytest.fixture
def old(tmp_path):
    for folder in ("clear", "cloudy"):
        (tmp_path / folder).mkdir()
    for number in range(10):
        Image.new("RGB", (8, 8), (100, 50, number)).save(tmp_path / "clear" / f"s{number}.jpg")
        for date in range(3):
            for kind in ("", "_ir"):
                Image.new("RGB", (8, 8), (200, 50, date)).save(tmp_path / "cloudy" / f"s{number}_{date}{kind}.jpg")
    return tmp_path


def names(old, part, **options):
    return [each.name for each in Sen2MTCOld(str(old), part, **options).series(cover)]


def test_old_is_split_as_by_random_split(old):
    files = [f"s{number}" for number in range(10)]
    expected = torch.utils.data.random_split(files, [8, 1, 1], generator=torch.Generator().manual_seed(2022))
    for part, dealt in zip(("train", "validation", "test"), expected, strict=True):
        assert names(old, part) == list(dealt)


def test_old_has_four_channels_a_date_and_a_truth_of_three(old, tmp_path):
    series = Sen2MTCOld(str(old), "test").series(cover)[0]
    files = opened(tmp_path)
    assert [files.values(image).shape for image in series.images] == [(4, 8, 8)] * 3
    assert files.values(series.truth).shape == (3, 8, 8)
    assert files.values(series.images[0])[3].mean() == pytest.approx(200 / 255, abs=0.05)


def test_old_leaves_out_names_after_the_split(old, tmp_path):
    first = names(old, "train")
    listed = tmp_path / "overlap.txt"
    listed.write_text(f"{first[2]}\n\n{names(old, 'test')[0]}\n")
    assert names(old, "train", exclude=str(listed)) == first[:2] + first[3:]
    assert names(old, "test", exclude=str(listed)) == []
    listed.write_text("s77\n")
    with pytest.raises(UserError, match=r"overlap\.txt: 's77' is no name of an image"):
        names(old, "train", exclude=str(listed))


def test_old_tells_what_is_missing(old):
    with pytest.raises(UserError, match="there is no such file; give a text file"):
        names(old, "train", exclude=str(old / "no.txt"))
    (old / "cloudy" / "s4_2_ir.jpg").unlink()
    with pytest.raises(UserError, match=r"has no date 2; expected .*s4_2_ir\.jpg"):
        [*names(old, "train"), *names(old, "validation"), *names(old, "test")]
    with pytest.raises(UserError, match="multi-image set of STGAN"):
        names(old / "clear", "train")

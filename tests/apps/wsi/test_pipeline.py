"""The commands tissue, tile and features on made slides."""

import json

import h5py
import numpy as np
import pytest
import timm
import torch
from PIL import Image

from foveal.apps.wsi import feature_run, pictures
from foveal.apps.wsi.features import features
from foveal.apps.wsi.tile import tile
from foveal.apps.wsi.tissue import tissue
from foveal.core.errors import FailedInputs, UserError
from foveal.core.options import call
from foveal.data.io.features import read_features
from foveal.tests.fixtures.slide import stained, write_dicom, write_tiff

HEIGHT, WIDTH = 400, 520
TILES = ["--size", "64", "--mpp", "0.5"]
HAND_MADE = ["--encoder", "colour-texture", *TILES]


def run(command, slides, output, *options):
    call(command, ["--input", str(slides), "--output", str(output), *options], command.__name__)


@pytest.fixture(scope="module")
def slides(tmp_path_factory):
    folder = tmp_path_factory.mktemp("slides")
    for seed, name in enumerate(("a.tif", "b.1.tif")):
        write_tiff(folder / name, stained(HEIGHT, WIDTH, seed), levels=3)
    return folder


@pytest.fixture
def bad_slides(tmp_path):
    """One good slide among bad ones."""
    folder = tmp_path / "slides"
    folder.mkdir()
    write_tiff(folder / "blank.tif", np.full((300, 300, 3), 243, np.uint8))
    write_tiff(folder / "good.tif", stained(HEIGHT, WIDTH))
    write_tiff(folder / "nameless.tif", stained(HEIGHT, WIDTH), mpp=None)
    write_tiff(folder / "small.tif", stained(60, 60))
    broken = write_tiff(folder / "broken.tif", stained(HEIGHT, WIDTH), levels=2)
    data = bytearray(broken.read_bytes())
    data[len(data) // 4 : len(data) // 2] = bytes(len(data) // 2 - len(data) // 4)
    broken.write_bytes(bytes(data))
    return folder


def content(path):
    with h5py.File(path) as file:
        return {name: (each[()], dict(each.attrs)) for name, each in file.items()}


def test_tissue_is_outlined_and_drawn(slides, tmp_path):
    run(tissue, slides, tmp_path)
    for name in ("a", "b.1"):
        features = json.loads((tmp_path / f"{name}.geojson").read_text())["features"]
        (outline,) = (each["geometry"]["coordinates"] for each in features)
        x, y = np.asarray(outline[0]).T
        assert abs((x.min() + x.max()) / 2 - 0.45 * WIDTH) < 8
        assert abs((y.min() + y.max()) / 2 - 0.55 * HEIGHT) < 8
        assert abs((x.max() - x.min()) - 0.6 * WIDTH) < 60
        picture = np.asarray(Image.open(tmp_path / f"{name}_tissue.png"))
        assert picture.shape == (HEIGHT, WIDTH, 3)
        assert (picture == (0, 158, 115)).all(axis=2).sum() > 500


def test_features_alone_are_those_of_the_steps_one_by_one(slides, tmp_path):
    run(tissue, slides, tmp_path / "tissue")
    run(tile, slides, tmp_path / "tiles", *TILES, "--tissue", str(tmp_path / "tissue"), "--preview")
    run(features, slides, tmp_path / "steps", "--encoder", "colour-texture", "--tiles", str(tmp_path / "tiles"))
    run(features, slides, tmp_path / "alone", *HAND_MADE)
    for name in ("a.h5", "b.1.h5"):
        steps, alone, tiles = (content(tmp_path / each / name) for each in ("steps", "alone", "tiles"))
        for part in ("coords", "features"):
            np.testing.assert_array_equal(steps[part][0], alone[part][0])
            assert steps[part][1] == alone[part][1]
        np.testing.assert_array_equal(tiles["coords"][0], alone["coords"][0])
    picture = np.asarray(Image.open(tmp_path / "tiles" / "a_tiles.png"))
    x, y = content(tmp_path / "tiles" / "a.h5")["coords"][0][0]
    assert (picture[y, x : x + 64] == (0, 158, 115)).all()


def test_the_layout_is_that_of_clam_and_trident_with_all_facts(slides, tmp_path):
    run(features, slides / "a.tif", tmp_path / "a.h5", "--encoder", "colour-texture", "--size", "32", "--mpp", "1")
    found = content(tmp_path / "a.h5")
    values, facts = found["features"]
    coords, places = found["coords"]
    assert values.dtype == np.float16
    assert values.shape == (len(coords), 56)
    assert coords.dtype == np.int64
    assert (facts["name"], facts["encoder"], facts["precision"]) == ("a", "colour-texture", "float32")
    assert len(facts["encoder_digest"]) == 64
    assert {name: places[name] for name in ("patch_size", "patch_size_level0", "mpp", "level0_mpp")} == {
        "patch_size": 32,
        "patch_size_level0": 64,
        "mpp": pytest.approx(1.0),
        "level0_mpp": pytest.approx(0.5),
    }
    assert (places["level0_width"], places["level0_height"]) == (WIDTH, HEIGHT)
    assert (places["level0_magnification"], places["target_magnification"]) == (20, 10)
    bag = read_features(tmp_path / "a.h5")
    assert bag.facts["encoder"] == "colour-texture"
    np.testing.assert_array_equal(bag.values, values)


@pytest.mark.parametrize("command", [tissue, tile, features])
def test_bad_slides_do_not_stop_the_others(command, bad_slides, tmp_path, capsys):
    options = {tissue: [], tile: TILES, features: HAND_MADE}[command]
    with pytest.raises(FailedInputs) as caught:
        run(command, bad_slides, tmp_path / "out", *options)
    told = str(caught.value)
    assert caught.value.exit_code == 1
    assert "blank.tif: no tissue was found" in told
    assert "nameless.tif: the file does not tell its resolution; give --slide_mpp" in told
    assert "broken.tif: the file is damaged" in told
    assert ("small.tif: tiles of 64 pixels at 0.5 µm/pixel are larger than the slide" in told) == (command != tissue)
    done = {each.name for each in (tmp_path / "out").iterdir() if each.suffix in (".h5", ".geojson")}
    assert {name.partition(".")[0] for name in done} == ({"good", "small"} if command == tissue else {"good"})
    statuses = json.loads((tmp_path / "out" / "foveal-manifest.json").read_text())["items"]
    assert [each["status"] for each in statuses].count("failed") == (3 if command == tissue else 4)


def test_a_slide_without_resolution_takes_that_of_the_option_and_then_of_its_tiles(tmp_path):
    slide = write_tiff(tmp_path / "a.tif", stained(HEIGHT, WIDTH), mpp=None)
    run(tile, slide, tmp_path / "tiles", *TILES, "--slide_mpp", "0.25")
    run(features, slide, tmp_path / "out", "--encoder", "colour-texture", "--tiles", str(tmp_path / "tiles"))
    _, facts = content(tmp_path / "out" / "a.h5")["coords"]
    assert (facts["level0_mpp"], facts["patch_size_level0"]) == (0.25, 128)


def test_the_resolution_for_one_slide_leaves_the_finished_others(tmp_path, capsys):
    (tmp_path / "slides").mkdir()
    write_tiff(tmp_path / "slides" / "told.tif", stained(HEIGHT, WIDTH))
    write_tiff(tmp_path / "slides" / "untold.tif", stained(HEIGHT, WIDTH), mpp=None)
    with pytest.raises(FailedInputs, match="give --slide_mpp"):
        run(tile, tmp_path / "slides", tmp_path / "out", *TILES)
    capsys.readouterr()
    for mpp, others in (("0.5", "-> "), ("0.25", "it is made again")):
        run(tile, tmp_path / "slides", tmp_path / "out", *TILES, "--slide_mpp", mpp)
        told = capsys.readouterr().err
        assert "told.h5 is done already" in told
        assert others in told.partition("is done already")[2]


def test_finished_slides_are_skipped_and_made_again_with_other_settings(slides, tmp_path, capsys):
    run(features, slides, tmp_path, *HAND_MADE)
    assert capsys.readouterr().err.count(" tiles, ") == 2
    run(features, slides, tmp_path, *HAND_MADE, "--batch", "3", "--device", "cpu")
    assert capsys.readouterr().err.count("is done already") == 2
    run(features, slides, tmp_path, *HAND_MADE, "--step", "32")
    told = capsys.readouterr().err
    assert told.count("is of other settings or of an input that has changed; it is made again") == 2
    assert told.count("-> ") == 2


def test_tiles_that_have_changed_are_described_again(slides, tmp_path, capsys):
    options = ["--encoder", "colour-texture", "--tiles", str(tmp_path / "tiles")]
    run(tile, slides, tmp_path / "tiles", *TILES)
    run(features, slides, tmp_path / "out", *options)
    run(tile, slides / "a.tif", tmp_path / "tiles", *TILES, "--step", "32")
    capsys.readouterr()
    run(features, slides, tmp_path / "out", *options)
    told = capsys.readouterr().err
    assert "a.tif: " in told.partition("it is made again")[0]
    assert "b.1.h5 is done already" in told


def test_an_interrupted_run_goes_on_with_the_slide_that_it_was_at(slides, tmp_path, monkeypatch):
    extract = feature_run.extract

    def interrupted(source, *rest):
        if source.path.name == "b.1.tif":
            raise KeyboardInterrupt
        return extract(source, *rest)

    monkeypatch.setattr(feature_run, "extract", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(features, slides, tmp_path, *HAND_MADE)
    assert [each.name for each in tmp_path.glob("*.h5")] == ["a.h5"]
    before = (tmp_path / "a.h5").stat().st_mtime_ns
    monkeypatch.undo()
    run(features, slides, tmp_path, *HAND_MADE)
    assert (tmp_path / "a.h5").stat().st_mtime_ns == before
    assert (tmp_path / "b.1.h5").exists()


@pytest.mark.parametrize(("command", "drawing"), [(tissue, "draw_tissue"), (tile, "draw_tiles")])
def test_a_slide_is_done_after_an_interruption_between_outputs(command, drawing, slides, tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    options = {tissue: [], tile: [*TILES, "--preview"]}[command]
    with monkeypatch.context() as patch:
        patch.setattr(pictures, drawing, interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(command, slides / "a.tif", tmp_path, *options)
    assert not list(tmp_path.glob("*a*.[gh]*"))
    run(command, slides / "a.tif", tmp_path, *options)
    assert len(list(tmp_path.glob("a*"))) == 2


def test_a_network_describes_tiles_that_others_laid(slides, tmp_path):
    """CLAM says the size of tiles at a level of the slide, TRIDENT that of the finest level."""
    torch.manual_seed(0)
    torch.save(timm.create_model("test_resnet").state_dict(), tmp_path / "weights.pth")
    coords = np.array([[140, 160], [204, 160], [WIDTH - 20, HEIGHT - 20]])
    for folder, name, facts in (
        ("clam", "a.h5", {"patch_size": 32, "patch_level": 1, "downsample": (2.0, 2.0)}),
        ("trident", "a_patches.h5", {"patch_size": 32, "patch_size_level0": 64, "level0_width": WIDTH}),
    ):
        (tmp_path / folder).mkdir()
        with h5py.File(tmp_path / folder / name, "w") as file:
            file["coords"] = coords
            file["coords"].attrs.update(facts)
        options = ["--encoder", "test_resnet", "--encoder_weights", str(tmp_path / "weights.pth")]
        run(features, slides / "a.tif", tmp_path / f"{folder}.h5", "--tiles", str(tmp_path / folder), *options)
    clam, trident = (content(tmp_path / f"{each}.h5") for each in ("clam", "trident"))
    np.testing.assert_array_equal(clam["features"][0], trident["features"][0])
    np.testing.assert_array_equal(clam["coords"][0], coords)
    assert clam["coords"][1]["mpp"] == trident["coords"][1]["mpp"] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("coords", "facts", "message"),
    [
        (None, {}, r"a\.h5: there is no such file of tiles; run `tile`"),
        ([[0, 0]], {}, r"a\.h5: does not tell the size of tiles"),
        ([[0, 0]], {"patch_size": 64, "level0_width": 9}, r"a\.h5: its tiles are not of .*a\.tif, which has 520 x 400"),
        ([[0, 5000]], {"patch_size": 64}, r"a\.h5: its tiles are not of"),
        ([[0.5, 1.0]], {"patch_size": 64}, r"`coords` must be whole numbers \(tiles, 2\), found float64 \(1, 2\)"),
        ([1, 2], {"patch_size": 64}, r"`coords` must be whole numbers"),
    ],
)
def test_tiles_that_do_not_fit_are_told(slides, tmp_path, coords, facts, message):
    (tmp_path / "tiles").mkdir()
    if coords is not None:
        with h5py.File(tmp_path / "tiles" / "a.h5", "w") as file:
            file["coords"] = np.array(coords)
            file["coords"].attrs.update(facts)
    options = ["--encoder", "colour-texture", "--tiles", str(tmp_path / "tiles")]
    with pytest.raises(FailedInputs, match=message):
        run(features, slides / "a.tif", tmp_path / "out", *options)


def test_damaged_files_of_earlier_steps_are_told(slides, tmp_path):
    (tmp_path / "a.h5").write_text("text")
    (tmp_path / "a.geojson").write_text("text")
    with pytest.raises(FailedInputs, match=r"a\.h5: is no HDF5 file with `coords`"):
        run(features, slides / "a.tif", tmp_path / "out", "--encoder", "colour-texture", "--tiles", str(tmp_path))
    with pytest.raises(FailedInputs, match=r"a\.geojson: is no GeoJSON"):
        run(tile, slides / "a.tif", tmp_path / "out", *TILES, "--tissue", str(tmp_path))
    (tmp_path / "a.geojson").write_text('{"features": []}')
    with pytest.raises(FailedInputs, match=r"a\.tif: .*a\.geojson holds no polygon on this slide"):
        run(tile, slides / "a.tif", tmp_path / "out", *TILES, "--tissue", str(tmp_path))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--batch", "0"], "--batch 0: give at least 1"),
        (["--workers", "0"], "--workers 0: give at least 1"),
        (["--size", "0"], "--size 0: give"),
        (["--device", "nowhere"], "--device nowhere: "),
        (["--tiles", "nowhere"], "--tiles nowhere: there is no such folder"),
        (["--tissue", "nowhere"], "--tissue nowhere: there is no such folder"),
        (["--tiles", "{out}"], "--output .*: would replace the tiles"),
        (["--encoder", "resnet19"], "--encoder resnet19: timm has no such network"),
    ],
)
def test_options_that_do_not_fit_are_refused_before_any_work(slides, tmp_path, options, message):
    options = [each.format(out=tmp_path) for each in options]
    with pytest.raises(UserError, match=message):
        run(features, slides, tmp_path, "--encoder", "colour-texture", *options)
    assert not list(tmp_path.iterdir())


def test_options_without_effect_warn(slides, tmp_path, caplog):
    run(tile, slides / "a.tif", tmp_path / "tiles", *TILES)
    options = ["--encoder", "colour-texture", "--tiles", str(tmp_path / "tiles"), "--min_tissue", "0.5"]
    run(features, slides / "a.tif", tmp_path / "out", *options)
    assert caplog.messages == ["--min_tissue has no effect: --tiles says where tiles lie."]


def test_a_folder_of_dicom_files_is_a_slide(tmp_path):
    write_dicom(tmp_path / "slides" / "case.1", stained(HEIGHT, WIDTH), levels=2)
    run(features, tmp_path / "slides", tmp_path / "out", *HAND_MADE)
    assert content(tmp_path / "out" / "case.1.h5")["features"][1]["name"] == "case.1"


@pytest.mark.slow
def test_several_processes_give_the_same_and_survive_bad_slides(bad_slides, tmp_path):
    write_tiff(bad_slides / "other.tif", stained(HEIGHT, WIDTH, seed=5))
    for workers in ("1", "2"):
        with pytest.raises(FailedInputs, match="4 of 6 inputs failed"):
            run(features, bad_slides, tmp_path / workers, *HAND_MADE, "--workers", workers)
    for name in ("good.h5", "other.h5"):
        one, two = (content(tmp_path / workers / name)["features"][0] for workers in ("1", "2"))
        np.testing.assert_array_equal(one, two)

import json

import numpy as np
import openslide
import pytest
import rasterio
import tifffile
import torch
from PIL import Image
from rasterio.features import rasterize

from foveal.core.errors import UserError
from foveal.core.inference.engine import Engine
from foveal.core.weights.label import Label
from foveal.data.io.slide import SlideSource
from foveal.data.io.slide.classes import classes_of
from foveal.data.io.slide.sinks import GeoJsonSink, HeatmapSink, PreviewSink
from foveal.tests.fixtures.programs import ToyProgram
from foveal.tests.fixtures.slide import stained, write_tiff

HEIGHT, WIDTH = 333, 451
SINKS = {".tif": HeatmapSink, ".geojson": GeoJsonSink, ".png": PreviewSink}
NUCLEUS = Label(value=1, name="nucleus", colour=(40, 40, 255))
STROMA = Label(value=2, name="stroma", colour=(255, 0, 200))


def score(x):
    """Above 0 where a pixel is dark, which is in nuclei."""
    return (0.5 - x.mean(dim=1, keepdim=True)) * 20


def three(x):
    """Scores of background, nuclei and stroma."""
    return torch.cat([0 * score(x), score(x), (0.85 - x[:, 1:2]) * 4 - torch.relu(2 * score(x))], dim=1)


pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
PROGRAMS = {
    "sigmoid": ToyProgram(score, tile=128, outputs=("nucleus",), activation="sigmoid"),
    "softmax": ToyProgram(three, tile=128, outputs=("ground", "nucleus", "stroma"), activation="softmax"),
    "argmax": ToyProgram(three, tile=128, outputs=("ground", "n", "s"), activation="argmax", labels=(NUCLEUS, STROMA)),
    "threshold": ToyProgram(score, tile=128, outputs=("n",), activation="threshold", labels=(NUCLEUS,)),
    "values": ToyProgram(lambda x: 1 - x.mean(dim=1, keepdim=True), tile=128, outputs=("darkness",)),
    "picture": ToyProgram(lambda x: 1 - x, tile=128),
}


@pytest.fixture(scope="module")
def slide(tmp_path_factory):
    return write_tiff(tmp_path_factory.mktemp("slide") / "slide.tif", stained(HEIGHT, WIDTH), levels=3)


def run(slide, output, kind, mpp=None, fingerprint=""):
    program = PROGRAMS[kind]
    with (
        SlideSource(slide, mpp) as source,
        SINKS[output.suffix].like(output, source, program.card, fingerprint) as sink,
    ):
        Engine(program, program.card).run(source, sink)
        pixels = source.read((slice(0, source.shape[1]), slice(0, source.shape[2])))
        tissue = source.tissue((slice(0, source.shape[1]), slice(0, source.shape[2])))
        assert [each.name for each in output.parent.iterdir()] == [output.name]
        return torch.from_numpy(pixels)[None], tissue


@pytest.mark.parametrize("mpp", [None, 0.8, 1.0])
def test_heatmap_holds_probabilities_with_the_resolution(slide, tmp_path, mpp):
    pixels, tissue = run(slide, tmp_path / "map.tif", "sigmoid", mpp)
    expected = torch.sigmoid(score(pixels))[0, 0].numpy()
    with rasterio.open(tmp_path / "map.tif") as file:
        found = file.read(1)
        assert file.scales == (1 / 255,)
        assert file.descriptions == ("nucleus",)
        assert file.profile["tiled"]
    assert found.dtype == np.uint8
    np.testing.assert_allclose(found[tissue] / 255, expected[tissue], atol=0.5 / 255 + 1e-6)
    opened = openslide.OpenSlide(tmp_path / "map.tif")
    assert float(opened.properties["openslide.mpp-x"]) == pytest.approx(mpp or 0.5, rel=1e-6)
    assert opened.level_dimensions[0] == (pixels.shape[3], pixels.shape[2])
    region = np.asarray(opened.read_region((0, 0), 0, opened.dimensions))[..., 0]
    np.testing.assert_array_equal(region, found)
    assert opened.level_count > 1 or max(opened.dimensions) <= 256
    with SlideSource(tmp_path / "map.tif") as source:  # it can be read as a slide itself
        assert source.geometry.mpp == pytest.approx(mpp or 0.5)


def test_heatmap_is_zero_without_tissue(slide, tmp_path):
    pixels, tissue = run(slide, tmp_path / "map.tif", "values")
    found = tifffile.imread(tmp_path / "map.tif")
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, np.where(tissue, 1 - pixels[0].mean(dim=0).numpy(), 0), atol=1e-6)


def test_heatmap_of_labels_has_their_colours(slide, tmp_path):
    pixels, tissue = run(slide, tmp_path / "map.tif", "argmax")
    expected = three(pixels)[0].argmax(dim=0).numpy()
    with rasterio.open(tmp_path / "map.tif") as file:
        found = file.read(1)
        assert file.colormap(1)[2][:3] == STROMA.colour
        assert set(np.unique(file.read(1, out_shape=(HEIGHT // 2, WIDTH // 2)))) <= {0, 1, 2}
    np.testing.assert_array_equal(found[tissue], expected[tissue])
    y, x = np.argwhere(found == 1)[0]
    region = openslide.OpenSlide(tmp_path / "map.tif").read_region((int(x), int(y)), 0, (1, 1))
    assert region.getpixel((0, 0))[:3] == NUCLEUS.colour


def test_heatmap_of_many_classes_and_of_a_picture(slide, tmp_path):
    pixels, tissue = run(slide, tmp_path / "map.tif", "softmax")
    found = tifffile.imread(tmp_path / "map.tif")
    expected = torch.softmax(three(pixels), dim=1)[0].numpy()
    np.testing.assert_allclose(found[:, tissue] / 255, expected[:, tissue], atol=0.5 / 255 + 1e-6)
    (tmp_path / "map.tif").unlink()
    run(slide, tmp_path / "picture.tif", "picture")
    region = np.asarray(openslide.OpenSlide(tmp_path / "picture.tif").read_region((0, 0), 0, (WIDTH, HEIGHT)))
    inverse = 255 - stained(HEIGHT, WIDTH)
    np.testing.assert_array_equal(region[..., :3], np.where(tissue[..., None], inverse, 255))


@pytest.mark.parametrize(("suffix", "kind"), [(".tif", "softmax"), (".geojson", "softmax"), (".png", "softmax")])
def test_the_same_work_gives_the_same_bytes(slide, tmp_path, suffix, kind):
    for name in ("a", "b"):
        run(slide, tmp_path / name / f"out{suffix}", kind, fingerprint=name)
    assert (tmp_path / "a" / f"out{suffix}").read_bytes() == (tmp_path / "b" / f"out{suffix}").read_bytes()


def features(path):
    collection = json.loads(path.read_text())
    assert collection["type"] == "FeatureCollection"
    return collection["features"]


def drawn(found, name, step, shape):
    """Pixels inside the outlines of a class, on a grid of `step` pixels of the finest level."""
    outlines = [each["geometry"] for each in found if each["properties"]["classification"]["name"] == name]
    return rasterize(outlines, out_shape=shape, transform=rasterio.Affine.scale(step), fill=0, default_value=1) == 1


@pytest.mark.parametrize("mpp", [None, 1.0, 1.3])
def test_outlines_lie_where_the_probability_is_high(slide, tmp_path, mpp):
    pixels, tissue = run(slide, tmp_path / "map.geojson", "sigmoid", mpp)
    expected = (torch.sigmoid(score(pixels))[0, 0].numpy() >= 0.5) & tissue
    found = features(tmp_path / "map.geojson")
    np.testing.assert_array_equal(drawn(found, "nucleus", (mpp or 0.5) / 0.5, expected.shape), expected)
    facts = found[0]["properties"]
    assert facts["objectType"] == "annotation"
    assert 0.5 <= facts["measurements"]["Mean probability"] <= 1
    area = sum(each["properties"]["measurements"]["Area µm²"] for each in found)
    assert area == pytest.approx(expected.sum() * (mpp or 0.5) ** 2, rel=1e-3)
    xs, ys = zip(*(point for each in found for ring in each["geometry"]["coordinates"] for point in ring), strict=True)
    assert min(xs + ys) >= 0
    assert max(xs) <= WIDTH
    assert max(ys) <= HEIGHT


@pytest.mark.parametrize("kind", ["argmax", "softmax", "threshold"])
def test_outlines_of_classes(slide, tmp_path, kind):
    pixels, tissue = run(slide, tmp_path / "map.geojson", kind)
    found = features(tmp_path / "map.geojson")
    scores = score(pixels)[0] > 0 if kind == "threshold" else torch.softmax(three(pixels), dim=1)[0, 1:] >= 0.5
    if kind == "argmax":
        scores = torch.stack([three(pixels)[0].argmax(dim=0) == value for value in (1, 2)])
    for number, each in enumerate(classes_of(PROGRAMS[kind].card)):
        inside = drawn(found, each.name, 1, (HEIGHT, WIDTH))
        np.testing.assert_array_equal(inside & tissue, scores[number].numpy() & tissue)
        colours = {
            tuple(one["properties"]["classification"]["color"])
            for one in found
            if one["properties"]["classification"]["name"] == each.name
        }
        assert colours == {each.colour}


def test_outlines_become_coarser_where_there_are_too_many(slide, tmp_path, monkeypatch):
    monkeypatch.setattr("foveal.data.io.slide.sinks.MOST_REGIONS", 5)
    run(slide, tmp_path / "map.geojson", "sigmoid")
    assert len(features(tmp_path / "map.geojson")) <= 5


def test_outlines_on_a_bounded_grid(slide, tmp_path, monkeypatch):
    monkeypatch.setattr("foveal.data.io.slide.sinks.OUTLINE_GRID", 100)
    pixels, _ = run(slide, tmp_path / "map.geojson", "argmax")
    expected = three(pixels)[0].argmax(dim=0).numpy() == 2
    inside = drawn(features(tmp_path / "map.geojson"), "stroma", 1, (HEIGHT, WIDTH))
    assert (inside & expected).sum() / (inside | expected).sum() > 0.8


def test_outlines_need_classes(slide, tmp_path):
    with SlideSource(slide) as source, pytest.raises(UserError, match=r"End it in \.tif or \.png"):
        GeoJsonSink.like(tmp_path / "map.geojson", source, PROGRAMS["values"].card)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", PROGRAMS)
def test_preview_shows_the_slide_and_colours_its_tissue(slide, tmp_path, kind):
    _, tissue = run(slide, tmp_path / "map.png", kind)
    with Image.open(tmp_path / "map.png") as image:
        assert max(image.size) <= 2000
        page = np.asarray(image.convert("RGB")).astype(int)
    factor = 640 / WIDTH
    height, width = round(HEIGHT * factor), 640
    shown = page[50 : 50 + height, 30 : 30 + width]
    original = stained(HEIGHT, WIDTH)
    places = np.ix_(
        *((np.arange(n) / factor).astype(int).clip(0, m - 1) for n, m in ((height, HEIGHT), (width, WIDTH)))
    )
    differs = np.abs(shown - original[places]).max(axis=2) > 20
    inside = tissue[places]
    assert differs[3:-3, 3:-3][~inside[3:-3, 3:-3]].mean() < 0.01
    assert differs[inside].mean() > 0.15


def test_preview_of_a_large_slide_is_bounded(tmp_path):
    image = np.repeat(np.repeat(stained(150, 260), 10, axis=0), 10, axis=1)
    (tmp_path / "in").mkdir()
    run(write_tiff(tmp_path / "in" / "slide.tif", image), tmp_path / "out" / "map.png", "sigmoid", mpp=2.0)
    with Image.open(tmp_path / "out" / "map.png") as picture:
        assert max(picture.size) == 1990


def test_geometry_of_an_enlarging_program(slide, tmp_path):
    program = ToyProgram(lambda x: torch.nn.functional.interpolate(x, scale_factor=2.0), scale=2, tile=128)
    with SlideSource(slide, 1.0) as source, HeatmapSink.like(tmp_path / "map.tif", source, program.card, "") as sink:
        assert source.tissue((slice(0, 330), slice(0, 440)), scale=2).shape == (330, 440)
        assert source.geometry.scaled(2).difference(sink.geometry) is None
        Engine(program, program.card).run(source, sink)
    assert openslide.OpenSlide(tmp_path / "map.tif").properties["openslide.mpp-x"].startswith("0.5")

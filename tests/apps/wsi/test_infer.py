"""The command infer on made slides and on files of features."""

import csv
import json
import logging
from pathlib import Path

import h5py
import numpy as np
import openslide
import pytest
import rasterio
import torch

from foveal.apps.wsi import predictions
from foveal.apps.wsi.encoders import open_encoder
from foveal.apps.wsi.features import features
from foveal.apps.wsi.infer import infer
from foveal.apps.wsi.models.acmil import ACMIL, MultiHeadACMIL
from foveal.apps.wsi.models.pooling import PoolingClassifier
from foveal.core.errors import FailedInputs, UserError
from foveal.core.export.command import export
from foveal.core.options import call
from foveal.core.weights.card import Card
from foveal.core.weights.load import load_model, save_weights
from foveal.tests.fixtures.bags import write_h5, write_pt
from foveal.tests.fixtures.slide import stained, write_tiff

HEIGHT, WIDTH, SIZE = 400, 520, 32
CLASSES = ("normal", "tumour")
ENDINGS = {".json", "_attention.h5", "_heatmap.tif", "_heatmap.png", "_regions.geojson"}
TOLD = {"encoder": "colour-texture", "mpp": 0.5, "patch_size": SIZE}


def run(weights, slides, output, *options):
    call(infer, ["--weights", str(weights), "--input", str(slides), "--output", str(output), *options], "infer")


def write_weights(path, network=ACMIL, channels=56, told=TOLD, scale=1.0):
    torch.manual_seed(0)
    arguments = {"num_classes": 2, "in_channels": channels, "dim": 16}
    net = network(**arguments)
    if network is ACMIL:
        with torch.no_grad():
            net.scorer.score.weight.mul_(scale)  # so that attention differs from tile to tile
    card = Card(
        name="small",
        app="wsi",
        network={"class_path": f"{network.__module__}.{network.__name__}", "init_args": arguments},
        kind="bag",
        channels=("feature",) * channels,
        mean=(0.1,) * channels,
        std=(0.5,) * channels,
        tile=1,
        overlap=0,
        outputs=CLASSES,
        activation="softmax",
        training={"features": told},
    )
    save_weights(net, card, path)
    return path


@pytest.fixture(scope="module")
def slides(tmp_path_factory):
    folder = tmp_path_factory.mktemp("slides")
    for seed, name in enumerate(("a.tif", "b.1.tif")):
        write_tiff(folder / name, stained(HEIGHT, WIDTH, seed), levels=3)
    return folder


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return write_weights(tmp_path_factory.mktemp("weights") / "w.safetensors", scale=20)


@pytest.fixture(scope="module")
def predicted(slides, weights, tmp_path_factory):
    """What one command writes of two slides."""
    folder = tmp_path_factory.mktemp("predicted") / "out"
    run(weights, slides, folder)
    return folder


def attention_of(path):
    with h5py.File(path) as file:
        return {name: each[()] for name, each in file.items()}, dict(file["coords"].attrs)


def table_of(folder):
    with (folder / "predictions.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_one_command_writes_everything_of_every_slide(predicted, slides):
    written = {each.name for each in predicted.iterdir() if not each.name.startswith(".")}
    expected = {name + ending for name in ("a", "b.1") for ending in ENDINGS}
    assert written == expected | {"predictions.csv", "foveal-manifest.json"}
    for row, name in zip(table_of(predicted), ("a", "b.1"), strict=True):
        alone = json.loads((predicted / f"{name}.json").read_text())
        assert row["input"] == alone["input"] == str(slides / f"{name}.tif")
        chances = {each: float(row[f"probability_{each}"]) for each in CLASSES}
        assert chances == alone["probabilities"]
        assert sum(chances.values()) == pytest.approx(1, abs=1e-5)
        assert row["predicted"] == alone["predicted"] == max(chances, key=chances.get)
        assert row["error"] == ""


def test_the_prediction_is_that_of_the_network_on_the_features(predicted, slides, weights, tmp_path):
    options = ["--encoder", "colour-texture", "--mpp", "0.5", "--size", str(SIZE)]
    call(features, ["--input", str(slides), "--output", str(tmp_path), *options], "features")
    net = load_model(weights)
    for name in ("a", "b.1"):
        with h5py.File(tmp_path / f"{name}.h5") as file:
            values, coords = file["features"][()], file["coords"][()]
        with torch.inference_mode():
            found = net.outputs((torch.from_numpy(values.astype(np.float32))[None] - 0.1) / 0.5)
        shares = found.scores.softmax(-1)[0].T.numpy()
        told, facts = attention_of(predicted / f"{name}_attention.h5")
        np.testing.assert_array_equal(told["coords"], coords)
        np.testing.assert_allclose(told["branches"], shares, rtol=1e-4)
        np.testing.assert_allclose(told["attention"], shares.mean(1), rtol=1e-4)
        assert told["attention"].sum() == pytest.approx(1, abs=1e-4)
        assert (facts["patch_size_level0"], facts["mpp"], facts["level0_width"]) == (SIZE, 0.5, WIDTH)
        chances = json.loads((predicted / f"{name}.json").read_text())["probabilities"]
        np.testing.assert_allclose(list(chances.values()), found.slide.softmax(-1)[0].numpy(), rtol=1e-4)


def test_the_heatmap_is_the_attention_of_that_prediction_where_its_tiles_lie(predicted, slides):
    told, _ = attention_of(predicted / "a_attention.h5")
    values = told["attention"] * np.float32(len(told["attention"]))
    assert values.max() > 1.5 * values.min()
    with rasterio.open(predicted / "a_heatmap.tif") as file:
        heatmap = file.read(1)
        assert file.overviews(1)
    expected = np.zeros((HEIGHT, WIDTH), np.float32)
    for (x, y), value in zip(told["coords"], values, strict=True):
        expected[y : y + SIZE, x : x + SIZE] = value
    step = HEIGHT / heatmap.shape[0]
    assert heatmap.shape == (HEIGHT // 4, WIDTH // 4)  # eight pixels along a tile of 32
    begin = told["coords"].min(axis=0) % int(step)  # tiles may begin within a pixel of the heatmap
    shift = [int(round(each / step) * step - each) for each in begin]
    moved = np.roll(expected, (shift[1], shift[0]), (0, 1))
    np.testing.assert_array_equal(heatmap, moved[2::4, 2::4])
    assert max(map(abs, shift)) <= step / 2
    # As a viewer lays it over the slide: by micrometres.
    with openslide.OpenSlide(predicted / "a_heatmap.tif") as viewer:
        mpp = 1e4 / float(viewer.properties["tiff.XResolution"])
    assert mpp * heatmap.shape[1] == pytest.approx(0.5 * WIDTH)


def test_regions_are_the_most_attended_tiles_the_strongest_first(slides, weights, predicted, tmp_path):
    run(weights, slides / "a.tif", tmp_path, "--top", "3")
    told, _ = attention_of(tmp_path / "a_attention.h5")
    strongest = np.argsort(-told["attention"])[:3]
    regions = json.loads((tmp_path / "a_regions.geojson").read_text())["features"]
    for rank, (region, tile) in enumerate(zip(regions, strongest, strict=True), start=1):
        (ring,) = region["geometry"]["coordinates"]
        assert region["geometry"]["type"] == "Polygon"
        assert ring[0] == ring[-1] == told["coords"][tile].tolist()
        assert ring[2] == (told["coords"][tile] + SIZE).tolist()
        assert region["properties"]["objectType"] == "annotation"
        measured = region["properties"]["measurements"]
        assert measured["Rank"] == rank
        assert measured["Attention share"] == pytest.approx(told["attention"][tile])
    assert len(json.loads((predicted / "a_regions.geojson").read_text())["features"]) == 20


def test_ready_features_give_the_same(slides, weights, predicted, tmp_path):
    made = ["--encoder", "colour-texture", "--mpp", "0.5", "--size", str(SIZE)]
    call(features, ["--input", str(slides), "--output", str(tmp_path / "h5"), *made], "features")
    run(weights, slides, tmp_path / "out", "--features", str(tmp_path / "h5"))
    for ending in ENDINGS - {"_attention.h5"}:
        assert (tmp_path / "out" / f"a{ending}").read_bytes() == (predicted / f"a{ending}").read_bytes()
    first, second = (attention_of(each / "a_attention.h5") for each in (tmp_path / "out", predicted))
    assert first[1] == second[1]
    for name, values in first[0].items():
        np.testing.assert_array_equal(values, second[0][name])
    run(weights, tmp_path / "h5", tmp_path / "bags")  # without the slides: no pictures, else the same
    assert {each.name for each in (tmp_path / "bags").glob("a*")} == {"a.json", "a_attention.h5"}
    alone = attention_of(tmp_path / "bags" / "a_attention.h5")[0]
    np.testing.assert_array_equal(alone["attention"], second[0]["attention"])


def test_features_of_clam_take_the_size_of_their_tiles_from_options(slides, weights, predicted, tmp_path):
    told, _ = attention_of(predicted / "a_attention.h5")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["features"] = np.zeros((len(told["coords"]), 56), np.float16)
        file["coords"] = told["coords"]
    plain = write_weights(tmp_path / "plain.safetensors", told={})
    with pytest.raises(FailedInputs, match=r"does not tell the size of tiles .*--size and --mpp"):
        run(plain, slides / "a.tif", tmp_path / "out", "--features", str(tmp_path))
    run(plain, slides / "a.tif", tmp_path / "out", "--features", str(tmp_path), "--mpp", "0.5", "--size", str(SIZE))
    assert attention_of(tmp_path / "out" / "a_attention.h5")[1]["patch_size_level0"] == SIZE


def test_bags_of_any_length_and_layout(tmp_path):
    weights = write_weights(tmp_path / "w.safetensors", MultiHeadACMIL, 8, {})
    values = np.random.default_rng(0).normal(size=(5, 8)).astype(np.float16)
    write_pt(tmp_path / "in" / "bare.pt", values)
    write_h5(tmp_path / "in" / "one.h5", values[:1])
    run(weights, tmp_path / "in", tmp_path / "out")
    with h5py.File(tmp_path / "out" / "one_attention.h5") as file:
        assert file["attention"][()].tolist() == [1]
        assert file["branches"].shape == (1, 5)
    with h5py.File(tmp_path / "out" / "bare_attention.h5") as file:
        assert "coords" not in file


def test_bad_slides_do_not_stop_the_others_and_stand_in_the_table(weights, tmp_path):
    folder = tmp_path / "slides"
    folder.mkdir()
    write_tiff(folder / "blank.tif", np.full((300, 300, 3), 243, np.uint8))
    write_tiff(folder / "good.tif", stained(HEIGHT, WIDTH))
    write_tiff(folder / "nameless.tif", stained(HEIGHT, WIDTH), mpp=None)
    (folder / "text.svs").write_text("no slide")
    with pytest.raises(FailedInputs, match="3 of 4 inputs failed") as caught:
        run(weights, folder, tmp_path / "out")
    assert caught.value.exit_code == 1
    errors = {row["input"].rpartition("/")[2]: row["error"] for row in table_of(tmp_path / "out")}
    assert errors["good.tif"] == ""
    assert "no tissue was found" in errors["blank.tif"]
    assert "give --slide_mpp" in errors["nameless.tif"]
    assert errors["text.svs"]
    run(weights, folder / "nameless.tif", tmp_path / "out", "--slide_mpp", "0.5")


def test_bad_features_are_refused(slides, weights, tmp_path):
    folder = tmp_path / "in"
    values = np.zeros((3, 56), np.float16)
    write_h5(folder / "wide.h5", np.zeros((3, 57), np.float16))
    write_h5(folder / "other.h5", values, encoder="resnet50")
    write_h5(folder / "coarse.h5", values, mpp=1.0)
    values[1, 2] = np.nan
    write_h5(folder / "nan.h5", values)
    with pytest.raises(FailedInputs) as caught:
        run(weights, folder, tmp_path / "out")
    told = str(caught.value)
    assert "has features of 57 channels, but small takes 56" in told
    assert "encoder is resnet50, but the network was trained on colour-texture" in told
    assert "mpp is 1.0, but the network was trained on 0.5" in told
    assert "give --mpp 1.0 to take them all the same" in told
    assert "no finite numbers in 1 of 3 rows" in told
    with pytest.raises(
        FailedInputs, match=r"a\.h5: there is no such file; make it by `features`, or leave out --features"
    ):
        run(weights, slides / "a.tif", tmp_path / "out", "--features", str(folder))


def test_an_option_settles_a_contradiction(slides, weights, tmp_path, caplog):
    write_h5(tmp_path / "in.h5", np.zeros((3, 56), np.float16), mpp=1.0)
    with caplog.at_level(logging.WARNING):
        run(weights, tmp_path / "in.h5", tmp_path / "out", "--mpp", "1.0")
    assert "--mpp 1.0: is taken; small was trained on 0.5" in caplog.text
    other = write_weights(tmp_path / "w.safetensors", told=TOLD | {"encoder_digest": "0" * 64})
    with pytest.raises(UserError, match=r"other weights than in the training .* --encoder colour-texture to take"):
        run(other, slides / "a.tif", tmp_path / "out")
    run(other, slides / "a.tif", tmp_path / "out", "--encoder", "colour-texture")
    digest = open_encoder("colour-texture").digest
    same = write_weights(tmp_path / "w2.safetensors", told=TOLD | {"encoder_digest": digest})
    run(same, slides / "a.tif", tmp_path / "out2")


@pytest.mark.parametrize(
    ("told", "options", "message"),
    [
        ({}, [], "do not tell the encoder and mpp and patch_size .* give --encoder and --mpp and --size"),
        ("nonsense", ["--encoder", "colour-texture"], "do not tell the mpp and patch_size"),
        (TOLD, ["--top", "0"], "--top 0: give at least 1"),
        (TOLD, ["--batch", "0"], "--batch 0: give at least 1"),
        (TOLD, ["--mpp", "-1"], "--mpp -1.0: give micrometres"),
        (TOLD, ["--features", "nowhere"], "--features nowhere: there is no such folder"),
        (TOLD, ["--tissue", "nowhere"], "--tissue nowhere: there is no such folder"),
    ],
)
def test_what_cannot_be_done_is_told_before_any_work(told, options, message, slides, tmp_path):
    weights = write_weights(tmp_path / "w.safetensors", told=told)
    with pytest.raises(UserError, match=message):
        run(weights, slides, tmp_path / "out", *options)
    assert not (tmp_path / "out").exists()


def test_an_encoder_of_another_width_is_refused_before_any_work(slides, tmp_path):
    weights = write_weights(tmp_path / "w.safetensors", channels=8)
    with pytest.raises(UserError, match="gives 56 features of a tile, but small takes 8"):
        run(weights, slides, tmp_path / "out")


def test_outputs_are_not_mixed_with_inputs_or_foreign_tables(slides, weights, tmp_path):
    with pytest.raises(UserError, match="is the folder of the inputs"):
        run(weights, slides, slides)
    (tmp_path / "predictions.csv").write_text("mine")
    with pytest.raises(UserError, match=r"predictions.csv: exists already; give --overwrite"):
        run(weights, slides, tmp_path)
    run(weights, slides / "a.tif", tmp_path, "--overwrite")
    run(weights, slides / "a.tif", tmp_path)
    assert len(table_of(tmp_path)) == 1


def test_an_interrupted_slide_is_done_by_the_same_command(slides, weights, predicted, tmp_path, monkeypatch):
    def interrupted(*places):
        if "b.1" in places[1].name:
            raise KeyboardInterrupt
        draw(*places)

    draw = predictions.draw_heatmap
    with monkeypatch.context() as patch:
        patch.setattr(predictions, "draw_heatmap", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(weights, slides, tmp_path)
    assert not list(tmp_path.glob("*b.1*"))
    assert [row["input"] for row in table_of(tmp_path)] == [str(slides / "a.tif")]
    run(weights, slides, tmp_path)
    assert {each.name for each in tmp_path.glob("b.1*")} == {f"b.1{ending}" for ending in ENDINGS}
    assert table_of(tmp_path) == table_of(predicted)


def test_a_run_that_is_stopped_at_once_leaves_no_empty_table(weights, tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    write_h5(tmp_path / "a.h5", np.zeros((3, 56), np.float16))
    monkeypatch.setattr(predictions.Predictor, "__call__", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(weights, tmp_path / "a.h5", tmp_path / "out")
    assert not (tmp_path / "out/predictions.csv").exists()


def test_the_table_keeps_the_slides_of_earlier_runs_and_tells_what_fails_now(weights, tmp_path):
    for name in ("a.h5", "b.h5"):
        write_h5(tmp_path / name, np.zeros((3, 56), np.float16))
        run(weights, tmp_path / name, tmp_path / "out")
    assert [Path(row["input"]).name for row in table_of(tmp_path / "out")] == ["a.h5", "b.h5"]
    (tmp_path / "a.h5").write_text("text")
    with pytest.raises(FailedInputs):
        run(weights, tmp_path / "a.h5", tmp_path / "out")
    first, second = table_of(tmp_path / "out")
    assert "is no HDF5 file" in first["error"]
    assert (first["predicted"], second["error"]) == ("", "")


def test_options_of_making_features_warn_where_they_are_ready(weights, tmp_path, caplog):
    write_h5(tmp_path / "a.h5", np.zeros((3, 56), np.float16))
    options = {"step": "16", "min_tissue": "0.5", "method": "clam", "batch": "3", "precision": "bfloat16"}
    options |= {"slide_mpp": "0.5"}
    run(
        weights,
        tmp_path / "a.h5",
        tmp_path / "out",
        *(word for each in options for word in (f"--{each}", options[each])),
    )
    assert set(caplog.messages) == {f"--{each} has no effect: the features are ready." for each in options}
    caplog.clear()
    run(weights, tmp_path / "a.h5", tmp_path / "out", "--batch", "32")
    assert not caplog.messages


def test_finished_slides_are_skipped_and_made_again_with_other_settings(slides, weights, tmp_path, capsys):
    run(weights, slides, tmp_path)
    capsys.readouterr()
    run(weights, slides, tmp_path, "--batch", "3")
    assert capsys.readouterr().err.count("is done already") == 2
    run(weights, slides, tmp_path, "--step", "16")
    assert capsys.readouterr().err.count("it is made again") == 2
    (tmp_path / "a_heatmap.tif").unlink()
    run(weights, slides, tmp_path, "--step", "16")
    assert capsys.readouterr().err.count("is done already") == 1
    assert (tmp_path / "a_heatmap.tif").exists()


def test_exported_programs_and_pooling_give_the_class_alone(slides, weights, predicted, tmp_path, caplog):
    export(str(weights), tmp_path / "program.pt", "torchscript")
    with caplog.at_level(logging.WARNING):
        run(tmp_path / "program.pt", slides / "a.tif", tmp_path / "out")
    assert "tells no attention, so there are no heatmaps; a checkpoint of ACMIL does" in caplog.text
    assert {each.name for each in (tmp_path / "out").glob("a*")} == {"a.json"}
    first, second = (json.loads((each / "a.json").read_text()) for each in (tmp_path / "out", predicted))
    np.testing.assert_allclose(*(list(each["probabilities"].values()) for each in (first, second)), rtol=1e-4)
    run(write_weights(tmp_path / "mean.safetensors", PoolingClassifier), slides / "a.tif", tmp_path / "a.json")
    assert not list(tmp_path.glob("a_*"))
    assert not (tmp_path / "predictions.csv").exists()

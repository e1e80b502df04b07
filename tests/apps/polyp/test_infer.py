"""`foveal polyp infer` with programs that segment pixel by pixel."""

import json

import numpy as np
import pytest
import torch

from foveal.apps.polyp.infer import infer
from foveal.apps.polyp.models.pranet import PraNet
from foveal.core.errors import FailedInputs, UserError
from foveal.core.inference.progress import Reporter
from foveal.core.weights.card import Card
from foveal.core.weights.label import Label
from foveal.core.weights.load import save_weights
from foveal.data.io.image import read_image, write_image
from foveal.data.io.video import VideoSource
from foveal.tests.data.io.test_video import FRAMES, SIZE, write_video
from foveal.tests.fixtures.pixelwise import save_bright, save_shades


def run(weights, paths, output, **options):
    infer(output, list(paths), str(weights), quiet=True, **options)


@pytest.fixture
def weights(tmp_path):
    return save_bright(tmp_path / "p.pt", 0.5, app="polyp", frame=(32, 32))


@pytest.fixture
def folder(tmp_path):
    """A video, a photograph and something else."""
    (tmp_path / "in").mkdir()
    write_video(tmp_path / "in" / "clip.v2.mp4")
    image = np.full((3, 50, 70), 20, np.uint8)
    image[:, 10:30, 20:50] = 250
    write_image(tmp_path / "in" / "photo.jpg", image)
    (tmp_path / "in" / "notes.txt").touch()
    return tmp_path / "in"


def test_images_and_videos_of_a_folder_become_masks_of_their_size(folder, weights, tmp_path):
    run(weights, [folder], tmp_path / "out", overlay=tmp_path / "see")
    mask = read_image(tmp_path / "out" / "photo.png")
    assert mask.shape == (1, 50, 70)
    assert mask[0, 20, 30] == 1
    assert mask[0, 40, 30] == 0
    masks = sorted((tmp_path / "out" / "clip_v2").iterdir())
    assert len(masks) == FRAMES
    assert read_image(masks[3]).shape == (1, *SIZE)
    with VideoSource(tmp_path / "see" / "clip_v2_overlay.mp4") as shown:
        assert shown.shape == (3, FRAMES, *SIZE)
    assert read_image(tmp_path / "see" / "photo_overlay.png").shape == (3, 50, 70)
    manifest = json.loads((tmp_path / "out" / "foveal-manifest.json").read_text())
    assert [each["status"] for each in manifest["items"]] == ["done", "done"]


def test_a_video_becomes_a_video_where_the_output_is_named_so(folder, weights, tmp_path):
    run(weights, [folder / "clip.v2.mp4"], tmp_path / "out.avi")
    with VideoSource(tmp_path / "out.avi") as shown:
        assert shown.shape == (3, FRAMES, *SIZE)
    with pytest.raises(FailedInputs, match="what is made of image input can be written as"):
        run(weights, [folder / "photo.jpg"], tmp_path / "out.mp4")


def test_finished_videos_are_skipped(folder, weights, tmp_path):
    run(weights, [folder], tmp_path / "out")
    before = (tmp_path / "out" / "clip_v2").stat().st_mtime_ns
    run(weights, [folder], tmp_path / "out")
    assert (tmp_path / "out" / "clip_v2").stat().st_mtime_ns == before
    run(weights, [folder], tmp_path / "out", overwrite=True)
    assert (tmp_path / "out" / "clip_v2").stat().st_mtime_ns != before


def test_probabilities_and_uncertainty_of_frames_are_folders_too(folder, weights, tmp_path):
    run(weights, [folder / "clip.v2.mp4"], tmp_path / "out", probabilities=True, uncertainty=True)
    shown = read_image(tmp_path / "out" / "clip_v2" / "frame_000002.png")
    assert len(np.unique(shown)) > 2
    variance = read_image(tmp_path / "out" / "clip_v2_uncertainty" / "frame_000002.png")
    assert variance.dtype == np.uint16
    assert variance.shape == (1, *SIZE)


def test_an_interrupted_video_goes_on_and_leaves_nothing_half_written(folder, weights, tmp_path, monkeypatch):
    progress, told = Reporter.progress, []

    def stop(self, done, total):
        told.append(done)
        if len(told) == 5:
            raise KeyboardInterrupt
        progress(self, done, total)

    monkeypatch.setattr(Reporter, "progress", stop)
    with pytest.raises(KeyboardInterrupt):
        run(weights, [folder / "clip.v2.mp4"], tmp_path / "out", uncertainty=True)
    assert not [each for each in (tmp_path / "out").glob("[!.]*") if each.is_dir()]
    run(weights, [folder / "clip.v2.mp4"], tmp_path / "out", uncertainty=True)
    assert told[5] > 1
    for name in ("clip_v2", "clip_v2_uncertainty"):
        assert len(list((tmp_path / "out" / name).iterdir())) == FRAMES
    assert not list((tmp_path / "out").glob(".*.part"))


def test_an_unreadable_video_fails_alone(folder, weights, tmp_path):
    (folder / "broken.mp4").write_bytes(b"no video")
    with pytest.raises(FailedInputs, match=r"1 of 3 .*\n.*broken\.mp4: is no video that can be read"):
        run(weights, [folder], tmp_path / "out")
    assert (tmp_path / "out" / "photo.png").exists()
    assert (tmp_path / "out" / "clip_v2").is_dir()


def test_several_classes_are_outlined_each_in_its_colour(folder, tmp_path):
    weights = save_shades(tmp_path / "s.pt", app="polyp", tile=64)
    run(weights, [folder / "photo.jpg"], tmp_path / "out", overlay=tmp_path / "see")
    assert set(np.unique(read_image(tmp_path / "out" / "photo.png"))) == {0, 1, 2}
    picture = read_image(tmp_path / "see" / "photo_overlay.png").reshape(3, -1).T
    assert {(40, 200, 40), (220, 40, 40)} <= {tuple(each) for each in picture}


def test_weights_of_another_app_are_refused(folder, tmp_path):
    weights = save_bright(tmp_path / "p.pt", 0.5, app="medseg")
    with pytest.raises(UserError, match="are for medseg, not for polyp"):
        run(weights, [folder], tmp_path / "out")


@pytest.fixture
def pranet(tmp_path):
    torch.manual_seed(0)
    facts = {"channels": ("red", "green", "blue"), "size_multiple": 32, "tile": 32, "overlap": 0, "frame": (32, 32)}
    network = {"class_path": "foveal.apps.polyp.models.pranet.PraNet", "init_args": {"encoder": "resnet18"}}
    card = Card(
        name="toy",
        app="polyp",
        network=network,
        activation="threshold",
        labels=(Label(value=1, name="polyp", colour=(220, 40, 40)),),
        **facts,
    )
    save_weights(PraNet(encoder="resnet18").eval(), card, tmp_path / "net.safetensors")
    return tmp_path / "net.safetensors"


def test_gates_are_drawn_for_images_and_refused_for_videos(folder, pranet, tmp_path):
    with pytest.raises(FailedInputs, match="holds several images; give single ones"):
        run(pranet, [folder], tmp_path / "out", explain=tmp_path / "see")
    assert [each.name for each in (tmp_path / "see").iterdir()] == ["photo_explain.png"]
    assert read_image(tmp_path / "see" / "photo_explain.png").shape[2] > 1000
    assert not (tmp_path / "out" / "clip_v2").exists()


def test_a_network_without_attention_is_refused_before_any_work(folder, weights, tmp_path):
    with pytest.raises(UserError, match="is an exported program; give its checkpoint"):
        run(weights, [folder], tmp_path / "out", explain=tmp_path / "see")
    assert not (tmp_path / "out").exists()

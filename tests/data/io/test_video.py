"""Videos as sources and sinks."""

import logging

import cv2
import numpy as np
import pytest

from foveal.core.errors import UserError
from foveal.core.inference.engine import Engine
from foveal.core.weights.card import Card
from foveal.core.weights.label import Label
from foveal.data.io.image import read_image
from foveal.data.io.video import FrameSink, VideoSink, VideoSource

COLOUR = (30, 220, 90)
LABELS = (Label(value=1, name="bright", colour=COLOUR),)
SIZE, FRAMES, FPS = (48, 64), 12, 29.97


def frames(size=SIZE, count=FRAMES):
    """A bright square that moves over a dark ground, RGB."""
    for number in range(count):
        frame = np.full((*size, 3), (40, 30, 20), np.uint8)
        frame[10:30, 2 * number + 4 : 2 * number + 24] = (250, 200, 180)
        yield frame


def write_video(path, size=SIZE, count=FRAMES, codec="mp4v"):
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter_fourcc(*codec), FPS, size[::-1])
    for frame in frames(size, count):
        writer.write(frame[..., ::-1])
    writer.release()
    return path


def read_video(path):
    with VideoSource(path) as source:
        return np.stack([source.frame(number) for number in range(source.shape[1])]), source.fps


def card(**facts):
    facts = {"activation": "threshold", "outputs": ("bright",), "labels": LABELS, "tile": 32, "overlap": 8} | facts
    return Card(name="toy", app="polyp", network={"class_path": "toy"}, **facts)


def bright(x):
    return x.mean(dim=1, keepdim=True) - 0.5


@pytest.fixture
def clip(tmp_path):
    return write_video(tmp_path / "clip.mp4")


def test_frames_are_counted_and_read_in_order_and_again(clip):
    with VideoSource(clip, 3) as source:
        assert source.shape == (3, FRAMES, *SIZE)
        assert source.fps == pytest.approx(FPS)
        window = (slice(0, 1), slice(0, 48), slice(0, 64))
        for number, frame in [*enumerate(frames()), (3, list(frames())[3]), (0, next(frames()))]:
            values = source.read((slice(number, number + 1), *window[1:]))
            assert values.shape == (3, 1, *SIZE)
            assert np.abs(values[:, 0] * 255 - np.moveaxis(frame.astype(float), -1, 0)).mean() < 4
        part = source.read((slice(5, 7), slice(8, 20), slice(30, 34)))
        assert np.array_equal(part, np.concatenate([_window(source, n) for n in (5, 6)], axis=1))


def _window(source, number):
    return source.read((slice(number, number + 1), slice(0, 48), slice(0, 64)))[:, :, 8:20, 30:34]


def test_networks_for_grey_see_the_brightness(clip):
    with VideoSource(clip, 1, (-1.0, 1.0)) as source:
        values = source.read((slice(0, 1), slice(0, 48), slice(0, 64)))
    assert values.shape == (1, 1, *SIZE)
    assert values[0, 0, 45, 60] == pytest.approx(2 * 0.13 - 1, abs=0.05)
    with pytest.raises(UserError, match="has 3 colour channels; the network takes 4"):
        VideoSource(clip, 4)


@pytest.mark.parametrize("content", [b"", b"no video at all", None])
def test_what_is_no_video_is_told_by_name(tmp_path, clip, content, capfd):
    path = tmp_path / "broken.mp4"
    path.write_bytes(clip.read_bytes()[: clip.stat().st_size // 2] if content is None else content)
    with pytest.raises(UserError, match=r"broken\.mp4: is no video that can be read, or is damaged; convert it"):
        VideoSource(path)
    with pytest.raises(UserError, match=r"gone\.mp4: there is no such file"):
        VideoSource(tmp_path / "gone.mp4")
    assert capfd.readouterr().err == ""


def test_a_video_that_ends_before_its_header_says_is_told(tmp_path, caplog):
    whole = write_video(tmp_path / "clip.avi", count=40, codec="MJPG")
    (tmp_path / "cut.avi").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with caplog.at_level(logging.WARNING), VideoSource(tmp_path / "cut.avi") as source:
        assert 0 < source.shape[1] < 40
    assert "it may have been cut short" in caplog.text


@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".mov", ".mkv"])
def test_a_video_is_outlined_at_its_size_and_pace(clip, tmp_path, suffix):
    output = tmp_path / f"out{suffix}"
    with VideoSource(clip) as source, VideoSink.like(output, source, card()) as sink:
        Engine(bright, card()).run(source, sink)
    shown, fps = read_video(output)
    assert shown.shape == (FRAMES, *SIZE, 3)
    assert fps == pytest.approx(FPS)
    for number, frame in enumerate(shown.astype(int)):
        edge, inside = frame[10, 2 * number + 14], frame[20, 2 * number + 14]  # codecs blur colours
        assert edge[1] > edge[0] + 20
        assert np.abs(inside - (250, 200, 180)).mean() < 25
    assert sorted(each.name for each in tmp_path.iterdir()) == ["clip.mp4", output.name] or suffix == ".mp4"


def test_sides_of_odd_numbers_of_pixels_get_one_more(tmp_path, caplog):
    with VideoSource(write_video(tmp_path / "clip.mp4")) as source:
        source.shape = (3, FRAMES, 47, 63)
        with VideoSink.like(tmp_path / "out.mp4", source, card()) as sink:
            for number, frame in enumerate(frames((47, 63))):
                sink.picture = frame
                sink.put(number, np.zeros((1, 47, 63), np.uint8))
            sink.commit()
    assert read_video(tmp_path / "out.mp4")[0].shape == (FRAMES, 48, 64, 3)
    assert "as codecs want even numbers" in caplog.text


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"activation": "sigmoid"}, "a video shows labels or pictures"),
        ({"scale": 2, "activation": "none", "outputs": ()}, "videos are not enlarged"),
    ],
)
def test_outputs_that_a_video_cannot_show_are_refused(clip, tmp_path, facts, message):
    with VideoSource(clip) as source, pytest.raises(UserError, match=message):
        VideoSink.like(tmp_path / "out.mp4", source, card(**facts))
    assert not list(tmp_path.glob("*out*"))


def test_pictures_become_a_video(clip, tmp_path):
    facts = card(activation="none", outputs=(), labels=())
    with VideoSource(clip) as source, VideoSink.like(tmp_path / "out.mp4", source, facts) as sink:
        Engine(lambda x: 1 - x, facts).run(source, sink)
    assert np.abs(read_video(tmp_path / "out.mp4")[0].astype(int) + read_video(clip)[0] - 255).mean() < 5


def test_a_frame_becomes_a_mask_of_its_size(clip, tmp_path):
    with VideoSource(clip) as source, FrameSink.like(tmp_path / "masks", source, card()) as sink:
        Engine(bright, card()).run(source, sink)
    masks = sorted((tmp_path / "masks").iterdir())
    assert [each.name for each in masks] == [f"frame_{number:06d}.png" for number in range(FRAMES)]
    for number, path in enumerate(masks):
        mask = read_image(path)
        assert mask.shape == (1, *SIZE)
        assert mask[0, 12:28, 2 * number + 6 : 2 * number + 22].all()
        assert not mask[0, 34:].any()
    assert sorted(each.name for each in tmp_path.iterdir()) == ["clip.mp4", "masks"]


def test_probabilities_of_frames_are_grey(clip, tmp_path):
    facts = card(activation="sigmoid")
    with VideoSource(clip) as source, FrameSink.like(tmp_path / "masks", source, facts) as sink:
        Engine(lambda x: 10 * bright(x), facts).run(source, sink)
    mask = read_image(tmp_path / "masks" / "frame_000003.png")
    assert mask[0, 20, 15] > 230
    assert mask[0, 40, 15] < 20


class Stopped(KeyboardInterrupt):
    pass


def run_and_stop(clip, output, kind, at, seen):
    """Work on a video, and stop after some frames."""

    def stop(done, total):
        seen.append(done * FRAMES // total)
        if seen[-1] == at:
            raise Stopped

    with VideoSource(clip) as source, kind.like(output, source, card(), "same work") as sink:
        Engine(bright, card()).run(source, sink, stop)


def test_masks_go_on_after_the_last_frame(clip, tmp_path):
    seen, output = [], tmp_path / "masks"
    with pytest.raises(Stopped):
        run_and_stop(clip, output, FrameSink, 5, seen)
    assert not output.exists()
    seen.clear()
    run_and_stop(clip, output, FrameSink, None, seen)
    assert seen[0] >= 3
    with VideoSource(clip) as source, FrameSink.like(tmp_path / "whole", source, card()) as sink:
        Engine(bright, card()).run(source, sink)
    for each in (tmp_path / "whole").iterdir():
        assert (output / each.name).read_bytes() == each.read_bytes()
    assert sorted(each.name for each in tmp_path.iterdir()) == ["clip.mp4", "masks", "whole"]


def test_masks_of_other_work_are_dropped(clip, tmp_path):
    with pytest.raises(Stopped):
        run_and_stop(clip, tmp_path / "masks", FrameSink, 5, [])
    with VideoSource(clip) as source, FrameSink.like(tmp_path / "masks", source, card(), "other work") as sink:
        assert sink.rows_done == 0
        assert [each.name for each in sink.folder.iterdir()] == [".foveal-work"]


def test_an_older_folder_is_replaced_when_all_is_done(clip, tmp_path):
    output = tmp_path / "masks"
    output.mkdir()
    (output / "old.png").touch()
    with pytest.raises(Stopped):
        run_and_stop(clip, output, FrameSink, 5, [])
    assert (output / "old.png").exists()
    run_and_stop(clip, output, FrameSink, None, [])
    assert len(list(output.iterdir())) == FRAMES
    assert sorted(each.name for each in tmp_path.iterdir()) == ["clip.mp4", "masks"]


def test_an_interrupted_video_leaves_nothing(clip, tmp_path):
    (tmp_path / "out.mp4").write_bytes(b"older")
    with pytest.raises(Stopped):
        run_and_stop(clip, tmp_path / "out.mp4", VideoSink, 5, [])
    assert (tmp_path / "out.mp4").read_bytes() == b"older"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["clip.mp4", "out.mp4"]


def test_frames_that_the_encoder_lost_are_found_out(clip, tmp_path):
    with (
        VideoSource(clip) as source,
        pytest.raises(OSError, match="11 of its frames are there"),
        VideoSink.like(tmp_path / "out.mp4", source, card()) as sink,
    ):
        for number in range(FRAMES - 1):
            sink.put(number, np.zeros((1, *SIZE), np.uint8))
        sink.commit()
    assert not list(tmp_path.glob("*out*"))


@pytest.mark.parametrize(("kind", "name"), [(VideoSink, "out.mp4"), (FrameSink, "out")])
def test_two_runs_on_one_output_are_told(clip, tmp_path, kind, name):
    with (
        VideoSource(clip) as source,
        kind.like(tmp_path / name, source, card(), "work"),
        pytest.raises(UserError, match="another run writes this file now"),
    ):
        kind.like(tmp_path / name, source, card(), "work")

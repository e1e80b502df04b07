import errno
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

import foveal
from foveal.apps.superres.infer import infer
from foveal.apps.superres.models.dlgsanet import DLGSANet
from foveal.core.cli import main
from foveal.core.errors import UserError
from foveal.core.inference import command
from foveal.core.weights.card import Card
from foveal.core.weights.files import save_weights
from foveal.data.io import gdal
from foveal.data.io.image import read_image, write_image
from foveal.tests.fixtures import toy_infer
from foveal.tests.fixtures.images import BAD, LOSSLESS, PROFILE, pixels
from foveal.tests.fixtures.programs import ToyProgram, nearest


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """Nearest-neighbour enlargement in place of a network; gives the options that name it."""
    weights = tmp_path / "toy.safetensors"
    weights.write_bytes(b"toy")
    monkeypatch.setattr(command, "load_program", lambda source, device: nearest(2))
    return {"weights": str(weights), "quiet": True}


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """A small network with random weights, as a file."""
    arguments = {"scale": 2, "dim": 12, "groups": 1, "pairs": 1, "heads": 2}
    card = Card(
        name="small-x2",
        app="superres",
        network={"class_path": "foveal.apps.superres.models.dlgsanet.DLGSANet", "init_args": arguments},
        scale=2,
        tile=24,
        overlap=8,
    )
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    save_weights(DLGSANet(**arguments), card, path)
    return str(path)


def names(folder):
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith((".foveal", "foveal-manifest")))


def test_the_command_enlarges_a_photograph_by_a_network(tmp_path, network):
    path, image = LOSSLESS["png rgb"](tmp_path)
    output = tmp_path / "out" / "larger.png"
    arguments = ["--input", str(path), "--output", str(output), "--weights", network, "--tta"]
    assert main(["superres", "infer", *arguments]) == 0
    written = read_image(output)
    assert written.shape == (3, 42, 60)
    predicted = foveal.predict(network, image, device="cpu", tta=True)
    assert np.array_equal(written, predicted.transpose(2, 0, 1))
    assert names(output.parent) == ["larger.png"]


def test_predict_gives_the_same_from_path_array_and_module(tmp_path, network):
    path, image = LOSSLESS["png rgb alpha"](tmp_path)
    module = foveal.load_model(network)
    expected = foveal.predict(module, path)
    assert expected.shape == (42, 60, 4)
    assert expected.dtype == np.uint8
    assert np.array_equal(foveal.predict(network, image, device="cpu"), expected)
    assert np.array_equal(foveal.predict(module, image)[..., :3], foveal.predict(module, image[..., :3]))
    infer(tmp_path / "out.png", [path], weights=network, device="cpu", quiet=True)
    assert np.array_equal(read_image(tmp_path / "out.png", alpha=True), expected.transpose(2, 0, 1))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "float64"])
@pytest.mark.parametrize("shape", [(20, 31), (20, 31, 1), (20, 31, 2), (20, 31, 3), (20, 31, 4)])
def test_predict_keeps_dtype_and_layout(dtype, shape):
    generator = np.random.default_rng(0)
    image = generator.random(shape) if dtype[0] == "f" else generator.integers(0, np.iinfo(dtype).max, shape)
    image = image.astype(dtype)
    larger = foveal.predict(nearest(2), image)
    assert larger.dtype == image.dtype
    assert larger.shape == (40, 62, *shape[2:])
    colours = slice(0, -1) if shape[2:] in ((2,), (4,)) else slice(None)
    expected = image.repeat(2, 0).repeat(2, 1)
    if image.ndim == 3:
        larger, expected = larger[..., colours], expected[..., colours]
    assert np.allclose(larger, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros(5, np.uint8), "shape"),
        (np.zeros((5, 5, 7), np.uint8), "shape"),
        (np.zeros((5, 5, 3), np.int32), "int32"),
        ("gone.png", r"gone\.png: there is no such file"),
    ],
)
def test_predict_refuses_what_is_no_image(image, message):
    with pytest.raises(UserError, match=message):
        foveal.predict(nearest(2), image)


def test_predict_refuses_colour_for_a_grey_network():
    with pytest.raises(UserError, match="has 3 colour channels; the network takes 1"):
        foveal.predict(nearest(2, channels=("grey",)), np.zeros((5, 5, 3), np.uint8))


def test_a_folder_of_every_mode_comes_out_in_the_same_modes(tmp_path, toy):
    folder = tmp_path / "in"
    folder.mkdir()
    for make in LOSSLESS.values():
        make(folder)
    infer(tmp_path / "out", [folder], **toy)
    assert names(tmp_path / "out") == names(folder)
    for path in folder.iterdir():
        before, after = (read_image(each, alpha=True) for each in (path, tmp_path / "out" / path.name))
        assert after.dtype == before.dtype
        assert after.shape == (before.shape[0], 2 * before.shape[1], 2 * before.shape[2])


def test_an_upright_photograph_with_its_profile_comes_out(tmp_path, toy):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels(3)).save(tmp_path / "phone.jpg", exif=exif, icc_profile=PROFILE)
    infer(tmp_path / "out.png", [tmp_path / "phone.jpg"], **toy)
    with Image.open(tmp_path / "out.png") as image:
        assert image.size == (2 * 21, 2 * 30)
        assert image.info["icc_profile"] == PROFILE


@pytest.mark.parametrize("make", BAD, ids=lambda make: make.__name__)
def test_a_bad_file_is_told_in_one_line_and_leaves_nothing(tmp_path, toy, capsys, make):
    path = make(tmp_path)
    arguments = ["--input", str(path), "--output", str(tmp_path / "out" / "x.png"), "--weights", toy["weights"]]
    assert main(["superres", "infer", *arguments, "--quiet"]) == (1 if path.exists() else 2)
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert path.name in error
    assert not (tmp_path / "out").exists() or names(tmp_path / "out") == []


def test_a_bad_file_does_not_stop_the_others(tmp_path, toy, capsys):
    folder = tmp_path / "in"
    folder.mkdir()
    for make in BAD:
        make(folder)
    good, _ = LOSSLESS["png rgb"](folder)
    good.rename(folder / "zebra.png")
    arguments = ["--input", str(folder), "--output", str(tmp_path / "out"), "--weights", toy["weights"]]
    assert main(["superres", "infer", *arguments]) == 1
    assert names(tmp_path / "out") == ["zebra.png"]
    assert capsys.readouterr().err.splitlines()[-len(BAD) :][0].startswith("error: 11 of 12 inputs failed")


def test_alpha_into_jpeg_is_refused_before_any_work(tmp_path, toy):
    path, _ = LOSSLESS["png rgb alpha"](tmp_path)
    with pytest.raises(UserError, match=r"x\.jpg: JPEG cannot hold an alpha channel"):
        infer(tmp_path / "x.jpg", [path], **toy)


def test_the_wrong_scale_is_refused_with_the_weights_that_have_it(tmp_path, toy, monkeypatch):
    path, _ = LOSSLESS["png rgb"](tmp_path)
    infer(tmp_path / "x2.png", [path], scale=2, **toy)
    other = Card(name="toy-x3", app="superres", network={"class_path": "toy"}, scale=3, tile=8, overlap=0)
    monkeypatch.setattr(command, "cards", lambda: [other])
    with pytest.raises(UserError, match=r"--scale 3: .* enlarge by 2, not by 3; give --weights toy-x3\."):
        infer(tmp_path / "x3.png", [path], scale=3, **toy)
    with pytest.raises(UserError, match=r"--scale 7: .*no weights that come with Foveal enlarge by 7"):
        infer(tmp_path / "x3.png", [path], scale=7, **toy)


def test_weights_of_another_app_are_refused(tmp_path, toy, monkeypatch):
    monkeypatch.setattr(command, "load_program", lambda source, device: ToyProgram(lambda x: x, app="polyp"))
    path, _ = LOSSLESS["png rgb"](tmp_path)
    with pytest.raises(UserError, match="are for polyp, not for superres"):
        infer(tmp_path / "out.png", [path], **toy)


def test_a_second_run_skips_what_is_done_and_redoes_what_changed(tmp_path, toy):
    path, _ = LOSSLESS["png rgb"](tmp_path)
    output = tmp_path / "out.png"
    infer(output, [path], **toy)
    first = output.stat().st_mtime_ns
    infer(output, [path], **toy)
    assert output.stat().st_mtime_ns == first
    infer(output, [path], tile=9, **toy)
    assert output.stat().st_mtime_ns > first


def test_what_somebody_changed_since_is_replaced_only_when_asked(tmp_path, toy):
    path, _ = LOSSLESS["png rgb"](tmp_path)
    output = tmp_path / "out.png"
    infer(output, [path], **toy)
    output.write_bytes(b"mark")
    infer(output, [path], **toy)
    with pytest.raises(UserError, match="exists already; give --overwrite"):
        infer(output, [path], tile=9, **toy)
    assert output.read_bytes() == b"mark"
    infer(output, [path], tile=9, overwrite=True, **toy)
    assert read_image(output).shape == (3, 42, 60)


def test_a_disk_without_room_is_one_line_before_any_work(tmp_path, toy, monkeypatch):
    path, _ = LOSSLESS["png rgb"](tmp_path)
    (tmp_path / "out").mkdir()
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(0, 0, 1000))
    with pytest.raises(UserError, match="the disk is full"):
        infer(tmp_path / "out", [path], **toy)
    assert names(tmp_path / "out") == []


def test_a_disk_that_fills_up_is_one_line_and_the_next_run_goes_on(tmp_path, toy, monkeypatch, capsys):
    path, image = LOSSLESS["png rgb"](tmp_path)
    output = tmp_path / "out" / "x.png"
    write = foveal.data.io.spool.Spool.write

    def fill_up(self, window, values):
        if window[0].stop > 10:
            raise OSError(errno.ENOSPC, "No space left on device", str(self.path))
        write(self, window, values)

    arguments = ["superres", "infer", "--input", str(path), "--output", str(output), "--weights", toy["weights"]]
    with monkeypatch.context() as patch:
        patch.setattr(foveal.data.io.spool.Spool, "write", fill_up)
        assert main([*arguments, "--quiet"]) == 2
    assert capsys.readouterr().err.startswith("error: the disk is full")
    assert not output.exists()
    assert main(arguments) == 0
    assert np.array_equal(read_image(output), image.transpose(2, 0, 1).repeat(2, 1).repeat(2, 2))


def start(tmp_path, pause, path, output):
    (tmp_path / "toy.safetensors").write_bytes(b"toy")
    options = ["--input", str(path), "--output", str(output), "--weights", str(tmp_path / "toy.safetensors")]
    return subprocess.Popen(
        [sys.executable, "-m", toy_infer.__name__, str(pause), *options, "--device", "cpu"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_killed_run_goes_on_and_gives_the_same_bytes(tmp_path, suffix):
    write_image(tmp_path / "a.png", np.random.default_rng(0).integers(0, 256, (3, 900, 300), dtype=np.uint8))
    killed, whole = tmp_path / f"killed{suffix}", tmp_path / f"whole{suffix}"
    state = tmp_path / f".killed{suffix}.state.npz"
    process = start(tmp_path, 0.1, tmp_path / "a.png", killed)
    while not state.exists():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not killed.exists()
    with np.load(state) as kept:
        assert 0 < int(kept["rows"]) < 1800
    for output in (killed, whole):
        process = start(tmp_path, 0, tmp_path / "a.png", output)
        _, error = process.communicate()
        assert process.returncode == 0, error
    assert killed.read_bytes() == whole.read_bytes()
    assert names(tmp_path) == sorted(["a.png", "toy.safetensors", killed.name, whole.name])


def peak_memory(tmp_path, side, suffix):
    """Peak resident bytes of a run on a square image, in a process of its own."""
    grey = np.random.default_rng(0).integers(0, 256, (1, side, side), dtype=np.uint8)
    write_image(tmp_path / f"{side}.png", np.broadcast_to(grey, (3, side, side)))
    process = start(tmp_path, 0, tmp_path / f"{side}.png", tmp_path / f"larger{side}{suffix}")
    output, error = process.communicate()
    assert process.returncode == 0, error
    return 1024 * int(output.split()[-1])


@pytest.mark.slow
def test_peak_memory_grows_with_the_rows_in_flight_and_not_with_the_image(tmp_path):
    small = peak_memory(tmp_path, 1000, ".png")
    rows_in_flight = 2 * 128 * (2 * 3162) * 3 * 4  # output rows of one row of tiles, float32
    image = (2 * 3162) ** 2 * 3
    for suffix in (".png", ".jpg", ".tif"):
        growth = peak_memory(tmp_path, 3162, suffix) - small
        assert growth < rows_in_flight + gdal.CACHE < image / 3


def test_without_input_a_photograph_that_comes_along_is_enlarged(network, tmp_path):
    infer(tmp_path / "cat.png", weights=network, device="cpu", quiet=True)
    assert read_image(tmp_path / "cat.png").shape == (3, 600, 902)

"""Pictures of outlines, made by `foveal infer`'s machinery of images and volumes."""

import numpy as np
import pytest

from foveal.core.errors import UserError
from foveal.core.inference.engine import Engine
from foveal.core.weights.card import Card
from foveal.core.weights.label import Label
from foveal.data.io import overlay
from foveal.data.io.image import ImageSource, read_image, write_image
from foveal.data.io.nifti import NiftiSource
from foveal.data.io.overlay import OverlaySink
from foveal.tests.fixtures import nifti

COLOUR = (30, 220, 90)


def card(**facts):
    facts = {"activation": "threshold", "outputs": ("bright",), "tile": 64, "overlap": 8} | facts
    labels = (Label(value=1, name="bright", colour=COLOUR),)
    return Card(name="toy", app="toy", network={"class_path": "toy"}, labels=labels, **facts)


def draw(source, output, facts, level=0.5):
    with source, OverlaySink(output, source, facts) as sink:
        Engine(lambda x: x.mean(dim=1, keepdim=True) - level, facts).run(source, sink)
    return read_image(output)


def drawn(picture):
    return (picture == np.reshape(COLOUR, (3, 1, 1))).all(axis=0)


@pytest.fixture
def photo(tmp_path):
    image = np.full((3, 40, 60), 20, np.uint8)
    image[:, 10:30, 20:50] = 250
    write_image(tmp_path / "photo.png", image)
    return tmp_path / "photo.png"


def test_an_image_keeps_its_pixels_but_for_the_outline(photo, tmp_path):
    picture, image = draw(ImageSource(photo), tmp_path / "out.png", card()), read_image(photo)
    edge = np.zeros((40, 60), bool)
    edge[10:30, 20:50] = True
    edge[11:29, 21:49] = False
    assert np.array_equal(drawn(picture), edge)
    assert np.array_equal(picture[:, ~edge], image[:, ~edge])


def test_a_large_image_is_shown_smaller(photo, tmp_path, monkeypatch):
    monkeypatch.setattr(overlay, "LARGEST", 30)
    monkeypatch.setattr(overlay, "BAND", 5)
    picture = draw(ImageSource(photo), tmp_path / "out.png", card())
    assert picture.shape == (3, 20, 30)
    assert drawn(picture)[5, 10]


def test_what_is_enlarged_has_no_outlines(photo, tmp_path):
    with ImageSource(photo) as source, pytest.raises(UserError, match="enlarged; leave out --overlay"):
        OverlaySink(tmp_path / "out.png", source, card(scale=2))


HEAD, FRONT, RIGHT = (slice(None), slice(None), 9), (slice(None), 9), (9,)
"""Where a volume is bright, by index (i, j, k) of a file whose axes lead to the right, the front and the head."""


@pytest.mark.parametrize("affine", ["straight", "flipped", "to the left"])
@pytest.mark.parametrize(
    ("axis", "bright", "side"),
    [(2, FRONT, "top"), (2, RIGHT, "left"), (1, HEAD, "top"), (1, RIGHT, "left"), (0, HEAD, "top"), (0, FRONT, "left")],
)
def test_slices_are_turned_as_is_usual(tmp_path, affine, axis, bright, side):
    samples = np.zeros((10, 10, 10), np.float32)
    samples[bright] = 1
    matrix = nifti.AFFINES[affine]
    flips = [number for number in range(3) if matrix[number, number] < 0]
    path = nifti.write(tmp_path / "head.nii", np.flip(samples, flips).copy(), affine=matrix)
    picture = draw(NiftiSource(path), tmp_path / "out.png", card(channels=("mr",), axis=axis))
    first = drawn(picture)[: picture.shape[1] // 4, : picture.shape[2] // 4]
    rows, columns = np.nonzero(first)
    found = rows.max() if side == "top" else columns.max()
    across = columns if side == "top" else rows
    assert found < 0.2 * first.shape[side == "left"]
    assert np.ptp(across) > 0.8 * first.shape[side == "top"]


def test_axes_that_lie_across_are_turned_too(tmp_path):
    samples = np.zeros((10, 12, 14), np.float32)
    samples[:, :, 13] = 1  # k leads to the right in this file, i to the back
    path = nifti.write(tmp_path / "head.nii", samples, affine=nifti.AFFINES["sagittal"])
    picture = draw(NiftiSource(path), tmp_path / "out.png", card(channels=("mr",), axis=1))
    rows, columns = np.nonzero(drawn(picture)[:, : picture.shape[2] // 4])
    assert np.ptp(columns) < np.ptp(rows)


def test_a_sheet_shows_the_slices_in_which_something_was_found(tmp_path):
    samples = np.zeros((20, 20, 30), np.float32)
    samples[5:15, 5:15, 12:15] = 1
    path = nifti.write(tmp_path / "head.nii", samples, affine=nifti.AFFINES["straight"])
    picture = draw(NiftiSource(path), tmp_path / "out.png", card(channels=("mr",)))
    side = overlay.SMALLEST
    assert picture.shape == (3, 2 * side + overlay.GAP, 2 * side + overlay.GAP)
    assert [drawn(picture)[top : top + side, left : left + side].any() for top in (0, side) for left in (0, side)] == [
        True,
        True,
        True,
        False,
    ]


def test_pixels_of_slices_are_square(tmp_path):
    samples = np.ones((20, 20, 5), np.float32)
    path = nifti.write(tmp_path / "head.nii", samples, affine=nifti.placed(np.eye(3), (1.0, 2.0, 8.0)))
    picture = draw(NiftiSource(path), tmp_path / "out.png", card(channels=("mr",)))
    assert picture.shape == (3, 2 * 320 + 4, 3 * 160 + 2 * 4)

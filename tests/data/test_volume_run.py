"""Volumes through `run_volume`: what a network sees of them, and that its answers lie where they belong."""

from contextlib import ExitStack
from time import sleep

import nibabel
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from foveal.core.errors import UserError
from foveal.core.inference.arrays import ArraySink, ArraySource
from foveal.core.inference.engine import Engine
from foveal.core.inference.fan import Fan, Part
from foveal.core.inference.tta import views_of
from foveal.data.geometry import VolumeGeometry
from foveal.data.io.formats import open_sink, open_source
from foveal.data.volume_run import giving_probabilities, prepared_labels, prepared_volume, run_volume
from foveal.tests.fixtures.programs import ToyProgram, identity
from tests.fixtures.dicom import Grid, oblique, write_series
from tests.fixtures.nifti import AFFINES, placed, rotation, write

FACTS = {"channels": ("ct",), "dimensions": 3, "tile": 16, "overlap": 8}
X = np.random.default_rng(0).random((1, 14, 12, 10), dtype=np.float32)
SPACINGS = [(), (1.0, 1.0, 1.0), (3.0, 0.7, 1.4), (0.45, 2.0, 0.9)]


def source(values=X, affine=AFFINES["oblique and flipped"]):
    """An array (C, D, H, W) with a place."""
    made = ArraySource(values)
    made.geometry = VolumeGeometry(values.shape[1:], affine)
    return made


def ran(program, given, **options):
    sink = ArraySink(given.shape[1:], given.geometry)
    run_volume(Engine(program, program.card, **options), given, sink)
    return sink.array


def two_classes(level=0.5, **card):
    """Tells what is above a level."""
    facts = {"activation": "argmax", "outputs": ("no", "yes")} | FACTS
    return ToyProgram(lambda x: 4 * torch.cat([level - x, x - level], 1), **facts | card)


def recording(**card):
    """Returns its input and keeps it."""
    program = ToyProgram(lambda x: program.seen.append(x.clone()) or x.clone(), **FACTS | card)
    program.seen = []
    return program


# What costs nothing


@pytest.mark.parametrize(
    "card",
    [{}, {"spacing": (3.02, 0.6, 0.595)}, {"orientation": "SPL"}, {"spacing": (0.6, 3, 0.6), "orientation": "ASL"}],
)
def test_what_need_not_be_resampled_comes_back_as_it_is(card):
    given = source(affine=placed(np.diag([-1, 1, 1]), (0.6, 0.6, 3)))
    assert given.geometry.orientation == "SAL"
    assert np.array_equal(ran(identity(**FACTS, **card), given, tile="whole"), X)
    assert np.abs(ran(identity(**FACTS, **card), given, tile=8, overlap=4) - X).max() <= 1e-6
    assert np.array_equal(
        prepared_labels(source((9 * X).round(), given.geometry.affine), identity(**FACTS).card), (9 * X).round()[0]
    )


# What the network sees


@pytest.mark.parametrize("affine", ["straight", "sagittal", "oblique and flipped"])
@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize(
    "values",
    [
        {},
        {"intensity": {"zscore": True}},
        {"intensity": {"zscore": "nonzero"}, "mean": (0.5,), "std": (2.0,)},
        {"intensity": {"window": [0.1, 0.8]}, "value_range": (0.1, 0.8), "mean": (0.4,), "std": (0.2,)},
    ],
)
def test_a_prepared_volume_is_what_the_program_sees(affine, spacing, values):
    program = recording(orientation="RSP", spacing=spacing, **values)
    ran(program, source(affine=AFFINES[affine]), tile="whole")
    prepared = prepared_volume(source(affine=AFFINES[affine]), program.card)
    (seen,) = program.seen
    assert prepared.dtype == np.float32
    assert prepared.flags.c_contiguous
    assert np.allclose(seen[0], prepared, atol=1e-6)


def test_a_frame_is_filled_whatever_the_orientation():
    program = recording(orientation="RSP", spacing=(1.0, 1.0, 1.0), frame=(8, 6, 4), mean=(0.5,), std=(2.0,))
    assert ran(program, source()).shape == X.shape
    assert program.seen[0].shape == (1, 1, 8, 6, 4)
    volume = torch.from_numpy(prepared_volume(source(), program.card))[None]
    assert torch.allclose(program.seen[0], F.interpolate(volume, (8, 6, 4), mode="trilinear"), atol=1e-6)


# Places


def blob(shape, affine, centre, radius):
    """A bright ball in millimetres, (i, j, k) int16, with a soft edge."""
    places = np.stack([*np.indices(shape), np.ones(shape)], axis=-1) @ affine.T
    distance = np.linalg.norm(places[..., :3] - centre, axis=-1)
    return (1000 / (1 + np.exp(np.clip(3 * (distance - radius), -50, 50)))).astype(np.int16)


def centroid(array, affine):
    return (affine @ (*np.argwhere(array > 0.5).mean(axis=0), 1))[:3]


def middle(affine, shape):
    return (affine @ (*(np.array(shape) * (0.47, 0.52, 0.5)), 1))[:3]


PLACES = {
    **{name: AFFINES[name] for name in ("straight", "flipped", "sagittal")},
    "anisotropic": placed(np.diag([-1, 1, 1]), (0.7, 0.8, 5)),
    "oblique": placed(rotation(33, (1, 2, 3)), (0.8, 1.3, 2.2)),
    "permuted": placed(rotation(100, (1, 0.1, 0)) @ np.diag([1, 1, -1]), (0.9, 0.6, 3)),
}


@pytest.mark.parametrize("spacing", [(1.5, 1.5, 1.5), (2.1, 0.8, 1.0), (0.7, 1.9, 3.3)])
@pytest.mark.parametrize("name", PLACES)
def test_a_blob_in_a_nifti_file_stays_where_it_is_in_the_world(tmp_path, name, spacing):
    affine = PLACES[name]
    extent = np.round(36 / np.linalg.norm(affine[:3, :3], axis=0)).astype(int) + 1
    centre = middle(affine, extent)
    path = write(tmp_path / "ct.nii.gz", blob(extent, affine, centre, 11), affine=affine)
    program = two_classes(spacing=spacing, orientation="SPL", intensity={"window": [0, 1000]})
    with open_source(path, "nifti") as given, open_sink(tmp_path / "out.nii.gz", "nifti", given, program.card) as sink:
        run_volume(Engine(program, program.card), given, sink)
    out = nibabel.load(tmp_path / "out.nii.gz")
    assert np.allclose(out.affine, nibabel.load(path).affine, atol=1e-5)
    voxel = max(np.linalg.norm(affine[:3, :3], axis=0).max(), *spacing)
    found = np.asarray(out.dataobj)
    assert np.linalg.norm(centroid(found, out.affine) - centre) < 0.1 * voxel
    truth = np.asarray(nibabel.load(path).dataobj) > 500
    assert 2 * (truth & (found > 0)).sum() / (truth.sum() + found.sum()) > 0.95


def test_the_same_of_a_dicom_series(tmp_path):
    write_series(tmp_path / "series", Grid((16, 22, 26), oblique(), (2.5, 1.0, 0.8)))
    program = recording(spacing=(1.2, 1.2, 1.2), orientation="SPL")
    with open_source(tmp_path / "series", "dicom") as given:
        sink = ArraySink(given.shape[1:], given.geometry)
        run_volume(Engine(program, program.card, tile="whole"), given, sink)
        stored = given.read(tuple(slice(0, size) for size in given.shape[1:]))
    # Slices differ by far more than samples within them: a turned or shifted slice would show.
    assert np.abs(sink.array - stored).mean() < 0.02 * np.ptp(stored)


@pytest.mark.parametrize("name", PLACES)
def test_labels_lie_where_the_image_does(name):
    affine = PLACES[name]
    extent = np.round(36 / np.linalg.norm(affine[:3, :3], axis=0)).astype(int) + 1
    ball = blob(extent, affine, middle(affine, extent), 11).transpose(2, 1, 0)[None].astype(np.float32)
    card = identity(**FACTS, spacing=(1.5, 1.0, 2.0), orientation="SPL").card
    image = prepared_volume(source(ball, affine), card)[0]
    labels = prepared_labels(source(3.0 * (ball > 500), affine), card)
    assert labels.dtype == np.uint8
    assert labels.shape == image.shape
    assert set(np.unique(labels)) == {0, 3}
    shift = np.argwhere(labels).mean(axis=0) - np.argwhere(image > 500).mean(axis=0)
    assert np.abs(shift).max() < 0.12


def test_labels_are_prepared_a_few_rows_at_once(monkeypatch):
    card = identity(**FACTS, spacing=(1.1, 0.9, 1.4)).card
    labels = source((5 * X).round(), AFFINES["oblique"])
    whole = prepared_labels(labels, card)
    monkeypatch.setattr("foveal.data.volume_run.SLAB", 400)
    assert np.array_equal(prepared_labels(labels, card), whole)
    assert set(np.unique(whole)) <= set(range(6))


# Probabilities


def lopsided(**card):
    """Three classes by a filter that tells the axes and their directions apart, of very different certainty."""
    kernel = (
        torch.randn(3, 1, 3, 3, 3, generator=torch.Generator().manual_seed(0))
        * torch.tensor([1, 30, 3])[:, None, None, None, None]
    )
    return ToyProgram(lambda x: F.conv3d(x - 0.5, kernel, padding=1), **FACTS | {"outputs": ("a", "b", "c")} | card)


def by_hand(program, x):
    """Mean over the mirrored views of the probabilities, (C, D, H, W) -> (K, D, H, W)."""
    x = torch.from_numpy(x)[None]
    seen = [
        torch.softmax(program.function(x.flip(view.flipped)), 1).flip(view.flipped) for view in views_of(program.card)
    ]
    return torch.stack(seen).mean(0)[0].numpy()


@pytest.mark.parametrize("orientation", ["", "SPL", "RAI"])
def test_probabilities_are_what_is_averaged_over_views(orientation):
    program = lopsided(activation="softmax", orientation=orientation)
    given = source(affine=placed(np.diag([-1, -1, 1]), (1, 1, 1)))  # SPL
    stored = by_hand(program, X)
    if orientation == "RAI":  # the views of a turned volume are those of the volume, turned
        turned = by_hand(program, np.ascontiguousarray(X.transpose(0, 3, 2, 1)[:, ::-1, ::-1, ::-1]))
        stored = turned[:, ::-1, ::-1, ::-1].transpose(0, 3, 2, 1)
    assert np.allclose(ran(program, given, tile="whole", tta=True), stored, atol=1e-5)
    labels = lopsided(activation="argmax", orientation=orientation)
    found = ran(labels, given, tile="whole", tta=True)
    assert found.dtype == np.uint8
    assert (found[0] == stored.argmax(0)).mean() > 0.999
    logits = Engine(labels, labels.card, tile="whole", tta=True).array(X)
    assert (logits[0] == stored.argmax(0)).mean() < 0.95


def test_probabilities_are_what_tiles_share_and_what_is_brought_back():
    program = lopsided(activation="softmax", spacing=(1.0, 1.0, 0.8))
    found = ran(program, source(), tile=(8, 8, 4), overlap=(4, 4, 2))
    assert found.shape == (3, *X.shape[1:])
    assert np.allclose(found.sum(0), 1, atol=1e-5)
    assert found.min() >= -1e-6
    labels = ran(lopsided(activation="argmax", spacing=(1.0, 1.0, 0.8)), source(), tile=(8, 8, 4), overlap=(4, 4, 2))
    assert (labels[0] == found.argmax(0)).mean() > 0.999


def test_a_program_that_gives_probabilities_is_left_alone():
    given = [Engine(each, each.card) for each in (lopsided(probabilities=True, activation="argmax"), lopsided())]
    for engine in given:
        assert giving_probabilities(engine) is engine


def test_raw_outputs_come_to_a_fan_in_the_grid_of_the_file(tmp_path):
    path = write(tmp_path / "ct.nii", X[0].transpose(2, 1, 0), affine=PLACES["permuted"])
    program = lopsided(activation="argmax", spacing=(1.2, 1.2, 1.2), orientation="SPL")
    engine = giving_probabilities(Engine(program, program.card))
    with ExitStack() as stack:
        given = stack.enter_context(open_source(path, "nifti"))
        sinks = [
            stack.enter_context(open_sink(tmp_path / f"{name}.nii", "nifti", given, each.card))
            for name, each in (("labels", engine), ("values", engine.with_card(activation="none")))
        ]
        parts = [
            Part(sink, slice(None), activation) for sink, activation in zip(sinks, ("argmax", "none"), strict=True)
        ]
        run_volume(engine.with_card(activation="none"), given, Fan(parts))
    labels, values = (np.asarray(nibabel.load(tmp_path / f"{name}.nii").dataobj) for name in ("labels", "values"))
    assert np.array_equal(labels, values.argmax(-1))
    with open_source(path, "nifti") as given:
        assert np.array_equal(ran(program, given)[0].transpose(2, 1, 0), labels)


# Going on


class Killed(BaseException):
    """As if the process were killed."""


@pytest.mark.parametrize("spacing", [(1.7, 0.8, 0.9), (0.4, 2.0, 1.0), (0.15, 2.0, 2.0), (1.0, 2.0, 2.0), ()])
@pytest.mark.parametrize("tta", [False, True])
def test_runs_killed_after_any_row_of_tiles_end_in_the_same_bytes(tmp_path, spacing, tta):
    values = np.random.default_rng(0).integers(-900, 900, (9, 8, 15), dtype=np.int16)
    path = write(tmp_path / "ct.nii.gz", values, affine=placed(np.diag([-1, -1, 1]), (0.8, 0.8, 1.0)))
    program = lopsided(activation="argmax", spacing=spacing, orientation="SAL", intensity={"zscore": True})

    def run(name, stop=10**9):
        def told(done, rows):
            seen.append(done)
            if done >= stop:
                sleep(0.05)  # for the thread that writes, which a kill would overtake on a busy machine
                raise Killed

        seen = []
        engine = Engine(program, program.card, tile=(4, 8, 8), overlap=(2, 4, 4), tta=tta)
        with (
            open_source(path, "nifti") as given,
            open_sink(tmp_path / name, "nifti", given, program.card, "work") as sink,
        ):
            run_volume(engine, given, sink, told)
        return seen

    rows, again = run("whole.nii.gz"), []
    for stop in rows[:-1][:: max(1, len(rows) // 6)]:
        with pytest.raises(Killed):
            run("killed.nii.gz", stop)
        again = run("killed.nii.gz")
        assert again == rows[len(rows) - len(again) :]
        assert (tmp_path / "killed.nii.gz").read_bytes() == (tmp_path / "whole.nii.gz").read_bytes()
    assert len(again) < len(rows)


# Extremes


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 7, 5), (3, 1, 9), (40, 2, 1)])
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.1, 60.0, 0.3), (90.0, 0.5, 0.5)])
def test_thin_and_tiny_volumes_and_huge_ratios(shape, spacing):
    given = source(np.random.default_rng(0).random((1, *shape), dtype=np.float32), AFFINES["sagittal"])
    program = two_classes(spacing=spacing, orientation="SPL", size_multiple=8)
    found = ran(program, given)
    assert found.shape == (1, *shape)
    assert set(np.unique(found)) <= {0, 1}
    labels = prepared_labels(source(np.full((1, *shape), 3, np.float32), AFFINES["sagittal"]), program.card)
    assert labels.shape == prepared_volume(given, program.card).shape[1:]
    assert (labels == 3).all()


# Refusals


def test_volumes_that_do_not_fit_are_refused_before_any_work():
    program = recording(spacing=(1.0, 1.0, 1.0))
    sink = ArraySink((14, 12, 10))
    cases = [
        (source(np.repeat(X, 2, 0)), "2 channels, the network takes"),
        (ArraySource(X[:, 0]), "has 2 spatial axes; toy takes volumes"),
        (ArraySource(X), "does not say where its voxels lie, which toy needs"),
        (source(affine=np.diag([1e-4, 1, 1e4, 1])), "check the spacing of the file"),
    ]
    for given, told in cases:
        with pytest.raises(UserError, match=told):
            run_volume(Engine(program, program.card), given, sink)
        with pytest.raises(UserError, match=told):
            prepared_volume(given, program.card)
    assert not program.seen


def test_a_sink_of_another_place_is_refused():
    program = recording(spacing=(1.0, 1.0, 1.0))
    with pytest.raises(UserError, match="the output would not lie where the input does"):
        run_volume(Engine(program, program.card), source(), ArraySink((14, 12, 10), source(affine=np.eye(4)).geometry))


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (X, "holds the value 0\\..*; labels are whole"),
        (300 * np.ones_like(X), "value 300"),
        (-np.ones_like(X), "value -1"),
    ],
)
def test_values_that_are_no_labels_are_refused(values, told):
    with pytest.raises(UserError, match=told):
        prepared_labels(source(values), identity(**FACTS).card)


def test_a_label_map_has_one_channel():
    with pytest.raises(UserError, match="has 2 channels"):
        prepared_labels(source(np.zeros((2, 3, 4, 5), np.float32)), identity(**FACTS).card)

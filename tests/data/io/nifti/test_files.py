import gzip
import logging
import os
import shutil
import tracemalloc
from itertools import pairwise
from types import SimpleNamespace

import nibabel
import numpy as np
import pytest
import SimpleITK
from nibabel import Nifti2Header
from nibabel.nifti1 import Nifti1PairHeader
from nibabel.nifti2 import Nifti2PairHeader

from foveal.core.errors import UserError
from foveal.core.inference.engine import Engine
from foveal.core.weights.card import Card
from foveal.core.weights.label import Label
from foveal.data.geometry import LPS_RAS, VolumeGeometry
from foveal.data.io.nifti import NiftiSink, NiftiSource, files, unpack
from tests.fixtures.nifti import AFFINES, SHAPE, header, placed, rotation, samples, write
from tests.fixtures.programs import identity, nearest

TYPES = ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64"]


def card(channels=1, **facts):
    names = tuple(f"c{index}" for index in range(channels))
    return Card(
        **{"name": "toy", "app": "volseg", "network": {"class_path": "toy"}, "tile": 8, "overlap": 2, "dimensions": 3}
        | {"channels": names}
        | facts
    )


def whole(source):
    return source.read(tuple(slice(0, size) for size in source.shape[1:]))


def copied(source, path, values=None, facts=None, rows=2, fingerprint=""):
    """Write what is read, or `values`, a few rows at a time."""
    facts = card(source.shape[0]) if facts is None else facts
    values = whole(source) if values is None else values
    with NiftiSink.like(path, source, facts, fingerprint) as sink:
        starts = [*range(0, values.shape[1], rows), values.shape[1]]
        for start, stop in pairwise(starts):
            rest = (slice(0, size) for size in values.shape[2:])
            sink.write((slice(start, stop), *rest), values[:, start:stop], None)
        sink.finish(values.shape[1], None)
        sink.commit()
    return path


# Reading


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("dtype", TYPES)
def test_samples_of_every_type_are_read_as_nibabel_does(tmp_path, dtype, suffix):
    path = write(tmp_path / f"x{suffix}", samples(dtype=dtype))
    with NiftiSource(path) as source:
        assert (source.shape, source.spatial, source.dtype) == ((1, 6, 5, 7), 3, np.dtype(dtype))
        assert whole(source).dtype == np.float32
        assert np.array_equal(whole(source)[0], nibabel.load(path).get_fdata(dtype=np.float32).T)


@pytest.mark.parametrize(
    "shape", [(7, 5), (7, 5, 1), (7, 5, 6), (7, 5, 6, 1), (7, 5, 6, 4), (7, 5, 1, 3), (7, 5, 6, 4, 1)]
)
def test_two_to_four_axes_are_read(tmp_path, shape):
    path = write(tmp_path / "x.nii", samples(shape))
    expected = nibabel.load(path).get_fdata(dtype=np.float32)
    with NiftiSource(path) as source:
        assert source.spatial == min(len(shape), 3)
        assert np.array_equal(whole(source), expected.reshape(source.shape[::-1]).T)
        depth, height, width = source.geometry.shape
        assert (width, height, depth) == (*shape, 1)[:3]


@pytest.mark.parametrize("kind", [Nifti1PairHeader, Nifti2PairHeader])
@pytest.mark.parametrize("name", ["x.hdr", "x.img"])
@pytest.mark.parametrize("is_packed", [False, True])
def test_a_pair_is_read_by_either_name(tmp_path, kind, name, is_packed):
    write(tmp_path / "x.hdr", samples(), kind=kind)
    expected = nibabel.load(tmp_path / "x.hdr").get_fdata(dtype=np.float32).T
    if is_packed:
        for each in list(tmp_path.iterdir()):
            each.with_name(each.name + ".gz").write_bytes(gzip.compress(each.read_bytes()))
            each.unlink()
        name += ".gz"
    with NiftiSource(tmp_path / name) as source:
        assert np.array_equal(whole(source)[0], expected)


@pytest.mark.parametrize("endianness", ["<", ">"])
@pytest.mark.parametrize("kind", [None, Nifti2Header])
def test_either_order_of_bytes_and_either_version_is_read(tmp_path, endianness, kind):
    kinds = {} if kind is None else {"kind": kind}
    path = write(tmp_path / "x.nii.gz", samples(), endianness=endianness, **kinds)
    with NiftiSource(path) as source:
        assert np.array_equal(whole(source)[0], nibabel.load(path).get_fdata(dtype=np.float32).T)
        assert np.array_equal(source.geometry.affine, nibabel.load(path).affine)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_any_window_is_read(tmp_path, suffix):
    array = samples((9, 8, 7, 3))
    rng = np.random.default_rng(0)
    with NiftiSource(write(tmp_path / f"x{suffix}", array)) as source:
        for _ in range(50):
            ends = [np.sort(rng.choice(size + 1, 2, replace=False)) for size in source.shape[1:]]
            window = tuple(slice(*map(int, each)) for each in ends)
            assert np.array_equal(source.read(window), array.T[:, *window])


def test_slope_and_intercept_give_values(tmp_path):
    array = samples(dtype="uint16")
    path = write(tmp_path / "x.nii", array, scl_slope=0.25, scl_inter=-1024)
    with NiftiSource(path) as source:
        assert np.array_equal(whole(source)[0], (array.T * 0.25 - 1024).astype(np.float32))
        assert np.array_equal(whole(source)[0], nibabel.load(path).get_fdata(dtype=np.float32).T)


@pytest.mark.parametrize("slope", [0, np.nan, np.inf])
def test_a_slope_that_is_none_does_nothing(tmp_path, slope):
    array = samples()
    with NiftiSource(write(tmp_path / "x.nii", array, scl_slope=slope, scl_inter=5)) as source:
        assert np.array_equal(whole(source)[0], array.T)


def test_what_is_no_number_is_read_as_zero(tmp_path):
    array = samples(dtype="float64")
    array[0, 0, :4] = np.nan, np.inf, -np.inf, 1e300
    expected = array.T.astype(np.float32, copy=True)
    expected[:4, 0, 0] = 0
    with NiftiSource(write(tmp_path / "x.nii", array)) as source:
        assert source.not_finite == 0
        assert np.array_equal(whole(source)[0], expected)
        assert source.not_finite == 4


def test_a_gzipped_file_named_as_none_and_the_reverse_are_read(tmp_path):
    array = samples()
    plain, packed = write(tmp_path / "a.nii", array), write(tmp_path / "b.nii.gz", array)
    data = packed.read_bytes(), plain.read_bytes()
    plain.write_bytes(data[0])
    packed.write_bytes(data[1])
    for path in (plain, packed):
        with NiftiSource(path) as source:
            assert np.array_equal(whole(source)[0], array.T)


def test_a_few_bytes_behind_the_samples_are_padding(tmp_path):
    for path in (write(tmp_path / "x.nii", samples()), write(tmp_path / "x.nii.gz", samples())):
        data = path.read_bytes()
        path.write_bytes(data + (gzip.compress(bytes(100)) if path.suffix == ".gz" else bytes(100)))
        with NiftiSource(path) as source:
            assert np.array_equal(whole(source)[0], samples().T)


def test_samples_are_found_behind_extensions(tmp_path):
    path = tmp_path / "x.nii.gz"
    image = nibabel.Nifti1Image(samples(), AFFINES["oblique"])
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"somebody's name" * 40))
    nibabel.save(image, path)
    with NiftiSource(path) as source:
        assert np.array_equal(whole(source)[0], samples().T)
        assert b"somebody" not in gzip.decompress(copied(source, tmp_path / "y.nii.gz").read_bytes())


def test_unpacking_leaves_no_file(tmp_path, monkeypatch):
    path = write(tmp_path / "x.nii.gz", samples())
    monkeypatch.setattr(unpack.tempfile, "tempdir", str(tmp_path))
    with NiftiSource(path) as source:
        assert [each.name for each in tmp_path.iterdir()] == ["x.nii.gz"]
        whole(source)
    with pytest.raises(ValueError, match="closed"):
        whole(source)


def test_memory_does_not_grow_with_the_file(tmp_path):
    """A gigabyte of zeros, most of it a hole."""
    made = header(np.zeros((1, 1, 1), "int16"))
    made.set_data_shape((512, 512, 2048))
    path = tmp_path / "x.nii"
    path.write_bytes(made.binaryblock + bytes(4))
    os.truncate(path, 352 + 512 * 512 * 2048 * 2)
    tracemalloc.start()
    with NiftiSource(path) as source:
        assert not source.read((slice(2000, 2004), slice(0, 512), slice(0, 512))).any()
        assert not source.read((slice(2047, 2048), slice(500, 512), slice(500, 512))).any()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8e6


# Geometry


def itk_affine(image):
    """The affine of what SimpleITK read, RAS+."""
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    return LPS_RAS @ affine


@pytest.mark.parametrize("name", AFFINES)
def test_voxels_lie_where_nibabel_and_simpleitk_find_them(tmp_path, name):
    path = write(tmp_path / "x.nii.gz", samples(), affine=AFFINES[name])
    with NiftiSource(path) as source:
        assert np.array_equal(source.geometry.affine, nibabel.load(path).affine)
        out = copied(source, tmp_path / "out.nii.gz")
    read = SimpleITK.ReadImage(str(out))
    assert np.array_equal(SimpleITK.GetArrayFromImage(read), samples().T)
    ours = source.geometry
    assert ours.difference(VolumeGeometry(ours.shape, itk_affine(read))) is None
    assert np.allclose(read.GetSpacing(), ours.spacing_mm[::-1], rtol=1e-6)
    point = read.TransformIndexToPhysicalPoint((6, 0, 5))
    assert np.allclose(LPS_RAS[:3, :3] @ point, (ours.affine @ (6, 0, 5, 1))[:3], atol=1e-3)


@pytest.mark.parametrize("name", AFFINES)
def test_the_second_version_keeps_its_place_to_the_last_bit(tmp_path, name):
    path = write(tmp_path / "x.nii.gz", samples(), affine=AFFINES[name], kind=Nifti2Header)
    with NiftiSource(path) as source:
        out = nibabel.load(copied(source, tmp_path / "out.nii.gz"))
    assert isinstance(out.header, Nifti2Header)
    assert np.array_equal(out.affine, AFFINES[name])
    assert np.array_equal(out.get_qform(), nibabel.load(path).get_qform())


@pytest.mark.parametrize("name", AFFINES)
def test_what_simpleitk_writes_comes_back_at_its_place(tmp_path, name):
    lps = LPS_RAS @ AFFINES[name]
    image = SimpleITK.GetImageFromArray(samples().T)
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    image.SetOrigin(lps[:3, 3])
    image.SetSpacing(spacing)
    image.SetDirection((lps[:3, :3] / spacing).ravel())
    SimpleITK.WriteImage(image, str(tmp_path / "x.nii.gz"))
    with NiftiSource(tmp_path / "x.nii.gz") as source:
        assert np.array_equal(whole(source)[0], samples().T)
        assert source.geometry.difference(VolumeGeometry((6, 5, 7), AFFINES[name])) is None


@pytest.mark.parametrize("factor", [(1, 1000.0), (3, 0.001)])
def test_metres_and_micrometres_become_millimetres(tmp_path, factor):
    code, scale = factor
    path = write(
        tmp_path / "x.nii", samples(), affine=AFFINES["oblique"] / [[scale]] * [[1], [1], [1], [scale]], xyzt_units=code
    )
    with NiftiSource(path) as source:
        assert source.geometry.difference(VolumeGeometry((6, 5, 7), AFFINES["oblique"])) is None
        out = copied(source, tmp_path / "out.nii")
    assert np.array_equal(nibabel.load(out).affine, nibabel.load(path).affine)
    assert nibabel.load(out).header["xyzt_units"] == code


@pytest.mark.parametrize("codes", [(0, 0), (1, 0), (0, 1), (1, 1), (3, 4), (2, 1)])
@pytest.mark.parametrize("name", ["flipped", "oblique"])
def test_both_forms_and_their_codes_are_kept(tmp_path, codes, name):
    sform, qform = AFFINES[name], placed(rotation(5, (0, 0, 1)), (1, 2, 3))
    made = header(samples(), sform)
    made.set_qform(qform, codes[0])
    made["sform_code"], made["pixdim"][4:], made["toffset"], made["dim_info"] = codes[1], 2.5, 7, 57
    path = write(tmp_path / "x.nii", samples(), made)
    with NiftiSource(path) as source:
        assert np.array_equal(source.geometry.affine, nibabel.load(path).affine)
        for facts in (card(), card(activation="argmax", outputs=("a", "b"))):
            values = whole(source) if not facts.makes_labels else np.zeros((1, 6, 5, 7), np.uint8)
            out = nibabel.load(copied(source, tmp_path / "out.nii", values, facts)).header
            names = [each for each in made if each.startswith(("srow", "quatern", "qoffset", "qform", "sform", "xyzt"))]
            for field in [*names, "pixdim", "toffset", "dim_info"]:
                assert np.array_equal(out[field], made[field]), field


@pytest.mark.parametrize("codes", [(1, 2), (1, 0), (0, 1)])
def test_both_forms_follow_a_finer_grid(tmp_path, codes):
    made = header(samples(), AFFINES["oblique and flipped"])
    made["qform_code"], made["sform_code"] = codes
    with NiftiSource(write(tmp_path / "x.nii", samples(), made)) as source:
        program = nearest(2, dimensions=3, channels=("mr",), tile=4, overlap=2)
        with NiftiSink.like(tmp_path / "out.nii", source, program.card) as sink:
            Engine(program, program.card).run(source, sink)
        expected = source.geometry.scaled(2)
    image = nibabel.load(tmp_path / "out.nii")
    assert np.array_equal(image.get_fdata(), samples().repeat(2, 0).repeat(2, 1).repeat(2, 2))
    assert (int(image.header["qform_code"]), int(image.header["sform_code"])) == codes
    assert np.allclose(image.header.get_zooms(), expected.spacing_mm[::-1])
    for form, code in zip((image.get_qform(), image.get_sform()), codes, strict=True):
        if code:
            assert VolumeGeometry(expected.shape, form).difference(expected) is None
    assert (
        expected.difference(VolumeGeometry(expected.shape, itk_affine(SimpleITK.ReadImage(str(tmp_path / "out.nii")))))
        is None
    )


def test_a_single_slice_stays_one(tmp_path):
    with NiftiSource(write(tmp_path / "x.nii", samples((7, 5)))) as source:
        out = nibabel.load(copied(source, tmp_path / "same.nii"))
        assert out.shape == (7, 5)
        assert np.array_equal(out.affine, nibabel.load(tmp_path / "x.nii").affine)
        program = nearest(2, channels=("mr",), tile=4, overlap=2)
        with NiftiSink.like(tmp_path / "fine.nii", source, program.card) as sink:
            Engine(program, program.card).run(source, sink)
    fine = nibabel.load(tmp_path / "fine.nii")
    assert np.array_equal(fine.get_fdata(), samples((7, 5)).repeat(2, 0).repeat(2, 1))
    assert np.allclose(np.linalg.norm(fine.affine[:3, :3], axis=0), (0.4, 0.65, 2.2))


@pytest.mark.parametrize("codes", [(0, 1), (1, 0), (0, 0)])
def test_negative_and_zero_spacing_is_mended_and_told(tmp_path, codes, caplog):
    made = header(samples(), AFFINES["straight"])
    made["qform_code"], made["sform_code"] = codes
    made["pixdim"][1:4] = -1, 0, 1
    path = write(tmp_path / "x.nii", samples(), made)
    with NiftiSource(path) as source:
        assert source.geometry.spacing_mm == (1, 1, 1)
        assert source.has_spacing == bool(codes[1])
    assert any("x.nii: the header is wrong: pixdim" in line for line in caplog.messages)


def test_spacing_that_is_no_number_is_taken_from_the_sform(tmp_path, caplog):
    made = header(samples(), AFFINES["anisotropic"], qform_code=0)
    made["pixdim"][1:4] = np.nan
    with NiftiSource(write(tmp_path / "x.nii", samples(), made)) as source:
        out = nibabel.load(copied(source, tmp_path / "out.nii"))
    assert np.allclose(out.header.get_zooms(), (0.46875, 0.5, 5))
    assert "x.nii: the header is wrong: pixdim is not finite" in caplog.text


def test_a_file_that_does_not_say_where_it_lies_is_told(tmp_path, caplog):
    with NiftiSource(write(tmp_path / "x.nii", samples(), affine=None)) as source:
        out = nibabel.load(copied(source, tmp_path / "out.nii"))
        assert np.array_equal(source.geometry.affine, nibabel.load(tmp_path / "x.nii").affine)
    assert np.array_equal(out.affine, source.geometry.affine)
    assert int(out.header["sform_code"]) == int(out.header["qform_code"]) == 0
    assert "x.nii: does not say where its voxels lie" in caplog.text


def test_forms_that_disagree_are_told(tmp_path, caplog):
    made = header(samples(), AFFINES["straight"])
    made["srow_x"][3] += 5
    NiftiSource(write(tmp_path / "x.nii", samples(), made)).close()
    assert "x.nii: sform and qform place voxels up to 5 mm apart; the sform is used." in caplog.text


def test_a_qform_that_is_no_rotation_is_left_out_beside_an_sform(tmp_path, caplog):
    made = header(samples(), AFFINES["oblique"], quatern_b=3)
    with NiftiSource(write(tmp_path / "x.nii", samples(), made)) as source:
        facts = card(scale=2)
        out = nibabel.load(copied(source, tmp_path / "out.nii", np.zeros((1, 12, 10, 14), np.float32), facts))
    assert int(out.header["qform_code"]) == 0
    assert source.geometry.scaled(2).difference(VolumeGeometry((12, 10, 14), out.affine)) is None
    assert "the qform is no rotation" in caplog.text


def test_a_good_file_is_read_without_a_word(tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    NiftiSource(write(tmp_path / "x.nii.gz", samples())).close()
    assert caplog.messages == []


# Writing


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("dtype", TYPES)
def test_values_of_the_same_kind_keep_type_and_samples(tmp_path, dtype, suffix):
    with NiftiSource(write(tmp_path / "x.nii", samples(dtype=dtype))) as source:
        expected = whole(source)
        out = nibabel.load(copied(source, tmp_path / f"out{suffix}"))
    assert out.get_data_dtype() == np.dtype(dtype)
    assert np.array_equal(out.get_fdata(dtype=np.float32).T[None], expected)
    if np.dtype(dtype) != np.float64:
        assert np.array_equal(out.dataobj.get_unscaled(), samples(dtype=dtype))


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16"])
@pytest.mark.parametrize("scaling", [(0.1, 0), (0.0037, -50), (-2, 3), (1, -1024), (0, 7)])
def test_scaled_samples_come_back_exactly(tmp_path, dtype, scaling):
    path = write(tmp_path / "x.nii", samples(dtype=dtype), scl_slope=scaling[0], scl_inter=scaling[1])
    with NiftiSource(path) as source:
        out = nibabel.load(copied(source, tmp_path / "out.nii"))
    assert np.array_equal(out.dataobj.get_unscaled(), samples(dtype=dtype))
    kept = out.dataobj.slope, out.dataobj.inter
    assert kept == (nibabel.load(path).dataobj.slope, nibabel.load(path).dataobj.inter)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int64", "uint64"])
def test_values_beyond_the_type_are_cut_off(tmp_path, dtype):
    with NiftiSource(write(tmp_path / "x.nii", samples((2, 1, 1), dtype))) as source:
        values = np.array([-1e30, 1e30], np.float32).reshape(1, 1, 1, 2)
        out = nibabel.load(copied(source, tmp_path / "out.nii", values)).dataobj.get_unscaled().ravel()
    assert out[0] == np.iinfo(dtype).min
    assert out[1] >= np.iinfo(dtype).max * 0.999


def test_where_nothing_was_computed_values_are_zero(tmp_path):
    path = write(tmp_path / "x.nii", samples(), scl_slope=2, scl_inter=-1024)
    with NiftiSource(path) as source, NiftiSink.like(tmp_path / "out.nii", source, card()) as sink:
        sink.write((slice(0, 6), slice(0, 5), slice(0, 7)), None, None)
        sink.finish(6, None)
        sink.commit()
    assert not nibabel.load(tmp_path / "out.nii").get_fdata().any()


def test_values_of_another_kind_are_float32(tmp_path):
    path = write(tmp_path / "x.nii", samples(), scl_slope=2, scl_inter=3, cal_max=9, intent_code=1005)
    values = np.random.default_rng(0).random((3, 6, 5, 7), np.float32)
    with NiftiSource(path) as source:
        facts = card(activation="softmax", outputs=("a", "b", "c"))
        out = nibabel.load(copied(source, tmp_path / "out.nii", values, facts))
    assert (out.shape, out.get_data_dtype()) == ((*SHAPE, 3), np.float32)
    assert np.array_equal(out.get_fdata(dtype=np.float32).T, values)
    assert (float(out.header["cal_max"]), int(out.header["intent_code"])) == (0, 0)


@pytest.mark.parametrize(("highest", "dtype"), [(2, np.uint8), (255, np.uint8), (256, np.uint16), (40000, np.uint16)])
def test_labels_are_whole_numbers_without_scaling(tmp_path, highest, dtype):
    path = write(tmp_path / "x.nii", samples(), scl_slope=2, scl_inter=3)
    labels = (samples(dtype="uint16") % (highest + 1)).astype(np.uint16).T[None]
    with NiftiSource(path) as source:
        facts = card(activation="argmax", outputs=("a", "b"), labels=(Label(value=highest, name="last"),))
        out = nibabel.load(copied(source, tmp_path / "out.nii.gz", labels, facts))
    assert out.get_data_dtype() == dtype
    assert (out.dataobj.slope, out.dataobj.inter) == (1, 0)
    assert np.array_equal(np.asarray(out.dataobj).T[None], labels)
    assert out.header.get_intent()[0] == "label"


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("block", [1, 500, 1 << 20])
def test_channels_are_the_last_axis_whatever_the_blocks(tmp_path, suffix, block, monkeypatch):
    monkeypatch.setattr(files, "BLOCK", block)
    with NiftiSource(write(tmp_path / "x.nii.gz", samples((7, 5, 6, 4)))) as source:
        out = nibabel.load(copied(source, tmp_path / f"out{suffix}"))
    assert np.array_equal(np.asarray(out.dataobj), samples((7, 5, 6, 4)))
    assert sorted(each.name for each in tmp_path.iterdir()) == [f"out{suffix}", "x.nii.gz"]


def test_the_engine_gives_a_volume_back(tmp_path):
    array = samples((19, 17, 21))
    with NiftiSource(write(tmp_path / "x.nii.gz", array)) as source:
        program = identity(dimensions=3, channels=("mr",), tile=8, overlap=4)
        with NiftiSink.like(tmp_path / "out.nii.gz", source, program.card) as sink:
            Engine(program, program.card).run(source, sink)
    assert np.array_equal(np.asarray(nibabel.load(tmp_path / "out.nii.gz").dataobj), array)


def test_the_same_work_gives_the_same_bytes_under_any_name(tmp_path):
    with NiftiSource(write(tmp_path / "x.nii", samples())) as source:
        first = copied(source, tmp_path / "a.nii.gz", rows=1).read_bytes()
        assert copied(source, tmp_path / "b.nii.gz", rows=6).read_bytes() == first


def test_an_interrupted_file_goes_on_to_the_same_bytes(tmp_path):
    with NiftiSource(write(tmp_path / "x.nii", samples())) as source:
        values, rest = whole(source), (slice(0, 5), slice(0, 7))
        expected = copied(source, tmp_path / "whole.nii.gz").read_bytes()
        with pytest.raises(KeyboardInterrupt), NiftiSink.like(tmp_path / "out.nii.gz", source, card(), "work") as sink:
            sink.write((slice(0, 4), *rest), values[:, :4], None)
            sink.finish(4, None)
            raise KeyboardInterrupt
        assert not (tmp_path / "out.nii.gz").exists()
        with NiftiSink.like(tmp_path / "out.nii.gz", source, card(), "work") as sink:
            assert sink.rows_done == 4
            sink.write((slice(4, 6), *rest), values[:, 4:], None)
            sink.finish(6, None)
            sink.commit()
    assert (tmp_path / "out.nii.gz").read_bytes() == expected


def test_an_output_may_take_the_place_of_its_input(tmp_path):
    path = write(tmp_path / "x.nii", samples())
    with NiftiSource(path) as source:
        copied(source, path, whole(source) + 1)
        assert np.array_equal(whole(source)[0], samples().T)
    assert np.array_equal(np.asarray(nibabel.load(path).dataobj), samples() + 1)


@pytest.mark.parametrize("name", AFFINES)
@pytest.mark.parametrize("spatial", [3, 2])
def test_another_formats_place_becomes_sform_and_qform(tmp_path, name, spatial):
    shape = (6, 5, 7) if spatial == 3 else (1, 5, 7)
    place = VolumeGeometry(shape, AFFINES[name], "1.2.3", planar=spatial == 2)
    source = SimpleNamespace(
        path="x", shape=(1, *shape[-spatial:]), spatial=spatial, dtype=np.dtype("uint16"), geometry=place
    )
    labels = np.ones((1, *shape[-spatial:]), np.uint8)
    facts = card(activation="argmax", outputs=("a", "b"), dimensions=spatial)
    out = nibabel.load(copied(source, tmp_path / "out.nii.gz", labels, facts))
    assert out.shape == shape[::-1]
    assert int(out.header["sform_code"]) == int(out.header["qform_code"]) == 1
    assert out.header.get_xyzt_units()[0] == "mm"
    for form in (out.get_sform(), out.get_qform(), itk_affine(SimpleITK.ReadImage(str(tmp_path / "out.nii.gz")))):
        assert place.difference(VolumeGeometry(shape, form)) is None


def test_a_sheared_place_is_in_the_sform_alone(tmp_path):
    place = AFFINES["straight"].copy()
    place[1, 2] = 0.3
    source = SimpleNamespace(path="x", shape=(1, 6, 5, 7), spatial=3, geometry=VolumeGeometry((6, 5, 7), place))
    out = nibabel.load(copied(source, tmp_path / "out.nii", np.zeros((1, 6, 5, 7), np.float32)))
    assert np.allclose(out.affine, place)
    assert int(out.header["qform_code"]) == 0
    assert np.allclose(out.header.get_zooms(), np.linalg.norm(place[:3, :3], axis=0))


def test_more_voxels_than_the_first_version_holds_make_the_second(tmp_path):
    with NiftiSource(write(tmp_path / "x.nii", samples((20000, 1, 1)))) as source:
        values = np.zeros((1, 2, 2, 40000), np.float32)
        out = nibabel.load(copied(source, tmp_path / "out.nii", values, card(scale=2)))
    assert isinstance(out.header, Nifti2Header)
    assert out.shape == (40000, 2, 2)
    assert source.geometry.scaled(2).difference(VolumeGeometry((2, 2, 40000), out.affine)) is None


def test_free_text_about_the_source_is_not_passed_on(tmp_path):
    path = write(tmp_path / "x.nii", samples(), descrip=b"MRI of somebody", db_name=b"somebody", aux_file=b"somebody")
    with NiftiSource(path) as source:
        assert b"somebody" not in copied(source, tmp_path / "out.nii").read_bytes()


@pytest.mark.parametrize("name", ["out.img", "out.nrrd", "nii", "out.nii.gz.txt"])
def test_another_suffix_is_refused_before_anything_is_written(tmp_path, name):
    path, told = write(tmp_path / "x.nii", samples()), r"NIfTI files end in \.nii or \.nii\.gz"
    with NiftiSource(path) as source, pytest.raises(UserError, match=told):
        NiftiSink.like(tmp_path / "folder" / name, source, card())
    assert not (tmp_path / "folder").exists()


def test_what_has_no_place_in_space_is_refused(tmp_path):
    source = SimpleNamespace(path="photo.png", shape=(3, 5, 7), spatial=2, geometry=None)
    with pytest.raises(UserError, match=r"photo\.png is none"):
        NiftiSink.like(tmp_path / "out.nii", source, card(3))


# Refusals


def refused(path, told):
    with pytest.raises(UserError, match=rf"{path.name}: .*{told}") as error:
        NiftiSource(path)
    assert "\n" not in str(error.value)


DAMAGE = {
    "no axes": ({"dim": [0] * 8}, "dim is 0"),
    "nine axes": ({"dim": [9, 7, 5, 6, 1, 1, 1, 1]}, "header is damaged"),
    "negative size": ({"dim": [3, -7, 5, 6, 1, 1, 1, 1]}, "dim is 3, -7"),
    "a line": ({"dim": [1, 210, 1, 1, 1, 1, 1, 1]}, "has 1 axes"),
    "five axes": ({"dim": [5, 7, 5, 1, 1, 6, 1, 1]}, "has 5 axes"),
    "too large": ({"dim": [3, 7, 5, 32767, 1, 1, 1, 1]}, "cut short or its header is damaged"),
    "huge": ({"dim": [4, 32767, 32767, 32767, 32767, 1, 1, 1]}, "cut short or its header is damaged"),
    "colours": ({"datatype": 128, "bitpix": 24}, "holds colours"),
    "complex": ({"datatype": 32, "bitpix": 64}, "holds complex64"),
    "unknown type": ({"datatype": 77}, "header is damaged"),
    "affine not finite": ({"srow_x": [np.nan, 0, 0, 0]}, "affine is not finite"),
    "affine infinite": ({"srow_x": [np.inf, 0, 0, 0]}, "affine is not finite"),
    "affine zero": ({"srow_x": [0, 0, 0, 0]}, "affine does not span space"),
    "affine flat": ({"srow_x": [1, 1, 0, 0], "srow_y": [2, 2, 0, 0]}, "affine does not span space"),
    "qform no rotation": ({"sform_code": 0, "quatern_b": 3}, "qform"),
    "qform not finite": ({"sform_code": 0, "qoffset_x": np.nan}, "affine is not finite"),
    "offset in the header": ({"vox_offset": 100}, "vox offset 100 too low"),
    "no offset": ({"vox_offset": 0}, "vox_offset is 0"),
    "offset not finite": ({"vox_offset": np.nan}, "header is damaged"),
    "offset infinite": ({"vox_offset": np.inf}, "header is damaged"),
    "offset behind the end": ({"vox_offset": 1e18}, "cut short or its header is damaged"),
    "intercept not finite": ({"scl_slope": 2, "scl_inter": np.nan}, "invalid intercept"),
    "no magic": ({"magic": b"x"}, "is no NIfTI but an Analyze file"),
}


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("name", DAMAGE)
def test_an_impossible_header_is_refused(tmp_path, name, suffix):
    fields, told = DAMAGE[name]
    refused(write(tmp_path / f"x{suffix}", samples(), **fields), told)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_a_header_that_declares_much_less_than_is_there_is_refused(tmp_path, suffix):
    made = header(samples((40, 40, 40)))
    made["dim"][1] = 38
    refused(write(tmp_path / f"x{suffix}", samples((40, 40, 40)), made), "the file goes on behind them")


@pytest.mark.parametrize("length", [0, 1, 2, 10, 100, 348, 351, 352, 360, 500, -1])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_a_file_cut_short_is_refused(tmp_path, length, suffix):
    path = write(tmp_path / f"x{suffix}", samples())
    path.write_bytes(path.read_bytes()[:length])
    refused(path, "get it again|mend its header")


@pytest.mark.parametrize("at", [-1, -5, 60, 200])
def test_a_damaged_gzip_is_refused_before_any_work(tmp_path, at):
    path = write(tmp_path / "x.nii.gz", samples())
    data = bytearray(path.read_bytes())
    data[at] ^= 0x10
    path.write_bytes(data)
    refused(path, "get it again|mend its header")


def test_a_gzip_that_unpacks_to_far_more_than_declared_is_refused_at_once(tmp_path):
    path = write(tmp_path / "x.nii.gz", samples())
    path.write_bytes(path.read_bytes() + 100 * gzip.compress(bytes(10_000_000)))
    refused(path, "the file goes on behind them")


def test_other_files_are_refused(tmp_path):
    (tmp_path / "x.nii").write_text("not a volume\n" * 100)
    refused(tmp_path / "x.nii", "is not a NIfTI file")
    refused(tmp_path / "missing.nii.gz", "there is no such file")
    refused(tmp_path, "there is no such file")
    nibabel.AnalyzeImage(samples(), np.eye(4)).to_filename(tmp_path / "a.img")
    with pytest.raises(UserError, match=r"a\.hdr: is no NIfTI but an Analyze file"):
        NiftiSource(tmp_path / "a.img")


def test_half_a_pair_is_refused(tmp_path):
    write(tmp_path / "x.hdr", samples(), kind=Nifti1PairHeader)
    (tmp_path / "x.img").unlink()
    refused(tmp_path / "x.hdr", r"there is no x\.img beside it")


def test_no_room_to_unpack_is_told_before_anything_is_written(tmp_path, monkeypatch):
    path = write(tmp_path / "x.nii.gz", samples())
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=100))
    refused(path, "no room to unpack it")


def test_a_disk_that_is_full_while_unpacking_is_told(tmp_path, monkeypatch):
    path = write(tmp_path / "x.nii.gz", samples())

    class Full:
        def write(self, part):
            raise OSError(28, "No space left on device")

        def close(self):
            pass

    monkeypatch.setattr(unpack.tempfile, "TemporaryFile", lambda **_: Full())
    refused(path, "cannot be unpacked .*No space left on device")


def test_a_file_that_becomes_shorter_while_it_is_read_is_told(tmp_path):
    path = write(tmp_path / "x.nii", samples())
    with NiftiSource(path) as source:
        os.truncate(path, 400)
        with pytest.raises(UserError, match="became shorter"):
            whole(source)

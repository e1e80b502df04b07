import re

import numpy as np
import pytest
from affine import Affine
from rasterio.crs import CRS

from foveal.data.geometry import LPS_RAS, RasterGeometry, SlideGeometry, VolumeGeometry
from tests.fixtures.nifti import AFFINES

SHAPE = (6, 5, 7)  # (D, H, W)


def volume(name="oblique", shape=SHAPE, **facts):
    return VolumeGeometry(shape, AFFINES[name], **facts)


def corner(affine, index):
    """The world position of a point given in voxels, whose first edge is at -0.5."""
    return (affine @ (*index, 1))[:3]


@pytest.mark.parametrize("name", AFFINES)
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_a_finer_volume_fills_the_same_box(name, scale):
    coarse = volume(name)
    fine = coarse.scaled(scale)
    assert fine.shape == tuple(scale * size for size in SHAPE)
    for at in np.ndindex(2, 2, 2):
        edge = np.multiply(at, SHAPE[::-1])
        assert np.allclose(corner(fine.affine, scale * edge - 0.5), corner(coarse.affine, edge - 0.5), atol=1e-9)
    assert np.allclose(fine.spacing_mm, np.divide(coarse.spacing_mm, scale))


@pytest.mark.parametrize("scale", [3, 5])
def test_the_middle_of_an_odd_group_lies_at_the_voxel_it_replaces(scale):
    coarse, fine = volume(), volume().scaled(scale)
    middle = scale * np.array([2, 1, 3]) + scale // 2
    assert np.allclose(corner(fine.affine, middle), corner(coarse.affine, (2, 1, 3)), atol=1e-9)


def test_a_single_slice_keeps_its_depth():
    coarse = volume(shape=(1, 5, 7), planar=True)
    fine = coarse.scaled(2)
    assert fine.shape == (1, 10, 14)
    assert np.allclose(fine.spacing_mm, np.divide(coarse.spacing_mm, (1, 2, 2)))
    assert np.allclose(corner(fine.affine, (-0.5, -0.5, 0)), corner(coarse.affine, (-0.5, -0.5, 0)))
    assert fine.scaled(2).shape == (1, 20, 28)


def test_scaling_by_one_changes_nothing_and_the_frame_of_reference_is_kept():
    coarse = volume(frame_of_reference="1.2.3")
    assert coarse.scaled(1) is coarse
    assert coarse.scaled(2).frame_of_reference == "1.2.3"


@pytest.mark.parametrize("name", AFFINES)
@pytest.mark.parametrize("shape", [(4, 11, 7), (6, 1, 30)])
def test_other_numbers_of_voxels_fill_the_same_box(name, shape):
    stored, made = volume(name), volume(name).resized(shape)
    assert made.shape == shape
    for at in np.ndindex(2, 2, 2):
        edges = [np.multiply(at, each.shape[::-1]) - 0.5 for each in (stored, made)]
        assert np.allclose(corner(stored.affine, edges[0]), corner(made.affine, edges[1]), atol=1e-9)
    assert np.allclose(made.spacing_mm, np.multiply(stored.spacing_mm, np.divide(SHAPE, shape)))


@pytest.mark.parametrize(
    ("name", "expected"),
    [("straight", "SAR"), ("flipped", "IAL"), ("to the left", "SAL"), ("sagittal", "RSP"), ("oblique", "SAR")],
)
def test_an_orientation_names_the_closest_axes(name, expected):
    assert volume(name).orientation == expected


def test_spacing_is_given_along_the_axes_of_arrays():
    assert volume("anisotropic").spacing_mm == (5, 0.5, 0.46875)
    assert np.allclose(volume("oblique").spacing_mm, (2.2, 1.3, 0.8))
    assert volume("flipped").spacing_mm == (3, 2, 1)


def test_left_and_posterior_are_the_negative_of_right_and_anterior():
    assert np.array_equal(LPS_RAS @ (1, 2, 3, 1), (-1, -2, 3, 1))
    assert np.array_equal(LPS_RAS @ LPS_RAS, np.eye(4))


def test_a_volume_differs_from_none_that_lies_at_the_same_place():
    moved = AFFINES["oblique"].copy()
    moved[0, 3] += 9e-4
    assert volume().difference(volume()) is None
    assert volume().difference(VolumeGeometry(SHAPE, moved)) is None
    assert volume(frame_of_reference="1.2").difference(volume()) is None


def shifted(by):
    affine = AFFINES["oblique"].copy()
    affine[1, 3] += by
    return affine


def tilted(by):
    """Moves the first voxel by nothing, and the last ones more than the tolerance."""
    affine = AFFINES["oblique"].copy()
    affine[0, 2] += by
    return affine


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (VolumeGeometry(SHAPE, shifted(2.0)), "corners 2 mm apart"),
        (VolumeGeometry(SHAPE, shifted(0.002)), "corners 0.002 mm apart"),
        (VolumeGeometry(SHAPE, tilted(0.001)), "corners 0.005 mm apart"),
        (VolumeGeometry(SHAPE, AFFINES["oblique"] @ np.diag([-1, 1, 1, 1])), r"corners .* mm apart"),
        (VolumeGeometry((6, 7, 5), AFFINES["oblique"]), "6 x 5 x 7 voxels against 6 x 7 x 5"),
        (RasterGeometry((5, 7), None, Affine.identity()), "a volume against a raster"),
        (SlideGeometry((5, 7), 1.0, (5, 7), 1.0), "a volume against a slide"),
        (None, "a volume against no geometry"),
    ],
)
def test_what_differs_between_volumes_is_told(other, told):
    assert re.fullmatch(told, volume().difference(other))


def test_another_frame_of_reference_is_another_place():
    difference = volume(frame_of_reference="1.2").difference(volume(frame_of_reference="1.3"))
    assert difference == "another frame of reference"


def test_a_position_that_is_not_a_number_differs():
    assert volume().difference(VolumeGeometry(SHAPE, shifted(np.nan))) is not None


UTM = CRS.from_epsg(32633)
NORTH_UP = Affine(10, 0, 499980, 0, -10, 5200020)
SOUTH_UP = Affine(0.25, 0, 12.5, 0, 0.25, 47)
TURNED = Affine.translation(3e5, 4e6) * Affine.rotation(30) * Affine.scale(2, -2)


@pytest.mark.parametrize("transform", [NORTH_UP, SOUTH_UP, TURNED])
@pytest.mark.parametrize("scale", [2, 3])
def test_a_finer_raster_fills_the_same_ground(transform, scale):
    fine = RasterGeometry((5, 7), UTM, transform).scaled(scale)
    assert fine.shape == (5 * scale, 7 * scale)
    assert fine.crs == UTM
    for point in [(0, 0), (7, 0), (0, 5), (7, 5)]:
        assert np.allclose(fine.transform * np.multiply(point, scale), transform * point, rtol=1e-14)


def test_a_raster_does_not_differ_by_a_hundredth_of_a_pixel():
    raster = RasterGeometry((5, 7), UTM, TURNED)
    assert raster.difference(RasterGeometry((5, 7), UTM, TURNED)) is None
    assert raster.difference(RasterGeometry((5, 7), UTM, TURNED * Affine.translation(0.009, 0))) is None


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (RasterGeometry((5, 7), UTM, NORTH_UP * Affine.translation(0, 0.5)), "corners 0.5 pixels apart"),
        (RasterGeometry((5, 7), UTM, NORTH_UP * Affine.scale(1.01)), "corners 0.086 pixels apart"),
        (RasterGeometry((5, 7), CRS.from_epsg(4326), NORTH_UP), "EPSG:32633 against EPSG:4326"),
        (RasterGeometry((5, 7), None, NORTH_UP), "EPSG:32633 against no CRS"),
        (RasterGeometry((5, 8), UTM, NORTH_UP), "5 x 7 pixels against 5 x 8"),
        (RasterGeometry((5, 7), UTM, NORTH_UP * Affine.scale(float("nan"))), "corners nan pixels apart"),
        (VolumeGeometry(SHAPE, np.eye(4)), "a raster against a volume"),
    ],
)
def test_what_differs_between_rasters_is_told(other, told):
    assert RasterGeometry((5, 7), UTM, NORTH_UP).difference(other) == told


def slide(**facts):
    return SlideGeometry(**{"shape": (50, 70), "mpp": 0.5, "level0_shape": (100, 140), "level0_mpp": 0.25} | facts)


def test_a_finer_slide_keeps_its_finest_level():
    fine = slide().scaled(2)
    assert (fine.shape, fine.mpp, fine.downsample) == ((100, 140), 0.25, 1.0)
    assert (fine.level0_shape, fine.level0_mpp) == ((100, 140), 0.25)
    assert slide().downsample == 2


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (slide(), None),
        (slide(mpp=0.500001), None),
        (slide(mpp=0.51), "0.5 against 0.51 µm/pixel"),
        (slide(shape=(50, 71)), "50 x 70 pixels against 50 x 71"),
        (slide(level0_shape=(100, 141)), "a slide of 100 x 140 pixels against 100 x 141"),
        (RasterGeometry((5, 7), None, NORTH_UP), "a slide against a raster"),
    ],
)
def test_what_differs_between_slides_is_told(other, told):
    assert slide().difference(other) == told

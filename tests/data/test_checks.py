import io
import json
import tracemalloc

import nibabel
import numpy as np
import pytest
import rasterio
from PIL import Image
from rasterio.transform import from_origin
from rich.console import Console

from foveal.core.errors import UserError
from foveal.data.check import check_and_print
from foveal.data.check_table import print_report
from foveal.data.checks import check_folder, write_report
from foveal.data.fingerprint import fingerprint
from foveal.data.io.image import write_image
from foveal.tests.fixtures.dicom import write_series
from foveal.tests.fixtures.encoding import open_as_ascii

NOISE = np.random.default_rng(0).integers(0, 255, (3, 12, 20), dtype=np.uint8)


def images(tmp_path):
    write_image(tmp_path / "colour.png", NOISE)
    write_image(tmp_path / "deep.png", NOISE[:1, :8].astype(np.uint16) * 257)
    (tmp_path / "cut.png").write_bytes((tmp_path / "colour.png").read_bytes()[:60])
    (tmp_path / "notes.txt").write_text("none")
    return tmp_path


def volume(path, values, spacing=(1.0, 2.0, 3.0), shift=0.0):
    """Write (x, y, z) values as NIfTI."""
    affine = np.diag([*spacing, 1.0])
    affine[0, 3] = shift
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(values, affine), path)


def raster(path, values, crs="EPSG:32633", **options):
    """Write (C, H, W) values as GeoTIFF of 10 m."""
    count, height, width = values.shape
    facts = {"driver": "GTiff", "count": count, "height": height, "width": width, "dtype": values.dtype, "crs": crs}
    with rasterio.open(path, "w", transform=from_origin(5e5, 5e6, 10, 10), **facts, **options) as dataset:
        dataset.write(values)


def found(report):
    return {each.item.name: each for each in report.findings}


def shown(report, width=100):
    console = Console(width=width, record=True, file=io.StringIO())
    print_report(report, console)
    return console.export_text()


def test_unusable_files_are_named_and_the_others_described(tmp_path):
    report = check_folder(images(tmp_path))
    bad = found(report)["cut.png"]
    assert not report.is_good
    assert "damaged or was cut short" in bad.errors[0]
    assert str(tmp_path) not in bad.errors[0]
    assert [each.item.name for each in report.usable] == ["colour.png", "deep.png"]
    facts = found(report)["colour.png"].facts
    assert (facts.shape, facts.dtype, facts.low, facts.high) == ((3, 12, 20), "uint8", NOISE.min(), NOISE.max())
    assert facts.mean == pytest.approx(NOISE.mean(axis=(1, 2)))
    assert facts.deviation == pytest.approx(NOISE.std(axis=(1, 2)))
    assert found(report)["deep.png"].facts.high == int(NOISE[0, :8].max()) * 257
    assert report.ignored == ["notes.txt"]
    text = shown(report)
    for part in ("3 files, 2 usable, 1 not", "uint16 grey", "20 × 12", "cut.png", "1 file of other kinds"):
        assert part in text


def test_the_fingerprint_follows_names_and_samples(tmp_path):
    images(tmp_path)
    before = check_folder(tmp_path).digest
    assert check_folder(tmp_path).digest == before
    write_image(tmp_path / "colour.png", NOISE[:, ::-1])
    changed = check_folder(tmp_path).digest
    assert changed != before
    (tmp_path / "colour.png").rename(tmp_path / "other.png")
    assert check_folder(tmp_path).digest not in (changed, before)


def test_the_same_pixels_are_duplicates_in_any_lossless_format(tmp_path):
    for name in ("a.png", "b.bmp", "nested/c.tif"):
        (tmp_path / "nested").mkdir(exist_ok=True)
        write_image(tmp_path / name, NOISE)
    write_image(tmp_path / "d.png", NOISE[:, ::-1])
    report = check_folder(tmp_path)
    warnings = {name: each.warnings for name, each in found(report).items()}
    assert warnings == {
        "a.png": [],
        "b.bmp": ["the same samples as a.png"],
        "d.png": [],
        "nested/c.tif": ["the same samples as a.png"],
    }
    assert report.is_good


def test_nearly_empty_files_are_warned_of(tmp_path):
    dark = np.random.default_rng(0).integers(0, 3, (1, 50, 50), dtype=np.uint8)  # noise of a black JPEG
    dark[0, 0, 0], dark[0, 9, 9] = 0, 200
    write_image(tmp_path / "dark.png", dark)
    classes = np.zeros((1, 50, 50), np.uint8)
    classes[:, 10:30] = 1
    write_image(tmp_path / "classes.png", classes)
    raster(tmp_path / "nothing.tif", np.zeros((1, 30, 30), np.uint16), nodata=0)
    report = found(check_folder(tmp_path))
    assert "nearly empty" in report["dark.png"].warnings[0]
    assert report["classes.png"].warnings == []
    assert "all are nodata" in report["nothing.tif"].warnings[0]
    assert report["nothing.tif"].facts.invalid == 1


def test_spacing_and_physical_values_come_from_the_formats(tmp_path):
    values = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    volume(tmp_path / "a.nii.gz", values)
    raster(tmp_path / "b.tif", np.arange(60, dtype=np.uint16).reshape(1, 6, 10), nodata=0)
    raster(tmp_path / "c.tif", np.arange(60, dtype=np.uint8).reshape(1, 6, 10), crs="EPSG:4326")
    report = check_folder(tmp_path)
    facts = {name: each.facts for name, each in found(report).items()}
    assert (facts["a.nii.gz"].extent, facts["a.nii.gz"].spacing, facts["a.nii.gz"].unit) == ((4, 3, 2), (3, 2, 1), "mm")
    assert (facts["b.tif"].spacing, facts["b.tif"].unit, facts["b.tif"].crs) == ((10, 10), "m", "EPSG:32633")
    assert (facts["b.tif"].low, facts["b.tif"].invalid) == (1, pytest.approx(1 / 60))
    assert facts["c.tif"].unit == "°"
    text = shown(report, 120)
    assert "2 × 3 × 4" in text
    assert "1 × 2 × 3 mm" in text
    assert "10 m" in text


def labelled(tmp_path):
    values = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    classes = (values % 3).astype(np.uint8)
    for name in ("first", "second"):
        volume(tmp_path / "images" / f"{name}.nii.gz", values)
        volume(tmp_path / "labels" / f"{name}_seg.nii", classes)
    return tmp_path / "images", tmp_path / "labels"


def test_labels_are_paired_by_name_and_counted(tmp_path):
    report = check_folder(*labelled(tmp_path))
    assert report.is_good
    assert report.classes == {0: 40, 1: 40, 2: 40}
    assert found(report)["first.nii.gz"].label.name == "first_seg.nii"
    text = shown(report)
    assert "33.3%" in text
    assert "in files" in text


def test_labels_that_do_not_fit_are_told(tmp_path):
    folders = labelled(tmp_path)
    values = np.zeros((3, 4, 5), np.uint8)
    volume(folders[1] / "first_seg.nii", values, shift=2.0)
    (folders[1] / "second_seg.nii").unlink()
    volume(folders[1] / "third.nii", values)
    for name, content in (("halves", values + 0.5), ("negative", values - 1.0), ("cropped", values[:, :, :3])):
        volume(folders[0] / f"{name}.nii", np.arange(60, dtype=np.int16).reshape(3, 4, 5))
        volume(folders[1] / f"{name}.nii", content.astype(np.float32))
    report = check_folder(*folders)
    errors = {name: each.errors for name, each in found(report).items()}
    assert errors["first.nii.gz"] == ["labels of another geometry: corners 2 mm apart"]
    assert errors["second.nii.gz"] == ["has no labels of its name"]
    assert errors["halves.nii"] == ["labels: holds values such as 0.5; labels are whole numbers from 0."]
    assert "-1" in errors["negative.nii"][0]
    assert "another geometry: 5 x 4 x 3 voxels against 3 x 4 x 3" in errors["cropped.nii"][0]
    assert report.stray_labels == ["third.nii"]
    assert not report.is_good
    assert "labels that belong to no file" in shown(report)


def test_labels_of_images_are_held_against_their_size(tmp_path):
    for folder, size in (("images", (20, 12)), ("masks", (12, 20))):
        (tmp_path / folder).mkdir()
        Image.new("L", size, 1).save(tmp_path / folder / "a.png")
    report = check_folder(tmp_path / "images", tmp_path / "masks")
    assert report.findings[0].errors == ["labels of another geometry: 20 × 12 against 12 × 20 samples"]


def test_colour_labels_are_refused_and_grey_ones_in_rgb_taken(tmp_path):
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
        for name in ("a.png", "b.png"):
            write_image(tmp_path / folder / name, NOISE)
    write_image(tmp_path / "masks" / "a.png", np.repeat(NOISE[:1] // 128, 3, axis=0))
    report = found(check_folder(tmp_path / "images", tmp_path / "masks"))
    assert set(report["a.png"].label_facts.classes) == {0, 1}
    assert "has 3 channels; labels need one" in report["b.png"].errors[0]


def test_folders_of_classes_are_walked_and_counted(tmp_path):
    for number, name in enumerate(("cat", "cat", "dog")):
        (tmp_path / name).mkdir(exist_ok=True)
        write_image(tmp_path / name / f"{number}.png", np.roll(NOISE, number))
    (tmp_path / ".hidden").mkdir()
    write_image(tmp_path / ".hidden" / "x.png", NOISE)
    report = check_folder(tmp_path)
    assert sorted(found(report)) == ["cat/0.png", "cat/1.png", "dog/2.png"]
    assert "66.7%" in shown(report)


def test_the_report_is_written_as_json(tmp_path):
    report = check_folder(*labelled(tmp_path))
    write_report(report, tmp_path / "out" / "report.json")
    written = json.loads((tmp_path / "out" / "report.json").read_text())
    assert (written["files"], written["usable"]) == (2, 2)
    assert written["classes"]["1"] == {"samples": 40, "share": pytest.approx(1 / 3)}
    (first, _) = written["items"]
    assert first["name"] == "first.nii.gz"
    assert first["spacing"] == [3, 2, 1]
    assert first["classes"] == {"0": 20, "1": 20, "2": 20}


def test_the_report_keeps_names_where_text_is_not_utf_8(tmp_path, monkeypatch):
    write_image(tmp_path / "in" / "Größe.png", NOISE)
    open_as_ascii(monkeypatch)
    write_report(check_folder(tmp_path / "in"), tmp_path / "report.json")
    (item,) = json.loads((tmp_path / "report.json").read_text("utf-8"))["items"]
    assert item["name"] == "Größe.png"


@pytest.mark.parametrize("width", [40, 80, 120])
def test_the_table_fits_the_terminal(tmp_path, width):
    report = check_folder(images(tmp_path))
    assert max(map(len, shown(report, width).splitlines())) <= width


def test_the_exit_code_is_one_where_a_file_cannot_be_used(tmp_path, capsys):
    folder = images(tmp_path)
    assert check_and_print(folder, json=tmp_path / "r.json") == 1
    (folder / "cut.png").unlink()
    assert check_and_print(folder) == 0
    assert "2 files, 2 usable" in capsys.readouterr().out
    assert check_and_print(folder / "colour.png") == 0


def test_nothing_to_read_is_an_error(tmp_path):
    with pytest.raises(UserError, match="nowhere: there is no such file or folder"):
        check_folder(tmp_path / "nowhere")
    (tmp_path / "a.txt").touch()
    with pytest.raises(UserError, match="holds nothing that can be read; expected files such as"):
        check_folder(tmp_path)


def test_memory_does_not_grow_with_the_raster(tmp_path):
    peaks = []
    for side in (1500, 6000):
        path = tmp_path / f"{side}.tif"
        raster(path, np.zeros((1, side, side), np.uint8), tiled=True, compress="deflate")
        tracemalloc.start()
        assert check_folder(path).is_good
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 3 * peaks[0]


def test_a_series_of_slices_counts_as_one(tmp_path):
    write_series(tmp_path / "patient" / "ct")
    for series in ("1.2.3.4", "1.2.3.5"):
        write_series(tmp_path / "mixed", series=series)
        for path in sorted((tmp_path / "mixed").glob("image*")):
            path.rename(path.with_name(f"{series}-{path.name}"))
    write_image(tmp_path / "patient" / "photo.png", NOISE)
    report = check_folder(tmp_path)
    assert sorted(found(report)) == ["mixed [1.2.3.4]", "mixed [1.2.3.5]", "patient/ct", "patient/photo.png"]
    assert report.is_good
    facts = found(report)["patient/ct"].facts
    assert (facts.extent, facts.spacing, facts.unit) == ((5, 6, 7), pytest.approx((3, 0.75, 0.5)), "mm")
    assert "Doe" not in json.dumps(report.written()) + shown(report)


def test_a_damaged_slice_spoils_its_series(tmp_path):
    write_series(tmp_path / "ct")
    victim = sorted((tmp_path / "ct").iterdir())[2]
    victim.write_bytes(victim.read_bytes()[:-20])
    report = check_folder(tmp_path)
    assert [each.item.name for each in report.findings] == ["ct"]
    assert victim.name in report.findings[0].errors[0]


def test_slices_of_a_series_with_a_mask_each_are_taken_one_by_one(tmp_path):
    values = write_series(tmp_path / "images")
    for path in sorted((tmp_path / "images").iterdir()):
        write_image(tmp_path / "masks" / f"{path.name}.png", np.eye(*values.shape[1:], dtype=np.uint8)[None])
        path.rename(path.with_suffix(".dcm"))
    report = check_folder(tmp_path / "images", tmp_path / "masks")
    assert report.is_good
    assert sorted(found(report)) == [f"image{number}.dcm" for number in range(len(values))]
    assert report.classes == {0: 36 * len(values), 1: 6 * len(values)}
    assert len(check_folder(tmp_path / "images").findings) == 1
    (tmp_path / "images" / "image1.dcm").write_bytes(b"damaged")
    (tmp_path / "masks" / "image2.png").unlink()
    errors = {name: each.errors for name, each in found(check_folder(tmp_path / "images", tmp_path / "masks")).items()}
    assert errors["image1.dcm"] == ["is not a DICOM file."]
    assert errors["image2.dcm"] == ["has no labels of its name"]


def test_many_labels_and_folders_are_cut_short_in_the_table(tmp_path):
    for number in range(25):
        (tmp_path / "images" / f"f{number}").mkdir(parents=True)
        write_image(tmp_path / "images" / f"f{number}" / f"{number}.png", np.roll(NOISE, number))
    (tmp_path / "labels").mkdir()
    for number in range(25):
        write_image(tmp_path / "labels" / f"{number}.png", np.full((1, 12, 20), number, np.uint8))
    report = check_folder(tmp_path / "images", tmp_path / "labels")
    text = shown(report)
    assert len(report.classes) == 25
    assert "and 5 more" in text
    assert "and 17 more" in text


def test_an_unexpected_error_does_not_stop_the_others(tmp_path, monkeypatch, caplog):
    def fail(kind, source, as_labels=False):
        if source.path.name == "deep.png":
            raise ZeroDivisionError
        return fingerprint(kind, source, as_labels)

    monkeypatch.setattr("foveal.data.checks.fingerprint", fail)
    report = found(check_folder(images(tmp_path)))
    assert report["deep.png"].errors == ["ZeroDivisionError"]
    assert report["colour.png"].errors == []
    assert "deep.png: unexpected error" in caplog.text

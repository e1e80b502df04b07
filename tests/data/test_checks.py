import numpy as np

from foveal.data.checks import check_images
from foveal.data.io.image import write_image


def folder(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (3, 12, 20), dtype=np.uint8)
    write_image(tmp_path / "colour.png", pixels)
    write_image(tmp_path / "deep.png", pixels[:1, :8].astype(np.uint16) * 257)
    (tmp_path / "cut.png").write_bytes((tmp_path / "colour.png").read_bytes()[:60])
    return sorted(tmp_path.iterdir())


def test_unusable_files_are_named_and_the_others_described(tmp_path):
    report = check_images(folder(tmp_path))
    assert [problem.split(":")[0] for problem in report.problems] == [str(tmp_path / "cut.png")]
    assert report.kinds == {(3, 8): 1, (1, 16): 1}
    text = "\n".join(report.lines())
    assert "2 usable images, 1 problems" in text
    assert "at least 20x8, at most 20x12" in text
    assert "1 with grey, 16 bits" in text


def test_the_fingerprint_follows_the_pixels(tmp_path):
    files = folder(tmp_path)
    before = check_images(files).digest
    assert check_images(files).digest == before
    write_image(tmp_path / "colour.png", np.zeros((3, 12, 20), np.uint8))
    assert check_images(files).digest != before

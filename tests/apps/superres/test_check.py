import numpy as np
import pytest

from foveal.core.cli import main
from foveal.data.io.image import write_image


@pytest.mark.parametrize(("name", "code"), [("ok", 0), ("broken", 1)])
def test_the_exit_code_tells_whether_every_file_can_be_used(tmp_path, capsys, name, code):
    write_image(tmp_path / "a.png", np.zeros((3, 8, 8), np.uint8))
    if name == "broken":
        (tmp_path / "b.png").write_text("not an image")
    assert main(["superres", "check", "--input", str(tmp_path)]) == code
    assert "1 usable" in capsys.readouterr().out


def test_only_images_are_looked_at(tmp_path, capsys):
    write_image(tmp_path / "a.png", np.zeros((3, 8, 8), np.uint8))
    (tmp_path / "b.nii").write_text("not a volume")
    assert main(["superres", "check", "--input", str(tmp_path)]) == 0
    assert "1 file of other kinds" in capsys.readouterr().out


def test_a_missing_folder_is_told(tmp_path, capsys):
    assert main(["superres", "check", "--input", str(tmp_path / "nowhere")]) == 2
    assert "nowhere: there is no such file or folder" in capsys.readouterr().err

"""What `init` finds in CSV files of classes."""

from pathlib import Path

import pytest

from foveal.core.errors import UserError
from foveal.data.init_tables import read_table


def read(path: Path, label_column: str | None = None):
    return read_table(path, ["a.png", "b.png"], [lambda name: Path(name).stem], "images", label_column)


@pytest.mark.parametrize(("column", "named"), [(None, "label"), ("note", "note")])
def test_a_column_without_a_class_is_told(tmp_path: Path, column: str | None, named: str):
    path = tmp_path / "labels.csv"
    path.write_text("file,label,note\na.png,,\nb.png, ,\nother.png,x,y\n")
    with pytest.raises(UserError, match=f"no line that names one of the images has a class in the column {named}; "):
        read(path, column)


def test_what_has_no_class_is_left_out(tmp_path: Path):
    path = tmp_path / "labels.csv"
    path.write_text("file,label\na.png,x\nb.png,\n")
    things, notes = read(path)
    assert [(each.name, each.label) for each in things] == [("a.png", "x")]
    assert "1 of 2 images have no class in labels.csv and are left out" in notes

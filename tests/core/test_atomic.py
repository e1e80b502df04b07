"""Files that appear whole or not at all."""

import pytest

from foveal.core.atomic import refuse_existing, written_beside
from foveal.core.errors import UserError


def test_a_file_appears_when_it_is_whole(tmp_path):
    path = tmp_path / "new" / "weights.bin"
    with written_beside(path) as part:
        part.write_bytes(b"whole")
        assert not path.exists()
    assert path.read_bytes() == b"whole"
    assert list(path.parent.iterdir()) == [path]


def test_an_error_leaves_the_older_file_and_nothing_else(tmp_path):
    path = tmp_path / "weights.bin"
    path.write_bytes(b"older")
    with pytest.raises(KeyboardInterrupt), written_beside(path) as part:
        part.write_bytes(b"ha")
        raise KeyboardInterrupt
    assert path.read_bytes() == b"older"
    assert list(tmp_path.iterdir()) == [path]


def test_the_file_is_named_by_an_error_that_does_not_name_it_itself(tmp_path):
    path = tmp_path / "weights.bin"
    with pytest.raises(RuntimeError) as caught, written_beside(path):
        try:
            raise OSError(28, "No space left on device")
        except OSError:
            raise RuntimeError("writing failed")  # noqa: B904 (as PyTorch does)
    assert caught.value.__context__.filename == str(path)


def test_what_exists_is_refused(tmp_path):
    path = tmp_path / "weights.bin"
    refuse_existing(path)
    path.write_bytes(b"older")
    with pytest.raises(UserError, match=r"weights\.bin: exists already; give --overwrite"):
        refuse_existing(path)


def test_a_folder_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(UserError, match="is a folder; give the name of a file"), written_beside(tmp_path):
        pytest.fail("nothing shall be done")

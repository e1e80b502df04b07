"""Files that appear whole or not at all."""

import pytest

from foveal.core.atomic import written_beside


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

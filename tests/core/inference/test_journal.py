import os

import pytest

from foveal.core.errors import UserError
from foveal.core.inference.journal import Journal, fingerprint


def test_a_fingerprint_changes_with_the_input_and_with_every_fact(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"1")
    marks = {
        fingerprint(path, {"tile": 8}),
        fingerprint(path, {"tile": 9}),
        fingerprint(path, {"tile": 8, "tta": True}),
    }
    assert fingerprint(path, {"tile": 8}) in marks
    os.utime(path, ns=(1, 1))
    marks.add(fingerprint(path, {"tile": 8}))
    path.write_bytes(b"12")
    os.utime(path, ns=(1, 1))
    marks.add(fingerprint(path, {"tile": 8}))
    assert len(marks) == 5


def test_an_output_is_done_if_it_is_there_and_from_the_same_work(tmp_path):
    output = tmp_path / "a.png"
    output.touch()
    Journal(tmp_path).record(output, "first")
    journal = Journal(tmp_path)
    assert journal.wrote(output)
    assert journal.is_done(output, "first")
    assert not journal.is_done(output, "second")
    output.unlink()
    assert not journal.is_done(output, "first")


@pytest.mark.parametrize(
    "line", ['{"output": "a.png", "finger', "7\n", '{"output": "a.png", "fingerprint": "first", "more": 1}\n']
)
def test_the_last_entry_counts_and_a_line_that_is_none_does_not(tmp_path, line):
    output = tmp_path / "a.png"
    output.touch()
    journal = Journal(tmp_path)
    journal.record(output, "first")
    with journal.path.open("a") as file:
        file.write(line)
    assert Journal(tmp_path).is_done(output, "first")
    Journal(tmp_path).record(output, "second")
    assert Journal(tmp_path).is_done(output, "second")


def test_what_lay_beside_an_earlier_result_is_removed_and_told_by_its_plain_path(tmp_path):
    output, look = tmp_path / "out/a.png", tmp_path / "look/a.png"
    for each in (output, look):
        each.parent.mkdir()
        each.touch()
    Journal(output.parent).finish(output, [look], "first")
    assert Journal(output.parent).finish(output, [], "second") == [look]
    assert not look.exists()


@pytest.mark.parametrize("is_folder", [False, True])
def test_what_somebody_put_there_since_is_neither_removed_nor_replaced(tmp_path, is_folder):
    output, look = tmp_path / "a.png", tmp_path / "a_overlay"
    own = look / "notes.txt" if is_folder else look
    output.touch()
    if is_folder:
        look.mkdir()
        (look / "frame_0.png").touch()
    else:
        look.touch()
    Journal(tmp_path).finish(output, [look], "first")
    own.write_text("somebody's own")
    assert Journal(tmp_path).finish(output, [], "second") == []
    assert own.read_text() == "somebody's own"
    with pytest.raises(UserError, match="a_overlay: exists already; give --overwrite"):
        Journal(tmp_path).refuse_others([output, look])


def test_what_was_removed_may_be_somebodys_own_later(tmp_path):
    output, look = tmp_path / "a.png", tmp_path / "look.png"
    for each in (output, look):
        each.write_text("made")
    Journal(tmp_path).finish(output, [look], "first")
    Journal(tmp_path).finish(output, [], "second")
    look.write_text("somebody's own")
    assert Journal(tmp_path).finish(output, [], "third") == []
    assert look.exists()


def test_entries_of_other_outputs_and_lines_without_a_state_remove_nothing(tmp_path):
    first, second, look = (tmp_path / name for name in ("a.png", "b.png", "a_look.png"))
    for each in (first, second, look):
        each.touch()
    Journal(tmp_path).finish(first, [look], "first")
    assert Journal(tmp_path).finish(second, [], "second") == []
    journal = Journal(tmp_path)
    journal.path.write_text('{"output": "a_look.png", "fingerprint": "x", "beside": "a.png"}\n')
    assert Journal(tmp_path).finish(first, [], "second") == []
    assert look.exists()

import os

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
    assert journal.knows(output)
    assert journal.is_done(output, "first")
    assert not journal.is_done(output, "second")
    output.unlink()
    assert not journal.is_done(output, "first")


def test_the_last_entry_counts_and_a_half_written_line_does_not(tmp_path):
    output = tmp_path / "a.png"
    output.touch()
    journal = Journal(tmp_path)
    journal.record(output, "first")
    with journal.path.open("a") as file:
        file.write('{"output": "a.png", "finger')
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

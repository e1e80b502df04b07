import errno
import json
from pathlib import Path
from threading import Barrier

import pytest

from foveal.core.errors import FailedInputs, UserError
from foveal.core.inference.batch import Item, pair_paths, raise_failures, run_batch

SUFFIXES = (".png", ".tif")


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "in").mkdir()
    for name in ("b.PNG", "a.png", "c.tif", "notes.txt", ".hidden.png"):
        (tmp_path / "in" / name).write_text(name)
    return tmp_path


def copy(item, fingerprint, progress):
    if item.input.name == "b.PNG":
        raise UserError(f"{item.input}: is bad")
    item.output.parent.mkdir(exist_ok=True)
    item.output.write_text(item.input.read_text())


def outputs(items):
    return [item.output for item in items]


def test_a_folder_gives_its_images_in_order(folder):
    out = folder / "out"
    assert outputs(pair_paths([folder / "in"], out, SUFFIXES)) == [out / "a.png", out / "b.PNG", out / "c.tif"]


def test_a_single_file_goes_to_a_file_or_into_a_folder(folder):
    one = [folder / "in" / "a.png"]
    assert outputs(pair_paths(one, folder / "x.tif", SUFFIXES)) == [folder / "x.tif"]
    assert outputs(pair_paths(one, folder / "out", SUFFIXES)) == [folder / "out" / "a.png"]
    (folder / "dir.png").mkdir()
    assert outputs(pair_paths(one, folder / "dir.png", SUFFIXES)) == [folder / "dir.png" / "a.png"]


def test_names_that_folders_share_have_these_in_front(folder):
    for name in ("one/CT", "two/CT", "two/deep/MR"):
        (folder / name).mkdir(parents=True)
        (folder / name / "a.png").touch()
    found = pair_paths([folder / "one/CT", folder / "two/CT", folder / "two/deep/MR"], folder / "out", SUFFIXES)
    assert [each.name for each in outputs(found)] == ["one_CT_a.png", "two_CT_a.png", "two_deep_MR_a.png"]
    alone = pair_paths(
        [folder / "in", folder / "two/deep"], folder / "out", SUFFIXES, is_input=lambda path: path.name == "MR"
    )
    assert [each.name for each in outputs(alone)] == ["a.png", "b.PNG", "c.tif", "MR"]


def refused(folder, inputs, output, message):
    with pytest.raises(UserError, match=message):
        pair_paths([folder / each for each in inputs], folder / output, SUFFIXES)


def test_impossible_places_are_refused(folder):
    (folder / "empty").mkdir()
    (folder / "other").mkdir()
    (folder / "other" / "a.png").touch()
    (folder / "link.png").symlink_to(folder / "in" / "a.png")
    (folder / "hard.png").hardlink_to(folder / "in" / "a.png")
    refused(folder, ["in"], "x.png", r"--output .*x\.png: is one file for 3 inputs")
    refused(folder, ["in/a.png"], "x.gif", r"--output .*x\.gif: is neither")
    refused(folder, ["in/a.png"], "in/notes.txt", r"--output .*notes\.txt: is neither")
    refused(folder, ["gone.png"], "out", r"--input .*gone\.png: there is no such")
    refused(folder, ["empty"], "out", r"--input .*empty: the folder holds no file")
    (folder / "empty/deeper").mkdir()
    refused(folder, ["empty"], "out", r"\.tif; folders in it are not searched: give one of those\.")
    refused(folder, ["other", "other/a.png"], "out", r"same output .*a\.png")
    for output in ("in", "in/a.png", "link.png", "hard.png"):
        refused(folder, ["in/a.png"], output, "would replace an input")


def test_a_bad_item_is_told_last_and_the_others_are_done(folder, capsys):
    items = pair_paths([folder / "in"], folder / "out", SUFFIXES)
    with pytest.raises(UserError, match=r"1 of 3 inputs failed, the others are done:\n.*b\.PNG: is bad$"):
        run_batch(items, copy, {})
    assert (folder / "out" / "a.png").exists()
    assert (folder / "out" / "c.tif").exists()
    assert not (folder / "out" / "b.PNG").exists()
    assert "b.PNG: is bad" in capsys.readouterr().err


def test_no_others_are_told_of_where_every_item_failed():
    with pytest.raises(FailedInputs, match=r"^2 of 2 inputs failed:\na\nb$"):
        raise_failures(["a", "b"], 2)


def test_an_unexpected_error_fails_its_item_alone_and_is_logged(folder, caplog):
    def work(item, fingerprint, progress):
        if item.input.name == "a.png":
            raise RuntimeError("a bug")
        copy(item, fingerprint, progress)

    items = [Item(folder / "in" / name, folder / "out" / name) for name in ("a.png", "c.tif")]
    with pytest.raises(UserError, match=r"1 of 2 .*\n.*a\.png: a bug"):
        run_batch(items, work, {}, quiet=True)
    assert "Traceback" in caplog.text
    assert (folder / "out" / "c.tif").exists()


def test_the_only_item_raises_its_own_error(folder):
    with pytest.raises(UserError, match=r"is bad$"):
        run_batch([Item(folder / "in" / "b.PNG", folder / "b.png")], copy, {}, quiet=True)


def test_a_full_disk_ends_the_batch(folder):
    done = []

    def work(item, fingerprint, progress):
        done.append(item)
        raise OSError(errno.ENOSPC, "No space left on device", str(item.output))

    with pytest.raises(OSError, match="No space left"):
        run_batch(pair_paths([folder / "in"], folder / "out", SUFFIXES), work, {}, quiet=True)
    assert len(done) == 1


def test_finished_items_are_skipped_and_changed_ones_done_again(folder, capsys):
    done = []

    def work(item, fingerprint, progress):
        done.append(item.input.name)
        item.output.write_text(item.input.read_text())

    def again(**facts):
        done.clear()
        run_batch(pair_paths([Path(folder / "in")], folder, SUFFIXES), work, facts)
        return list(done)

    assert again(weights=1) == ["a.png", "b.PNG", "c.tif"]
    assert again(weights=1) == []
    assert "a.png is done already" in capsys.readouterr().err
    (folder / "in" / "c.tif").write_text("changed")
    assert again(weights=1) == ["c.tif"]
    (folder / "a.png").unlink()
    assert again(weights=1) == ["a.png"]
    assert again(weights=2) == ["a.png", "b.PNG", "c.tif"]


def test_files_of_others_are_replaced_only_when_told(folder):
    items = [Item(folder / "in" / "a.png", folder / "mine.png")]
    (folder / "mine.png").write_text("precious")
    with pytest.raises(UserError, match=r"mine\.png: exists already; give --overwrite"):
        run_batch(items, copy, {}, quiet=True)
    assert (folder / "mine.png").read_text() == "precious"
    run_batch(items, copy, {}, overwrite=True, quiet=True)
    assert (folder / "mine.png").read_text() == "a.png"


def test_quiet_says_nothing(folder, capsys):
    run_batch([Item(folder / "in" / "a.png", folder / "x.png")], copy, {}, quiet=True)
    assert capsys.readouterr() == ("", "")


def test_a_folder_that_is_an_input_itself_is_not_looked_into(folder):
    items = pair_paths(
        [folder], folder / "out", SUFFIXES, (".tif",), lambda each: each.name == "in", lambda path: "x.tif"
    )
    assert items == [Item(folder / "in", folder / "out" / "x.tif")]
    one = pair_paths([folder / "in"], folder / "x.nii.gz", SUFFIXES, (".nii.gz",), lambda each: True)
    assert one == [Item(folder / "in", folder / "x.nii.gz")]


def test_the_manifest_tells_what_became_of_every_input(folder):
    items = pair_paths([folder / "in"], folder / "out", SUFFIXES)
    manifest = folder / "out" / "manifest.json"
    for first in ("done", "done already"):
        with pytest.raises(FailedInputs):
            run_batch(items, copy, {"weights": "toy"}, manifest=manifest)
        content = json.loads(manifest.read_text())
        assert content["weights"] == "toy"
        assert [each["status"] for each in content["items"]] == [first, "failed", first]
        assert "b.PNG: is bad" in content["items"][1]["reason"]


def test_the_manifest_of_an_ended_run_tells_what_is_left(folder):
    def fill_up(item, fingerprint, progress):
        if item.input.name == "b.PNG":
            raise OSError(errno.ENOSPC, "No space left on device")
        copy(item, fingerprint, progress)

    items = pair_paths([folder / "in"], folder / "out", SUFFIXES)
    with pytest.raises(OSError, match="No space"):
        run_batch(items, fill_up, {}, manifest=folder / "manifest.json")
    statuses = [each["status"] for each in json.loads((folder / "manifest.json").read_text())["items"]]
    assert statuses == ["done", "not done", "not done"]


def beside(file, output):
    return {"second": output.with_name(f"{output.stem}_second.png"), "picture": output.parents[1] / "see" / output.name}


def test_outputs_beside_one_another_are_done_skipped_and_told_together(folder):
    done = []

    def work(item, fingerprint, progress):
        done.append(item.input.name)
        for output in item.outputs:
            output.parent.mkdir(exist_ok=True)
            output.write_text("made")

    def again(**options):
        done.clear()
        items = pair_paths([folder / "in"], folder / "out", SUFFIXES, beside=beside)
        run_batch(items, work, {}, manifest=folder / "out" / "manifest.json", **options)
        return list(done)

    assert again() == ["a.png", "b.PNG", "c.tif"]
    assert again() == []
    (folder / "out" / "a_second.png").unlink()
    assert again() == ["a.png"]
    (folder / "see" / "c.tif").unlink()
    assert again() == ["c.tif"]
    (first, *_) = json.loads((folder / "out" / "manifest.json").read_text())["items"]
    assert first["second"] == str(folder / "out" / "a_second.png")
    assert first["picture"] == str(folder / "see" / "a.png")


def test_files_of_others_are_safe_beside_the_output_too(folder):
    (folder / "see").mkdir()
    (folder / "see" / "a.png").write_text("precious")
    items = pair_paths([folder / "in" / "a.png"], folder / "out", SUFFIXES, beside=beside)
    with pytest.raises(UserError, match=r"see/a\.png: exists already"):
        run_batch(items, copy, {}, quiet=True)
    assert not (folder / "out" / "a.png").exists()


def test_what_lay_beside_another_result_is_removed_with_it(folder, capsys):
    def work(item, fingerprint, progress):
        for output in item.outputs:
            output.parent.mkdir(exist_ok=True)
            output.write_text("made")

    def run(beside=lambda file, output: {}, **facts):
        run_batch(pair_paths([folder / "in" / "a.png"], folder / "out", SUFFIXES, beside=beside), work, facts)
        return capsys.readouterr().err

    run(beside, weights=1)
    sides = [folder / "out" / "a_second.png", folder / "see" / "a.png"]
    assert "is done already" in run(weights=1)
    assert all(each.exists() for each in sides)
    (folder / "out" / "a_third.png").write_text("of another")
    told = run(weights=2)
    assert told.count("was of another result and is removed") == 2
    assert not any(each.exists() for each in sides)
    assert (folder / "out" / "a_third.png").exists()
    run(beside, weights=2)
    run(weights=3)
    assert not any(each.exists() for each in sides)


def test_outputs_of_one_input_are_not_beside_one_another(folder):
    for name in ("x.png", "y.png"):
        run_batch([Item(folder / "in" / "a.png", folder / name)], copy, {}, quiet=True)
    run_batch([Item(folder / "in" / "a.png", folder / "y.png")], copy, {"weights": 2}, quiet=True)
    assert (folder / "x.png").exists()


def test_outputs_beside_one_another_do_not_clash(folder):
    (folder / "in" / "a_second.png").touch()
    with pytest.raises(UserError, match=r"same output .*a_second\.png"):
        pair_paths([folder / "in"], folder / "out", SUFFIXES, beside=beside)
    with pytest.raises(UserError, match="would replace an input"):
        pair_paths([folder / "in" / "a.png"], folder / "in" / "x.png", SUFFIXES, beside=lambda file, output: {"": file})


def test_an_item_is_done_again_when_a_file_that_it_uses_has_changed(folder, capsys):
    items = [Item(folder / "in" / "a.png", folder / "x.png", uses=(folder / "in" / "notes.txt",))]
    run_batch(items, copy, {})
    run_batch(items, copy, {})
    assert "is done already" in capsys.readouterr().err
    (folder / "in" / "notes.txt").write_text("other notes")
    run_batch(items, copy, {})
    assert "x.png is of other settings or of an input that has changed; it is made again" in capsys.readouterr().err


def test_what_the_work_returns_is_told(folder, capsys):
    items = [Item(folder / "in" / "a.png", folder / "x.png")]
    run_batch(items, lambda item, mark, progress: item.output.write_text("x") and "7 tiles", {})
    assert capsys.readouterr().err.endswith("x.png (7 tiles)\n")


def test_what_the_work_tells_stands_in_the_manifest(folder, capsys):
    def work(item, fingerprint, progress):
        copy(item, fingerprint, progress)
        return "with a note"

    items = [Item(folder / "in" / "a.png", folder / "x.png")]
    for note in ("with a note", None):
        run_batch(items, work, {}, manifest=folder / "manifest.json")
        (told,) = json.loads((folder / "manifest.json").read_text())["items"]
        assert told.get("note") == note
    assert f"{folder / 'x.png'} (with a note)" in capsys.readouterr().err


def test_workers_do_items_at_once_and_each_is_told_by_its_name(folder, capsys):
    meeting = Barrier(3, timeout=10)

    def work(item, fingerprint, progress):
        meeting.wait()
        copy(item, fingerprint, progress)

    items = pair_paths([folder / "in"], folder / "out", SUFFIXES)
    with pytest.raises(FailedInputs, match="1 of 3 inputs failed"):
        run_batch(items, work, {}, manifest=folder / "manifest.json", workers=3)
    told = capsys.readouterr().err
    assert all(f"] {name}: -> {folder / 'out' / name}\n" in told for name in ("a.png", "c.tif"))
    assert "] b.PNG: failed: " in told
    content = json.loads((folder / "manifest.json").read_text())
    assert [each["status"] for each in content["items"]] == ["done", "failed", "done"]


def test_workers_begin_nothing_after_the_disk_is_full(folder):
    begun = []

    def work(item, fingerprint, progress):
        begun.append(item)
        raise OSError(errno.ENOSPC, "No space left on device")

    items = [Item(folder / "in" / "a.png", folder / f"{number}.png") for number in range(1000)]
    with pytest.raises(OSError, match="No space"):
        run_batch(items, work, {}, quiet=True, workers=2)
    assert len(begun) < 1000

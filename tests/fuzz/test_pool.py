from pathlib import Path

import pytest

from foveal.tests.fuzz import mutate
from foveal.tests.fuzz.pool import Limits, Pool

EXPECTED = {
    "fine": ("read", ""),
    "refused": ("refused", "is damaged"),
    "nameless": ("other", "not one line that names the file"),
    "lines": ("other", "not one line"),
    "busy": ("hang", "more than 1 s"),
    "asleep": ("hang", "no answer"),
    "dead": ("crash", "SIGABRT"),
    "gone": ("crash", "exit code 3"),
    "large": ("memory", "grew by"),
    "huge": ("memory", "MemoryError"),
    "masked": ("memory", "cannot allocate"),
    "odd": ("other", "KeyError"),
}


@pytest.mark.slow
def test_every_kind_of_failure_is_told_and_outlived():
    names = [*EXPECTED, "fine"]
    with Pool("foveal.tests.fuzz.toys:misbehave", Limits(seconds=1, patience=8, megabytes=50), workers=2) as pool:
        outcomes = dict(zip(names, pool.outcomes(Path(f"{name}.png") for name in names), strict=True))
    assert {name: outcome.kind for name, outcome in outcomes.items()} == {n: kind for n, (kind, _) in EXPECTED.items()}
    for name, (_, reason) in EXPECTED.items():
        assert reason in outcomes[name].reason


def test_a_seed_tells_the_damage_and_something_is_always_damaged():
    data = bytes(range(256)) * 20
    first = [mutate.mutated(data, seed) for seed in range(200)]
    assert first == [mutate.mutated(data, seed) for seed in range(200)]
    assert all(changed != data for _, changed in first)
    assert {name for name, _ in first} == {each.__name__ for each in mutate.MUTATORS}


def test_checksums_of_a_png_are_made_right(tmp_path):
    from PIL import Image

    Image.new("RGB", (5, 4)).save(tmp_path / "a.png")
    data = bytearray((tmp_path / "a.png").read_bytes())
    assert mutate.with_checksums(bytes(data)) == data
    data[16:20] = (7).to_bytes(4, "big")
    (tmp_path / "a.png").write_bytes(mutate.with_checksums(bytes(data)))
    with Image.open(tmp_path / "a.png") as image:
        assert image.size == (7, 4)

from importlib.util import find_spec

import pytest

from foveal.tests.fuzz import campaign, samples
from foveal.tests.fuzz.pool import GOOD

MODULES = {form: f"foveal.data.io.{form}" for form in campaign.SUFFIXES}
COUNT = 20


@pytest.mark.slow
@pytest.mark.parametrize("form", [form for form, module in MODULES.items() if find_spec(module)])
def test_a_damaged_file_is_read_or_clearly_refused(tmp_path, form):
    sources = samples.make(form, tmp_path)
    trials = list(campaign.run(form, sources, COUNT, seed=1, save=tmp_path / "failing"))
    assert len(trials) == COUNT
    bad = [
        f"{each.outcome.kind}: {each.saved}: {each.outcome.reason}" for each in trials if each.outcome.kind not in GOOD
    ]
    assert not bad, "\n".join(bad)
    assert any(each.outcome.kind == "refused" for each in trials)


@pytest.mark.parametrize("form", [form for form, module in MODULES.items() if find_spec(module)])
def test_the_sound_samples_are_read(tmp_path, form):
    from foveal.tests.fuzz import readers

    for path in samples.make(form, tmp_path):
        getattr(readers, form)(path)

import pytest

from foveal.tests.fuzz import campaign, inference, readers, samples
from foveal.tests.fuzz.pool import GOOD

FORMATS = tuple(campaign.SUFFIXES)
COUNT = 20


@pytest.mark.slow
@pytest.mark.parametrize("module", [readers, inference], ids=["read", "infer"])
@pytest.mark.parametrize("form", FORMATS)
def test_a_damaged_file_is_read_or_clearly_refused_and_leaves_nothing_partial(tmp_path, form, module):
    sources = samples.make(form, tmp_path)
    trials = list(campaign.run(f"{module.__name__}:{form}", sources, COUNT, seed=1, save=tmp_path / "failing"))
    assert len(trials) == COUNT
    bad = [trial.outcome for trial in trials if trial.outcome.kind not in GOOD]
    assert not bad, "\n".join(f"{each.kind}: {each.reason}" for each in bad)
    assert any(trial.outcome.kind == "refused" for trial in trials)


@pytest.mark.parametrize("module", [readers, inference], ids=["read", "infer"])
@pytest.mark.parametrize("form", FORMATS)
def test_the_sound_samples_are_read(tmp_path, form, module):
    for path in samples.make(form, tmp_path):
        getattr(module, form)(path)

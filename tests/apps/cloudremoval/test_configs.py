"""A training of the app that is resumed."""

from pathlib import Path

import pytest

from foveal.core.cli import main
from foveal.tests.configs.recipes.cloudremoval import small, write
from foveal.tests.fixtures.datasets_2d import merged
from foveal.tests.fixtures.training import equal, state


@pytest.mark.slow
def test_resuming_changes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    config = "configs/cloudremoval/pmaa_places.yaml"
    content = merged(config)
    write(content)
    few = ["--trainer.limit_train_batches=2", "--trainer.max_epochs=2", "--data.init_args.repeats=4"]
    few += ["--trainer.limit_val_batches=1"]
    given = ["--config", config, *small(content), *few]
    assert main(["cloudremoval", "fit", *given]) == 0
    assert main(["cloudremoval", "fit", *given, "--trainer.max_epochs=1"]) == 0
    assert main(["cloudremoval", "fit", *given, "--ckpt_path", "last"]) == 0
    whole, resumed = (state(Path(f"runs/cloudremoval/{name}/last.ckpt")) for name in ("pmaa_places", "pmaa_places-2"))
    assert equal(whole, resumed)
    rates = [each["param_groups"][0]["lr"] for each in whole["optimizer_states"]]
    assert rates == pytest.approx([5e-4, 5e-4], rel=0.01)
    assert max(rates) < 5e-4

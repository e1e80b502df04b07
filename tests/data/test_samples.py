from pathlib import Path

import pytest
import yaml

import foveal
from foveal.core.errors import UserError
from foveal.data.samples import SamplePhotographs


def test_the_quickstart_trains_and_tests_on_different_installed_photographs():
    config = Path(foveal.__file__).parent / "configs" / "superres" / "quickstart_dlgsanet.yaml"
    data = yaml.safe_load(config.read_text())["data"]["init_args"]
    names = [set(part["init_args"]["names"]) for key in ("train", "validation") for part in data[key]]
    train, validation = names
    assert not train & validation
    pairs = SamplePhotographs(sorted(train | validation)).pairs(2)
    assert all(pair.high.is_file() for pair in pairs)


def test_a_misspelt_photograph_is_told_with_the_right_name():
    with pytest.raises(UserError, match=r"no photograph 'astronot\.png'; did you mean 'astronaut\.png'\?"):
        SamplePhotographs(["astronot.png"]).pairs(2)

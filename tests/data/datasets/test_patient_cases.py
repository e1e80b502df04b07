from pathlib import Path
from types import SimpleNamespace
from typing import get_args

import pytest

from foveal.core.errors import UserError
from foveal.data.datasets.group_split import Part
from foveal.data.datasets.patient_cases import PatientCases, found_group, group_expression

CASES = [SimpleNamespace(name=f"s{number}", group=f"p{number // 2}") for number in range(20)]


def test_parts_hold_whole_patients_and_every_case_once():
    parts = [PatientCases(part=part, seed=3).chosen(CASES, "cases") for part in get_args(Part)]
    assert sorted(case.name for part in parts for case in part) == sorted(case.name for case in CASES)
    assert sum(len({case.group for case in part}) for part in parts) == 10
    assert PatientCases().chosen(CASES, "cases") == CASES


def test_the_patient_is_the_first_group_of_the_expression():
    expression = group_expression("Subj_([0-9]+)")
    assert found_group(Path("Subj_07_b.png"), expression) == "07"
    assert found_group(Path("Subj_07_b.png"), None) is None
    with pytest.raises(UserError, match="the name tells no patient by the expression"):
        found_group(Path("x.png"), expression)


@pytest.mark.parametrize("text", ["Subj_(", "Subj_[0-9]+"])
def test_an_expression_without_a_group_is_refused(text):
    with pytest.raises(UserError, match=r"group 'Subj_.*give one|marks no part"):
        PatientCases(text)

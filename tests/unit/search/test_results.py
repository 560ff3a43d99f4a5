import json
from dataclasses import replace

import pytest

from tasks.search.results import Finalist, SeedSpread, StudyResult, TrialRow, study_result_from_json

FINISHED = TrialRow(
    "trial/0",
    0,
    "finished",
    {"lora_rank": 8, "learning_rate": 1.0e-3, "schedule": "cosine"},
    17,
    value=0.7,
    seconds=30.0,
    steps=100,
    planned_steps=100,
    adapter="a" * 64,
)
PRUNED = TrialRow(
    "trial/1", 1, "pruned", {}, 17, value=0.2, seconds=10.0, machine_seconds=10.0, steps=25, planned_steps=100
)


def test_a_result_survives_json():
    best = Finalist(0, FINISHED.parameters, (FINISHED,))
    result = StudyResult("icd10-1", best, None, (FINISHED, PRUNED), SeedSpread((0.7,), None, None), 40.0, 30.0)

    assert study_result_from_json(json.loads(json.dumps(result.to_json()))) == result


def test_whole_parameters_stay_whole_through_json():
    best = Finalist(0, FINISHED.parameters, (FINISHED,))
    result = StudyResult("icd10-1", best, None, (), SeedSpread((0.7,), None, None), 40.0, 30.0)

    back = study_result_from_json(json.loads(json.dumps(result.to_json())))

    assert [type(value) for value in back.best.parameters.values()] == [int, float, str]


def test_pruning_saves_the_time_of_the_steps_not_taken():
    assert PRUNED.seconds_saved == pytest.approx(30.0)
    assert replace(PRUNED, machine_seconds=5.0).seconds_saved == pytest.approx(15.0)


@pytest.mark.parametrize(
    "row",
    [
        FINISHED,
        TrialRow("trial/2", 2, "pruned", {}, 17, planned_steps=100, repeats=1),
        TrialRow("trial/3", 3, "failed", {}, 17, seconds=5.0, steps=10, planned_steps=100),
    ],
)
def test_only_a_pruned_trial_that_ran_saves_time(row):
    assert row.seconds_saved == 0


@pytest.mark.parametrize(
    ("row", "was_trained"),
    [
        (FINISHED, True),
        (PRUNED, True),
        (TrialRow("trial/2", 2, "failed", {}, 17), True),
        (TrialRow("trial/2", 2, "refused", {}, 17), False),
        (TrialRow("trial/2", 2, "finished", {}, 17, repeats=0), False),
    ],
)
def test_refused_and_repeated_trials_were_not_trained(row, was_trained):
    assert row.was_trained is was_trained

from __future__ import annotations

import pytest

from configs.errors import BurnishError
from configs.settings import Settings
from tasks.reporting.comparing import comparison_lines
from tasks.tracking.mlflow_runs import Tracker
from tests.integration.reporting.recorded_runs import finish_run

AT = "2026-11-27T19:46:17+00:00"
RIGHT, HALF = [1.0] * 40, [float(number % 2) for number in range(40)]


def test_the_newest_run_is_compared_with_the_one_before(tracker: Tracker, settings: Settings) -> None:
    earlier = finish_run(tracker, "tickets", scores={"candidate": HALF})
    finish_run(tracker, "another", scores={"candidate": HALF})
    finish_run(tracker, "tickets")  # of an older version
    newest = finish_run(tracker, "tickets", scores={"candidate": RIGHT}, overrides=("training.epochs=2",))

    first, second, records, difference, _ = comparison_lines(settings, "tickets", None)

    assert first == f"1.000  candidate of tickets, run {newest} of {AT}, with training.epochs=2"
    assert second == f"0.500  candidate of tickets, run {earlier} of {AT}"
    assert records.startswith("exact_match on the 40 test records that both")
    assert difference.startswith("difference +50.0 points (95% interval +3")
    assert difference.endswith("the first is better")


def test_a_run_that_only_repeats_the_newest_is_not_the_run_before(tracker: Tracker, settings: Settings) -> None:
    finish_run(tracker, "tickets", scores={"candidate": HALF}, version="1")
    repeated = finish_run(tracker, "tickets", scores={"candidate": RIGHT, "classical": HALF}, version="2")
    finish_run(tracker, "tickets", scores={"candidate": RIGHT, "classical": HALF}, version="2")

    assert comparison_lines(settings, "tickets", None)[3].endswith("the first is better")
    assert comparison_lines(settings, "tickets", repeated)[3].endswith("both are the same model, tickets/2")
    assert f"run {repeated}" in comparison_lines(settings, "tickets:classical", None)[1]


def test_runs_are_named_by_recipe_or_id_with_an_option(tracker: Tracker, settings: Settings) -> None:
    run_id = finish_run(tracker, "tickets", scores={"candidate": HALF, "few-shot: short": RIGHT})
    finish_run(tracker, "another", scores={"candidate": HALF})

    same = comparison_lines(settings, "another", run_id)[3]
    assert "the same scores, record by record; the interval is of differences that 40 groups could miss" in same
    assert comparison_lines(settings, "another", f"{run_id}:few-shot: short")[3].endswith("the second is better")


def test_a_version_means_the_run_that_trained_it(tracker: Tracker, settings: Settings) -> None:
    run_id = finish_run(tracker, "tickets", scores={"candidate": HALF})
    finish_run(tracker, "tickets", scores={"candidate": RIGHT})
    tracker.client.create_registered_model("tickets")
    tracker.client.create_model_version("tickets", "somewhere", run_id)
    tracker.client.set_registered_model_alias("tickets", "champion", "1")

    for version in ("tickets/1", "tickets@champion"):
        lines = comparison_lines(settings, version, "tickets")
        assert f"candidate of tickets, run {run_id}" in lines[0]
        assert lines[3].endswith("the second is better")
    with pytest.raises(BurnishError, match="has no version '2'; it has version 1"):
        comparison_lines(settings, "tickets/2", "tickets")
    with pytest.raises(BurnishError, match="'tickets/1' names no earlier run"):
        comparison_lines(settings, "tickets/1", None)
    tracker.client.create_model_version("tickets", "somewhere")  # by hand, in MLflow
    with pytest.raises(BurnishError, match=r"the run that registered tickets/2 is not finished.*`burnish runs` lists"):
        comparison_lines(settings, "tickets/2", "tickets")


def test_a_run_of_before_scores_were_kept_is_not_called_unknown(tracker: Tracker, settings: Settings) -> None:
    run_id = finish_run(tracker, "old")

    with pytest.raises(BurnishError, match=f"no run of '{run_id}'.*whose scores were kept"):
        comparison_lines(settings, run_id, "old")


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ("tickets", None, "'tickets' names no earlier run with another model that could be.*; it has candidate"),
        ("nobody", "tickets", "no finished run is called 'nobody'; there are runs of "),
        ("tikets", "tickets", r"did you mean tickets\?"),
        ("tickets", "tickets", "both are the candidate of tickets"),
        ("old", "tickets", "no run of 'old'.*whose scores were kept"),
        ("tickets:x", "another", "has no option 'x'; it has candidate"),
    ],
)
def test_what_is_not_there_is_told(
    tracker: Tracker, settings: Settings, first: str, second: str | None, message: str
) -> None:
    finish_run(tracker, "tickets", scores={"candidate": HALF})
    finish_run(tracker, "another", scores={"candidate": [0.25] * 40})
    finish_run(tracker, "old")

    with pytest.raises(BurnishError, match=message):
        comparison_lines(settings, first, second)

from __future__ import annotations

import pytest

from configs.errors import BurnishError
from configs.settings import Settings
from tasks.reporting.listing import run_lines
from tasks.reporting.summary import OptionRow
from tasks.tracking.mlflow_runs import Tracker
from tests.integration.reporting.recorded_runs import finish_run


def finish_trained(tracker: Tracker, recipe: str, version: str, overrides: tuple[str, ...] = ()) -> str:
    options = (OptionRow("candidate", "candidate", "exact_match", 0.5, 0.4, 0.6, 90),)
    verdict = {"kind": "does_not_pay"}
    return finish_run(tracker, recipe, version=version, options=options, verdict=verdict, overrides=overrides)


def test_each_finished_run_is_a_line_newest_first(tracker: Tracker, settings: Settings) -> None:
    first = finish_trained(tracker, "tickets", "1")
    second = finish_trained(tracker, "tickets", "2", ("training.epochs=2",))
    other = finish_trained(tracker, "mails", "1")
    tracker.client.create_registered_model("tickets")
    for run_id in (first, second):
        tracker.client.create_model_version("tickets", "somewhere", run_id)
    tracker.client.set_registered_model_alias("tickets", "champion", "1")

    heads, *lines = run_lines(settings, None, count=9)

    assert heads.split()[:2] == ["finished", "(UTC)"]
    assert [next(run_id for run_id in (first, second, other) if run_id in line) for line in lines] == [
        other, second, first,
    ]  # fmt: skip
    assert lines[1].endswith("does not pay  training.epochs=2")
    assert "2026-11-27 19:46" in lines[2] and "tickets/1 (champion)  exact_match 0.500 (0.400 – 0.600)" in lines[2]
    assert "mails/1 " in lines[0]


def test_one_recipes_runs_alone_and_no_more_than_asked_for(tracker: Tracker, settings: Settings) -> None:
    finish_trained(tracker, "mails", "1")
    finish_trained(tracker, "tickets", "1")
    newest = finish_trained(tracker, "tickets", "2")

    assert len(run_lines(settings, "tickets", count=2)) == 3
    _, shown, more = run_lines(settings, "tickets", count=1)
    assert newest in shown
    assert more == "and older ones: --count shows more"


def test_what_has_no_runs_is_told(tracker: Tracker, settings: Settings) -> None:
    with pytest.raises(BurnishError, match=r"no finished run of recipe 'tickets' in .*; run `burnish finetune"):
        run_lines(settings, "tickets", count=1)

    finish_trained(tracker, "tickets", "1")
    with pytest.raises(BurnishError, match=r"no finished run of recipe 'tikets'.*did you mean tickets\?"):
        run_lines(settings, "tikets", count=1)


def test_a_recipe_that_was_only_begun_is_not_called_unknown(tracker: Tracker, settings: Settings) -> None:
    tracker.open_parent(tracker.experiment("tickets"), recipe_digest="a", params={})

    with pytest.raises(BurnishError, match="no run of recipe 'tickets' has reached its end; `burnish finetune`"):
        run_lines(settings, "tickets", count=1)


def test_an_override_can_not_break_its_line(tracker: Tracker, settings: Settings) -> None:
    finish_trained(tracker, "tickets", "1", ("description=two\nlines",))

    assert run_lines(settings, None, count=1)[1].endswith("description=two lines")

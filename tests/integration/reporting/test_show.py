from __future__ import annotations

import json
from pathlib import Path

from configs.settings import Settings
from tasks.reporting.show import latest_summary
from tasks.reporting.summary import SUMMARY_FILE, RunSummary
from tasks.tracking.mlflow_runs import Tracker


def finish_run(tracker: Tracker, home: Path) -> str:
    run_id = tracker.open_parent(tracker.experiment("tickets"), recipe_digest="a", params={})
    summary = RunSummary(
        "tickets", "d", (), (),
        verdict={}, decision={}, model={"name": "tickets", "version": "1"}, cost={}, peak_rss_mb=1.0, run_id=run_id,
        report=str(home / "reports" / "tickets.html"),
    )  # fmt: skip
    tracker.log_text(run_id, json.dumps(summary.as_json()), SUMMARY_FILE)
    tracker.finish(run_id, "FINISHED")
    return run_id


def test_only_the_newest_run_is_said_to_have_the_recipes_report(
    tracker: Tracker, settings: Settings, mlflow_home: Path
) -> None:
    earlier = finish_run(tracker, mlflow_home)
    newest = finish_run(tracker, mlflow_home)

    assert latest_summary(settings, earlier).report == f"tickets.html among the artifacts of run {earlier} in MLflow"
    for name in (newest, "tickets", None):
        shown = latest_summary(settings, name)
        assert (shown.run_id, shown.report) == (newest, str(mlflow_home / "reports" / "tickets.html"))


def test_a_version_shows_the_run_that_registered_it(tracker: Tracker, settings: Settings, mlflow_home: Path) -> None:
    earlier = finish_run(tracker, mlflow_home)
    finish_run(tracker, mlflow_home)
    tracker.client.create_registered_model("tickets")
    tracker.client.create_model_version("tickets", "somewhere", earlier)

    assert latest_summary(settings, "tickets/1").run_id == earlier

from __future__ import annotations

from pathlib import Path

from configs.settings import Settings
from tasks.reporting.show import latest_summary
from tasks.tracking.mlflow_runs import Tracker
from tests.integration.reporting.recorded_runs import finish_run


def test_only_the_newest_run_is_said_to_have_the_recipes_report(
    tracker: Tracker, settings: Settings, mlflow_home: Path
) -> None:
    earlier = finish_run(tracker, "tickets", version="1", report=str(mlflow_home / "reports" / "tickets.html"))
    newest = finish_run(tracker, "tickets", version="1", report=str(mlflow_home / "reports" / "tickets.html"))

    assert latest_summary(settings, earlier).report == f"tickets.html among the artifacts of run {earlier} in MLflow"
    for name in (newest, "tickets", None):
        shown = latest_summary(settings, name)
        assert (shown.run_id, shown.report) == (newest, str(mlflow_home / "reports" / "tickets.html"))


def test_a_version_shows_the_run_that_registered_it(tracker: Tracker, settings: Settings, mlflow_home: Path) -> None:
    earlier = finish_run(tracker, "tickets", version="1", report=str(mlflow_home / "reports" / "tickets.html"))
    finish_run(tracker, "tickets", version="1", report=str(mlflow_home / "reports" / "tickets.html"))
    tracker.client.create_registered_model("tickets")
    tracker.client.create_model_version("tickets", "somewhere", earlier)

    assert latest_summary(settings, "tickets/1").run_id == earlier

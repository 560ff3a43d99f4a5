"""Finished runs as `finetune` leaves them in MLflow, without their training."""

from __future__ import annotations

import json
from typing import Any

from tasks.reporting.row_scores import SCORES_FILE, RowScores, row_scores_as_text
from tasks.reporting.summary import SUMMARY_FILE, RunSummary
from tasks.tracking.mlflow_runs import Tracker


def finish_run(
    tracker: Tracker,
    recipe: str,
    *,
    scores: dict[str, list[float]] | None = None,
    version: str | None = None,
    **summary: Any,
) -> str:
    """Record a run with these scores of 40 test records, if any, and what else its summary says; return its id."""
    run_id = tracker.open_parent(tracker.experiment(recipe), recipe_digest="a", params={})
    known: dict[str, Any] = {"options": (), "verdict": {}, "finished_at": "2026-11-27T19:46:17+00:00", **summary}
    said = RunSummary(
        recipe, "d", (), decision={}, cost={}, peak_rss_mb=1.0, run_id=run_id,
        model={"name": recipe, "version": version} if version else {}, **known,
    )  # fmt: skip
    tracker.log_text(run_id, json.dumps(said.as_json()), SUMMARY_FILE)
    if scores is not None:
        kept = RowScores("exact_match", "exact_match", 0.95, {f"r{number}": number for number in range(40)}, scores)
        tracker.log_text(run_id, row_scores_as_text(kept), SCORES_FILE)
    tracker.finish(run_id, "FINISHED")
    return run_id

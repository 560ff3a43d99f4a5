"""Where things stand in the MLflow UI: paths below its address, ready to click."""

from __future__ import annotations

from typing import Literal
from urllib.parse import urlencode

View = Literal["TABLE", "CHART", "ARTIFACT"]
"""The three views of MLflow's page of runs: rows, curves, and the outputs of several runs side by side."""


def run_page(experiment: str, run_id: str, *, artifact: str | None = None) -> str:
    """Path of a run's page, or of one of its artifacts on it."""
    return f"#/experiments/{experiment}/runs/{run_id}" + (f"/artifacts/{artifact}" if artifact else "")


def trials_page(experiment: str, *, study: str) -> str:
    """Path of the curves of a study's trials, best first."""
    return _runs_page(
        experiment, where=f"tags.burnish.kind = 'trial' and tags.burnish.study = '{study}'",
        sorted_by="validation_best", view="CHART",
    )  # fmt: skip


def outputs_page(experiment: str, *, parent: str, metric: str) -> str:
    """Path of what every option answered to each test record, one column an option, best first.

    Args:
        experiment: experiment id.
        parent: id of the recipe's run under which the options were scored.
        metric: the deciding one.
    """
    return _runs_page(
        experiment, where=f"tags.burnish.kind = 'scorecard' and tags.mlflow.parentRunId = '{parent}'",
        sorted_by=f"test_{metric}", view="ARTIFACT",
    )  # fmt: skip


def _runs_page(experiment: str, *, where: str, sorted_by: str, view: View) -> str:
    """Sorted by a metric, for MLflow folds child runs below their parent only where runs are sorted by time."""
    query = {
        "workflowType": "machine_learning",
        "compareRunsMode": view,
        "searchFilter": where,
        "orderByKey": f"metrics.`{sorted_by}`",
        "orderByAsc": "false",
    }
    return f"#/experiments/{experiment}/runs?{urlencode(query)}"

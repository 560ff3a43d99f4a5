"""Prefect tasks around runs."""

from __future__ import annotations

from pathlib import Path

from prefect import get_run_logger, task
from prefect.runtime import flow_run

from tasks.tracking.prefect_server import close_dead_flow_runs, run_tags


@task(name="close dead runs")
def close_dead_runs(recipe_name: str, home: Path) -> int:
    """Mark the recipe's flow runs whose process is gone as Crashed; the caller holds the recipe's lease."""
    closed = close_dead_flow_runs(run_tags(recipe_name, home), alive=flow_run.get_root_flow_run_id())
    if closed:
        get_run_logger().warning("closed %d flow runs of killed processes", closed)
    return closed

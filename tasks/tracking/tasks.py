"""Prefect tasks around runs."""

from __future__ import annotations

import logging
from pathlib import Path

from prefect import get_run_logger, task
from prefect.runtime import flow_run

from configs.requests import RecipeRequest
from configs.roots import resolve_recipe
from configs.schema import Recipe
from tasks.tracking.prefect_server import close_dead_flow_runs, recipe_tags
from tasks.tracking.prefect_turns import came_through_prefect
from tasks.tracking.recipe_run import RecipeRun


@task(name="read the recipe")
def read_recipe(request: RecipeRequest) -> tuple[Recipe, Path]:
    """The recipe with what the request changes, and its project root.

    What comes through a deployment (a form, a schedule, an event) may reach nothing outside the configured roots.
    """
    if came_through_prefect():
        logging.getLogger("burnish").setLevel(logging.INFO)  # for the run's page; the command line does so itself
    asked = RecipeRequest(recipe=request.recipe, overrides=request.resolved_overrides())
    return resolve_recipe(asked, confined=came_through_prefect())


@task(name="name the runs")
def name_runs(run: RecipeRun, *, snapshot: str) -> None:
    """Give the flow run and MLflow's run the names of recipe and snapshot, now that both are known."""
    from prefect.client.orchestration import get_client

    name = f"{run.recipe.name} {snapshot[:8]}"
    with get_client(sync_client=True) as client:
        client.update_flow_run(flow_run.get_root_flow_run_id(), name=name)
    run.tracker.rename(run.run_id, name)
    run.tracker.set_tags(run.run_id, {"burnish.recipe": run.recipe.name, "burnish.snapshot": snapshot})
    run.tracker.log_snapshot_input(run.run_id, snapshot, name=run.recipe.name)


@task(name="close dead runs")
def close_dead_runs(recipe_name: str, installation: str) -> int:
    """Mark the recipe's flow runs whose process is gone as Crashed; the caller holds the recipe's lease."""
    closed = close_dead_flow_runs(recipe_tags(recipe_name, installation), alive=flow_run.get_root_flow_run_id())
    if closed:
        get_run_logger().warning("closed %d flow runs of killed processes", closed)
    return closed

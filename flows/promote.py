"""The verdict and the gates; the alias moves only if every gate is cleared."""

from __future__ import annotations

from prefect import flow

from tasks.promotion.tasks import decide_and_move, promote_identity
from tasks.tracking.recipe_run import RecipeRun, run_stage
from tasks.tracking.stage_ledger import StageRecord


@flow(name="promote", flow_run_name="promote {run.recipe.name}")
def promote(run: RecipeRun, checked: StageRecord, scores: StageRecord, version: StageRecord) -> StageRecord:
    """Decide over scorecards and policy, then move the alias; outputs `verdict`, `decision`."""
    return run_stage(
        run,
        "promote",
        identity=promote_identity(run, checked, scores, version),
        work=lambda: decide_and_move(run, checked, scores, version),
    )

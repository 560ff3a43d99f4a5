"""The cheaper options at their best, chosen on validation."""

from __future__ import annotations

from prefect import flow

from tasks.baselines.tasks import baseline_identity, choose_cheaper_options
from tasks.tracking.recipe_run import RecipeRun, run_stage
from tasks.tracking.stage_ledger import StageRecord


@flow(name="baseline", flow_run_name="baseline {run.recipe.name}")
def baseline(run: RecipeRun, checked: StageRecord, base: str) -> StageRecord:
    """Try prompts and the classical option; outputs `options` (to score on test), `tried`, `templates`."""
    snapshot = checked.outputs["snapshot"]
    return run_stage(
        run,
        "baseline",
        identity=baseline_identity(run, snapshot, base),
        work=lambda: choose_cheaper_options(run, snapshot, base),
    )

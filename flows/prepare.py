"""Load, map and split the records into an immutable snapshot."""

from __future__ import annotations

from prefect import flow

from tasks.data.tasks import check_metric, check_templates, prepare_identity, prepare_snapshot, snapshot_is_there
from tasks.tracking.recipe_run import RecipeRun, run_stage
from tasks.tracking.stage_ledger import StageRecord


@flow(name="prepare", flow_run_name="prepare {run.recipe.name}")
def prepare(run: RecipeRun) -> StageRecord:
    """Make the snapshot; outputs as of `prepare_snapshot`."""
    check_templates(run)
    prepared = run_stage(
        run,
        "prepare",
        identity=prepare_identity(run),
        work=lambda: prepare_snapshot(run),
        still_there=lambda outputs: snapshot_is_there(run, outputs),
    )
    check_metric(run, prepared.outputs)
    return prepared

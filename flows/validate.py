"""Check the snapshot against its suite before compute is spent."""

from __future__ import annotations

from prefect import flow

from tasks.data.tasks import snapshot_is_there
from tasks.tracking.recipe_run import RecipeRun, run_stage
from tasks.tracking.stage_ledger import StageRecord
from tasks.validation.tasks import check_snapshot, tell_findings, validate_identity


@flow(name="validate", flow_run_name="validate {run.recipe.name}")
def validate(run: RecipeRun, prepared: StageRecord, base: str) -> StageRecord:
    """Apply every rule; outputs `snapshot` (a new one where rows were dropped), `outcomes`, `evaluated`."""
    snapshot = prepared.outputs["snapshot"]
    record = run_stage(
        run,
        "validate",
        identity=validate_identity(run, snapshot, base),
        work=lambda: check_snapshot(run, snapshot, base),
        still_there=lambda outputs: snapshot_is_there(run, outputs),
    )
    tell_findings(run, record.outputs)  # also what an earlier run found
    return record

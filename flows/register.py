"""A model version for the candidate, proven to answer as the trainer's model does."""

from __future__ import annotations

from typing import Any

from prefect import flow

from tasks.evaluation.tasks import candidate_option
from tasks.inference.answers import option_as_json
from tasks.models.tasks import precision_of
from tasks.promotion.tasks import check_parity
from tasks.registry.tasks import candidate_package, register_candidate, register_identity, version_is_there
from tasks.tracking.recipe_run import RecipeRun, run_stage
from tasks.tracking.stage_ledger import StageRecord


@flow(name="register", flow_run_name="register {run.recipe.name}")
def register(run: RecipeRun, checked: StageRecord, study: StageRecord, base: str) -> StageRecord:
    """Register the adapter and check parity in a fresh process; outputs `version`, `parity`."""
    snapshot, labels = checked.outputs["snapshot"], checked.outputs["labels"]
    option = option_as_json(candidate_option(study, labels))
    package = candidate_package(run, option=option, base=base, labels=labels, precision=precision_of(run))

    def work() -> dict[str, Any]:
        version = register_candidate(run, package, option, snapshot)
        return {"version": version, "parity": check_parity(run, snapshot, option, base, version)}

    return run_stage(
        run,
        "register",
        identity=register_identity(run, package, snapshot),
        work=work,
        still_there=lambda outputs: version_is_there(run, outputs),
    )

"""The study: fine-tunes under a budget, the best two trained again with fresh seeds."""

from __future__ import annotations

from prefect import flow

from tasks.search.space import templates_to_try
from tasks.search.tasks import search_fine_tunes, search_identity
from tasks.storage.shared_directories import at_hand
from tasks.tracking.recipe_run import RecipeRun, run_stage
from tasks.tracking.stage_ledger import StageRecord


@flow(name="search", flow_run_name="search {run.recipe.name}")
def search(run: RecipeRun, checked: StageRecord, cheaper: StageRecord, base: str) -> StageRecord:
    """Search, confirm, name a candidate; outputs `candidate` (adapter digest) and the study's result."""
    snapshot, templates = checked.outputs["snapshot"], templates_to_try(run.recipe, cheaper.outputs["templates"])
    return run_stage(
        run,
        "search",
        identity=search_identity(run, snapshot, base, templates),
        work=lambda: search_fine_tunes(run, snapshot, base, templates),
        still_there=lambda outputs: at_hand(run.settings, "adapters", outputs["candidate"]),
    )

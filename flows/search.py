"""The study: fine-tunes under a budget, the best two trained again with fresh seeds."""

from __future__ import annotations

from prefect import flow

from tasks.search.tasks import search_fine_tunes, search_identity
from tasks.storage.shared_directories import at_hand
from tasks.tracking.recipe_run import RecipeRun, run_stage
from tasks.tracking.stage_ledger import StageRecord


@flow(name="search", flow_run_name="search {run.recipe.name}")
def search(run: RecipeRun, checked: StageRecord, cheaper: StageRecord, base: str) -> StageRecord:
    """Search, confirm, name a candidate; outputs `candidate` (adapter digest) and the study's result."""
    snapshot, template = checked.outputs["snapshot"], cheaper.outputs["template"]
    return run_stage(
        run,
        "search",
        identity=search_identity(run, snapshot, base, template),
        work=lambda: search_fine_tunes(run, snapshot, base, template),
        still_there=lambda outputs: at_hand(run.settings, "adapters", outputs["candidate"]),
    )

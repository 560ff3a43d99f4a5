"""Train again when there is a reason to: new data, a new base model, an old champion, somebody who asks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from prefect import flow
from prefect.states import Completed, State

from configs.errors import LeaseHeld
from configs.requests import RetrainRequest
from configs.schema import Recipe
from flows.finetune import conclude, recipe_at_work, recipe_held, run_stages
from tasks.monitoring.retrain_policy import RetrainDecision
from tasks.monitoring.tasks import begin_retrain, compare_data, compare_slices, decide_retrain
from tasks.reporting.summary import RunSummary
from tasks.search.tasks import find_warm_start, train_anew
from tasks.tracking.prefect_turns import came_through_prefect
from tasks.tracking.stage_ledger import StageRecord
from tasks.tracking.tasks import read_recipe


@flow(name="retrain", flow_run_name="retrain {request.recipe}")
def retrain(request: RetrainRequest) -> State[RunSummary | None]:
    """Decide and say why; if it goes: every stage as in `finetune`, compared with the champion and what it knew.

    Ends in a state named Skipped, Rejected (the candidate did not clear every gate) or Promoted.
    """
    recipe, project_root = read_recipe(request)
    try:
        # who decides holds the lease: of many triggers at once, those that come late see what the first one trained
        with recipe_held(recipe, project_root, patient=_comes_only_once(request)):
            decision = decide_retrain(recipe, project_root, request)
            if not decision.go:
                return Completed(name="Skipped", message=decision.sentence)
            stages, summary = _train_again(recipe, project_root, decision, request)
    except LeaseHeld as held:
        if request.force:
            raise
        return Completed(name="Skipped", message=str(held))
    return _final_state(stages, summary)


def _comes_only_once(request: RetrainRequest) -> bool:
    """Whether an event or a person asks, through Prefect: such a run waits for its turn. A schedule comes again."""
    return came_through_prefect() and bool(request.reason or request.source)


def _train_again(
    recipe: Recipe, project_root: Path, decision: RetrainDecision, request: RetrainRequest
) -> tuple[Sequence[StageRecord], RunSummary]:
    with recipe_at_work(recipe, project_root) as (run, base):
        begin_retrain(run, decision)
        if decision.anew:
            train_anew(run, decision.key)
        if recipe.retraining.warm_start:
            find_warm_start(run)
        stages = run_stages(run, base, after={"validate": lambda checked: compare_data(run, checked)})
        compare_slices(run, stages)
        return stages, conclude(run, base, stages, request=request)


def _final_state(stages: Sequence[StageRecord], summary: RunSummary) -> State[RunSummary | None]:
    if all(stage.reused for stage in stages):
        version = summary.model["version"]
        return Completed(name="Skipped", message=f"every stage was reused: the same was trained before as {version}")
    if summary.decision["promote"]:
        return Completed(name="Promoted", message="cleared every gate", data=summary)
    # names only: the reasons name slices of the data, and the message goes into Prefect's database
    return Completed(name="Rejected", message=f"refused by {', '.join(summary.decision['refused_by'])}", data=summary)

"""One scorecard form for every option, on the same frozen test records."""

from __future__ import annotations

from typing import Any

from prefect import flow

from tasks.baselines.tasks import answer_classically
from tasks.evaluation.tasks import (
    answers_are_there,
    build_scorecards,
    candidate_option,
    count_look,
    evaluate_identity,
    find_champion,
)
from tasks.inference.answers import option_from_json
from tasks.inference.tasks import answer_with_model
from tasks.tracking.recipe_run import RecipeRun, run_stage
from tasks.tracking.stage_ledger import StageRecord


@flow(name="evaluate", flow_run_name="evaluate {run.recipe.name}")
def evaluate(run: RecipeRun, checked: StageRecord, cheaper: StageRecord, study: StageRecord, base: str) -> StageRecord:
    """Answer the test records once with each option and score them; outputs `scorecards`, `answers`."""
    snapshot, labels = checked.outputs["snapshot"], checked.outputs["labels"]
    candidate = candidate_option(study, labels)
    champion = find_champion(run, candidate, base, labels)
    cheap = [option_from_json(value) for value in cheaper.outputs["options"]]
    classical = [option for option in cheap if option.kind == "classical"]
    prompted = [option for option in cheap if option.kind == "prompt"]
    reigning = [option_from_json(champion.option)] if champion else []
    options = [*cheap, candidate, *reigning]

    def work() -> dict[str, Any]:
        look = count_look(run, snapshot, candidate, champion)
        answers = {option.name: answer_classically(run, snapshot, option) for option in classical}
        answers |= answer_with_model(run, snapshot, base, [*prompted, candidate], split="test", limit=None)
        if champion:
            answers |= answer_with_model(run, snapshot, champion.base, reigning, split="test", limit=None)
        return build_scorecards(run, snapshot, options, answers, study, champion, look)

    identity = evaluate_identity(run, snapshot, options, study, champion)
    return run_stage(
        run,
        "evaluate",
        identity=identity,
        work=work,
        still_there=lambda outputs: answers_are_there(run, outputs),
    )

"""Prefect tasks of the evaluation: which options are scored, and their scorecards."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from prefect import task

from configs.schema import Template
from tasks.inference.answers import option_as_json, option_key
from tasks.inference.options import Option
from tasks.metrics.metric_identity import metric_identity
from tasks.models.hardware import libraries_of
from tasks.models.tasks import precision_of
from tasks.storage.shared_directories import at_hand
from tasks.tracking.identity import stage_identity
from tasks.tracking.recipe_run import RecipeRun
from tasks.tracking.shown_text import escaped
from tasks.tracking.stage_ledger import StageRecord

if TYPE_CHECKING:
    from tasks.evaluation.scorecards import Scorecard
    from tasks.evaluation.scored_answers import ScoredAnswers
    from tasks.registry.incumbent import Incumbent

log = logging.getLogger("burnish")


def candidate_option(study: StageRecord, labels: Sequence[str] | None) -> Option:
    """The fine-tune that the study named."""
    return Option(
        name="candidate",
        kind="candidate",
        template=Template.model_validate(study.outputs["template"]),
        decoding="label_scoring" if labels else "generate",
        adapter=study.outputs["candidate"],
    )


@task(name="find the champion")
def find_champion(run: RecipeRun, candidate: Option, base: str, labels: Sequence[str] | None) -> Incumbent | None:
    """The champion that this candidate must beat, if there is one."""
    from tasks.registry.incumbent import find_incumbent
    from tasks.registry.tasks import candidate_package

    option = option_as_json(candidate)
    package = candidate_package(run, option=option, base=base, labels=labels, precision=precision_of(run))
    return find_incumbent(
        run.tracker, run.recipe.name, candidate_identity=package.identity, adapters=run.settings.adapters
    )


@task(name="count the look at the test set")
def count_look(run: RecipeRun, snapshot: str, candidate: Option, champion: Incumbent | None) -> int:
    """Number of this look, from 1; written down before the test records are answered."""
    from tasks.data.snapshots import read_snapshot
    from tasks.evaluation.contest import contest_of, lineage_of
    from tasks.tracking.looks import spend_look
    from tasks.tracking.ownership import claim_recipe

    claim_recipe(run.tracker, run.recipe.name)
    contest = contest_of(
        option_key(candidate),
        champion.version if champion else None,
        records=read_snapshot(run.settings.snapshots, snapshot).split("test"),
        evaluation=run.recipe.evaluation,
        json_schema=run.recipe.json_schema,
    )
    look = spend_look(run.tracker, run.experiment, lineage=lineage_of(run.recipe.data), contest=contest)
    if look > 1:
        log.info("  look %d at this test set: the more looks, the clearer a gain must be (promotion.alpha)", look)
    return look


@task(name="identify the evaluation")
def evaluate_identity(
    run: RecipeRun, snapshot: str, options: Sequence[Option], study: StageRecord, champion: Incumbent | None
) -> str:
    """Hash of what the scorecards depend on."""
    from tasks.evaluation.scored_answers import metrics_shown

    recipe = run.recipe
    schema = recipe.json_schema
    shown = metrics_shown(
        recipe.evaluation, closed_labels=recipe.data.labels is not None, has_json_schema=schema is not None
    )
    inputs = {
        "snapshot": snapshot,
        "options": [option_key(option) for option in options],
        "study": study.identity,
        "champion": champion.version if champion else None,
        "evaluation": recipe.evaluation.model_dump(mode="json"),
        "metrics": [metric_identity(metric, schema) for metric in shown],
        "economics": recipe.economics.model_dump(mode="json"),
        "seed": recipe.seed,
        "precision": precision_of(run),
    }
    rooms = ["tasks.evaluation", "tasks.inference", "tasks.baselines"]
    libraries = ["numpy", "scipy", "scikit-learn", "torch", "transformers", "peft", *libraries_of(precision_of(run))]
    return stage_identity("evaluate", inputs, rooms=rooms, libraries=libraries)


def answers_are_there(run: RecipeRun, outputs: Mapping[str, Any]) -> bool:
    """Whether the answers that an evaluation rests on can be read here, for the report."""
    return all(at_hand(run.settings, "answers", digest) for digest in outputs["answers"].values())


@task(name="build scorecards")
def build_scorecards(
    run: RecipeRun,
    snapshot: str,
    options: Sequence[Option],
    found: Mapping[str, Mapping[str, Any]],
    study: StageRecord,
    champion: Incumbent | None,
    look: int,
) -> dict[str, Any]:
    """Score the answers of every option; scorecards and the per-row table go to MLflow."""
    from tasks.data.snapshots import read_snapshot
    from tasks.evaluation.constant_answers import constant_answer_warning
    from tasks.evaluation.scorecards import make_scorecard, scorecard_to_json
    from tasks.evaluation.scored_answers import score_answers
    from tasks.evaluation.slices import evaluation_rows
    from tasks.inference.answers import read_answers, select_records

    recipe = run.recipe
    data = read_snapshot(run.settings.snapshots, snapshot)
    records = select_records(data.split("test"), None)
    rows = evaluation_rows(records, slice_by=recipe.evaluation.slice_by, labels=data.labels)
    answered, cards = [], []
    for option in options:
        answers = read_answers(run.settings.answers, found[option.name]["answers"])
        trained = option.kind == "candidate"
        scored = score_answers(
            option, answers, records,
            rows=rows, labels=data.labels, evaluation=recipe.evaluation, json_schema=recipe.json_schema,
        )  # fmt: skip
        card = make_scorecard(
            scored, rows=rows, evaluation=recipe.evaluation, economics=recipe.economics, seed=recipe.seed,
            training_seconds=study.outputs["study"]["seconds_trained"] if trained else 0.0,
            seconds_saved_by_pruning=study.outputs["study"]["seconds_saved_by_pruning"] if trained else 0.0,
        )  # fmt: skip
        cards.append(card)
        answered.append(scored)
        log.info("  %-36s %.3f (%.3f to %.3f)", option.name, card.estimate.value, card.estimate.low, card.estimate.high)
    references = [record.completion for record in records]
    table = {
        "record_id": [record.record_id for record in records],
        "prompt": [record.prompt for record in records],
        "reference": references,
        **{scored.option.name: scored.outputs for scored in answered},
    }
    evaluation_run = _log_evaluation(run, snapshot, cards, answered, table, study)
    return {
        "evaluation_run": evaluation_run,
        "options": [option_as_json(option) for option in options],
        "scorecards": [json.loads(scorecard_to_json(card)) for card in cards],
        "warnings": [
            warning
            for scored in answered
            if scored.option.kind == "candidate"
            and (warning := constant_answer_warning(scored.option.name, scored.outputs, references))
        ],
        "look": look,
        "champion_version": champion.version if champion else None,
        "answers": {name: values["answers"] for name, values in found.items()},
    }


def _log_evaluation(
    run: RecipeRun,
    snapshot: str,
    cards: Sequence[Scorecard],
    answered: Sequence[ScoredAnswers],
    table: Mapping[str, Sequence[Any]],
    study: StageRecord,
) -> str:
    from tasks.tracking.mlflow_runs import MetricRow

    tracker = run.tracker
    child = run.child("evaluation", kind="evaluation", snapshot=snapshot, identity=study.identity)
    tracker.log_table(child, table, "outputs.json")
    tracker.describe(child, "The outputs of all options, one column each, in `outputs.json`.")
    for card, scored_answers in zip(cards, answered, strict=True):
        scored = run.child(f"test/{card.name}", kind="scorecard", snapshot=snapshot, identity=study.identity)
        tracker.log_params(scored, {"option": card.name, "kind": card.kind})
        tracker.log_metrics_batch(scored, [MetricRow(key, value, 0) for key, value in _card_values(card).items()])
        answers = {key: table[key] for key in ("record_id", "prompt", "reference")}
        answers |= {"output": table[card.name], "score": card.row_scores}
        answers |= {metric: scores.tolist() for metric, scores in scored_answers.scores.items()}
        tracker.log_table(scored, answers, "outputs.json")
        tracker.describe(scored, _found(card))
        tracker.finish(scored, "FINISHED")
    tracker.finish(child, "FINISHED")
    return child


def _card_values(card: Scorecard) -> dict[str, float]:
    """The figures of a scorecard by which options are compared in the MLflow UI."""
    beside = {f"test_{metric}": found.value for metric, found in card.secondary.items()}
    estimate = card.estimate
    values = {
        f"test_{card.metric}": estimate.value,
        f"test_{card.metric}_low": estimate.low,
        f"test_{card.metric}_high": estimate.high,
        "latency_p50_seconds": card.latency_p50_seconds,
        "latency_p95_seconds": card.latency_p95_seconds,
        "records_per_second": card.records_per_second,
        "cost_per_1000_requests": card.cost_per_1000_requests,
        **beside,
        **card.figures,
    }
    return {key: value for key, value in values.items() if value is not None}


def _found(card: Scorecard) -> str:
    """What a scorecard says, as Markdown."""
    estimate = card.estimate
    interval = f"{estimate.low:.3f} to {estimate.high:.3f}, {escaped(estimate.method)}"
    return f"**{escaped(card.metric)} {estimate.value:.3f}** ({interval}) on {card.n} test records"

"""Prefect tasks of the cheaper options."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from prefect import task

from tasks.baselines.prompt_options import (
    prompt_options,
    registry_template,
    shortlist,
    templates_to_train_with,
    wordings,
)
from tasks.inference.answers import option_as_json, option_key
from tasks.inference.options import Option
from tasks.inference.tasks import answer_with_model
from tasks.metrics.metric_identity import metric_identity
from tasks.models.hardware import libraries_of
from tasks.models.tasks import precision_of
from tasks.storage.shared_directories import at_hand, share
from tasks.tracking.identity import stage_identity
from tasks.tracking.recipe_run import RecipeRun, run_stage

if TYPE_CHECKING:
    from tasks.tracking.mlflow_prompts import RegistryPrompt

log = logging.getLogger("burnish")

_LIBRARIES = ("torch", "transformers", "scikit-learn", "optuna")


@task(name="identify the baseline")
def baseline_identity(run: RecipeRun, snapshot: str, base: str, without: Sequence[str] = ()) -> str:
    """Hash of what the choice between the cheaper options depends on, some fields of `baseline` left out."""
    recipe = run.recipe
    inputs = {
        "snapshot": snapshot,
        "base": base,
        "template": recipe.template.model_dump(mode="json"),
        "baseline": recipe.baseline.model_dump(mode="json", exclude=set(without)),
        "metric": metric_identity(recipe.evaluation.metric, recipe.json_schema),
        "max_new_tokens": recipe.evaluation.max_new_tokens,
        "seed": recipe.seed,
        "precision": precision_of(run),
    }
    libraries = (*_LIBRARIES, *libraries_of(precision_of(run)))
    return stage_identity("baseline", inputs, rooms=["tasks.baselines", "tasks.inference"], libraries=libraries)


@task(name="choose cheaper options")
def choose_cheaper_options(run: RecipeRun, snapshot: str, base: str) -> dict[str, Any]:
    """Score every prompt and classical setting on validation; the best of each kind go on to the test set."""
    from tasks.data.snapshots import read_snapshot
    from tasks.tracking.mlflow_prompts import register_prompts

    recipe = run.recipe
    labels = read_snapshot(run.settings.snapshots, snapshot).labels
    every = prompt_options(recipe.baseline, recipe.template, labels)
    scores = score_prompts(run, snapshot, base, every)
    prompts = [option for option in every if option.name in scores]
    chosen = shortlist(prompts, scores)[: recipe.baseline.test_prompts]
    tried: list[dict[str, Any]] = [{"name": option.name, "value": scores[option.name]} for option in prompts]
    if recipe.baseline.classical:
        classical, value = choose_classical(run, snapshot)
        chosen = [classical, *chosen]
        tried.append({"name": classical.name, "value": value})
    for row in sorted(tried, key=lambda row: -float(row["value"])):
        log.info("  %-36s %.3f on validation", row["name"], row["value"])
    best_prompts = [option for option in chosen if option.kind == "prompt"]
    register_prompts(run.tracker, recipe.name, [_registered(run, option, scores) for option in best_prompts])
    return {
        "options": [option_as_json(option) for option in chosen],
        "tried": tried,
        "templates": templates_to_train_with(recipe.template, prompts, scores),
    }


def score_prompts(run: RecipeRun, snapshot: str, base: str, prompts: Sequence[Option]) -> dict[str, float]:
    """Mean score on validation by option name: of all prompts, or of those that the study draws."""
    from tasks.baselines.prompt_study import study_prompts

    baseline = run.recipe.baseline
    if baseline.trials is None or baseline.trials >= len(prompts):
        return score_prompts_on_validation(run, snapshot, base, prompts)
    known = baseline_identity(run, snapshot, base, without=("trials",))
    log.info("  a study of %d of %d prompts", baseline.trials, len(prompts))
    return study_prompts(
        prompts,
        wordings=wordings(baseline, run.recipe.template),
        score=lambda option: score_prompts_on_validation(run, snapshot, base, [option])[option.name],
        trials=baseline.trials,
        name=f"{run.recipe.name}/prompts-{known[:12]}",
        url=run.settings.study_url,
        seed=run.recipe.seed,
    )


@task(name="score prompts on validation")
def score_prompts_on_validation(
    run: RecipeRun, snapshot: str, base: str, prompts: Sequence[Option]
) -> dict[str, float]:
    """Answer validation records with each prompt; mean score by option name."""
    from tasks.data.snapshots import read_snapshot
    from tasks.inference.answers import read_answers
    from tasks.metrics.task_metrics import score_rows

    limit = run.recipe.baseline.max_validation_records
    found = answer_with_model(run, snapshot, base, prompts, split="validation", limit=limit)
    records = {record.record_id: record for record in read_snapshot(run.settings.snapshots, snapshot).records}
    scores = {}
    for option in prompts:
        answers = read_answers(run.settings.answers, found[option.name]["answers"]).answers
        references = [records[answer.record_id].completion for answer in answers]
        rows = score_rows(
            run.recipe.evaluation.metric, [answer.output for answer in answers], references,
            json_schema=run.recipe.json_schema, record_ids=[answer.record_id for answer in answers],
        )  # fmt: skip
        scores[option.name] = float(rows.mean())
        _log_option(run, snapshot, option, scores[option.name])
    return scores


@task(name="choose classical settings")
def choose_classical(run: RecipeRun, snapshot: str) -> tuple[Option, float]:
    """Try each classical setting, of a classifier or of retrieval where answers are free text; validation chooses."""
    from tasks.baselines.classical_classifier import choose_settings, classical_option
    from tasks.baselines.retrieval import choose_retrieval
    from tasks.data.snapshots import read_snapshot

    data = read_snapshot(run.settings.snapshots, snapshot)
    train, validation, metric = data.split("train"), data.split("validation"), run.recipe.evaluation.metric
    schema = run.recipe.json_schema
    if data.labels:
        chosen = choose_settings(train, validation, metric=metric, seed=run.recipe.seed, json_schema=schema)
    else:
        chosen = choose_retrieval(train, validation, metric=metric, json_schema=schema)
    option = classical_option(chosen.settings)
    _log_option(run, snapshot, option, chosen.value)
    return option, chosen.value


@task(name="answer with the classical option")
def answer_classically(run: RecipeRun, snapshot: str, option: Option) -> dict[str, Any]:
    """Fit on the training records and answer the test records, once."""
    from tasks.baselines.classical_classifier import fit_and_answer
    from tasks.baselines.retrieval import is_retrieval, retrieve_answers
    from tasks.data.snapshots import read_snapshot
    from tasks.inference.answers import select_records, write_answers

    def work() -> dict[str, Any]:
        data = read_snapshot(run.settings.snapshots, snapshot)
        train, queries = data.split("train"), select_records(data.split("test"), None)
        settings, timed = option.classical_settings, run.recipe.evaluation.latency_records
        if is_retrieval(settings):
            answers = retrieve_answers(train, queries, settings=settings, latency_records=timed)
        else:
            answers = fit_and_answer(train, queries, settings=settings, seed=run.recipe.seed, latency_records=timed)
        digest = write_answers(answers, run.settings.answers)
        share(run.settings, "answers", digest)
        return {"answers": digest}

    inputs = {"option": option_key(option), "snapshot": snapshot, "seed": run.recipe.seed}
    inputs["latency_records"] = run.recipe.evaluation.latency_records
    identity = stage_identity("answers", inputs, rooms=["tasks.baselines"], libraries=["scikit-learn"])
    record = run_stage(
        run,
        f"answers/test/{option_key(option)[:16]}",
        identity=identity,
        work=work,
        still_there=lambda outputs: at_hand(run.settings, "answers", outputs["answers"]),
    )
    return dict(record.outputs)


def _registered(run: RecipeRun, option: Option, scores: Mapping[str, float]) -> RegistryPrompt:
    from tasks.tracking.mlflow_prompts import RegistryPrompt

    metric = run.recipe.evaluation.metric
    return RegistryPrompt(
        key=option_key(option),
        template=registry_template(option),
        message=f"{option.name}: {metric} {scores[option.name]:.3f} on validation",
        tags={
            "burnish.name": option.name,
            "burnish.decoding": option.decoding,
            "burnish.shots": str(option.shots),
            "burnish.shot_strategy": option.shot_strategy,
            "burnish.shot_order": str(option.shot_order),
            **_first_step_tags(option),
            f"burnish.validation_{metric}": f"{scores[option.name]:.4f}",
            "burnish.run": run.run_id,
        },
    )


def _first_step_tags(option: Option) -> dict[str, str]:
    if option.first is None:
        return {}
    step = {
        **option.first.model_dump(mode="json", exclude_defaults=True),
        "max_new_tokens": option.first_max_new_tokens,
    }
    return {"burnish.first_step": json.dumps(step, ensure_ascii=False)}


def _log_option(run: RecipeRun, snapshot: str, option: Option, value: float) -> None:
    from tasks.tracking.mlflow_runs import MetricRow

    child = run.child(f"option/{option.name}", kind="option", snapshot=snapshot, identity=snapshot)
    settings = {
        "kind": option.kind,
        "decoding": option.decoding,
        "shots": option.shots,
        "strategy": option.shot_strategy,
        "order": option.shot_order,
    }
    run.tracker.log_params(child, {**settings, **dict(option.classical_settings)})
    run.tracker.log_metrics_batch(child, [MetricRow(f"validation_{run.recipe.evaluation.metric}", value, 0)])
    run.tracker.finish(child, "FINISHED")

"""Prefect tasks of the search: bind the study to a worker and to MLflow."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect import task

from configs.schema import Template
from tasks.inference.answers import select_records
from tasks.inference.options import Decoding
from tasks.metrics.metric_identity import metric_identity
from tasks.models.hardware import detect_hardware, libraries_of, slots_per_device
from tasks.models.tasks import open_worker, precision_of
from tasks.search.budget import affordable_seconds, useful_slots
from tasks.search.fresh_seed import choose_fresh_seed, seed_of_study
from tasks.search.space import resolve_training, shown_parameters, worthwhile_search
from tasks.search.warm_start import resolve_warm_start, warm_start_of
from tasks.storage.shared_directories import (
    at_hand,
    fetch_checkpoints,
    remove_shared_checkpoints,
    share,
    share_checkpoints,
)
from tasks.tracking.identity import stage_identity
from tasks.tracking.recipe_run import RecipeRun
from tasks.training.arguments import TrainArguments
from tasks.training.identity import training_key
from tasks.training.out_of_memory import train_within_memory

if TYPE_CHECKING:
    from tasks.models.worker import ModelWorker
    from tasks.search.results import TrialRequest
    from tasks.search.study_runner import OnReport, Trainer

log = logging.getLogger("burnish")

_LIBRARIES = ("torch", "transformers", "peft", "optuna")


@task(name="identify the study")
def search_identity(run: RecipeRun, snapshot: str, base: str, templates: dict[str, Any]) -> str:
    """Hash of what the search depends on, its budgets included."""
    inputs = {
        **_study_inputs(run, snapshot, base, templates),
        "training": run.recipe.training.model_dump(mode="json"),
        "search": run.recipe.search.model_dump(mode="json", exclude={"slots", "warm_start"}),
        "affordable_seconds": _affordable_seconds(run),
    }
    libraries = (*_LIBRARIES, *libraries_of(precision_of(run)))
    return stage_identity("search", inputs, rooms=["tasks.search", "tasks.training"], libraries=libraries)


@task(name="find the warm start")
def find_warm_start(run: RecipeRun) -> None:
    """Fix on the recipe's run what its study begins with: the best parameters of the newest earlier study."""
    found = resolve_warm_start(run)
    if found is not None:
        parameters = shown_parameters(found["parameters"])
        log.info("  the search begins with the best parameters of %s: %s", found["study"], parameters)


@task(name="choose a fresh seed")
def train_anew(run: RecipeRun, key: str) -> None:
    """Fix a seed on the recipe's run with which its study differs from all earlier ones, though nothing changed."""
    log.info("  trained anew, with the fresh seed %d", choose_fresh_seed(run, key=key))


@task(name="search fine-tunes")
def search_fine_tunes(run: RecipeRun, snapshot: str, base: str, templates: dict[str, Any]) -> dict[str, Any]:
    """Run the study, or go on with it; the trials are child runs in MLflow. `templates` are from `templates_to_try`."""
    from tasks.search.identity import study_identity
    from tasks.search.optuna_study import delete_study
    from tasks.search.study_runner import run_study
    from tasks.search.trial_runs import TrialRuns

    recipe = run.recipe
    seed, section = seed_of_study(run), worthwhile_search(recipe.search, templates)
    identity = study_identity(section, recipe.training, seed=seed, inputs=_study_inputs(run, snapshot, base, templates))

    study_name = f"{recipe.name}-{identity[:16]}"
    checkpoints = run.settings.checkpoints / study_name
    study = partial(
        run_study,
        study_name=study_name,
        study_url=run.settings.study_url,
        search=section,
        training=recipe.training,
        seed=seed,
        independent_records=_independent_records(run, snapshot),
        open_trainer=_trainers(run, snapshot=snapshot, base=base, templates=templates, checkpoints=checkpoints),
        callbacks=TrialRuns(run, snapshot, study_name).callbacks(),
        warm_start=warm_start_of(run),
        affordable_seconds=_affordable_seconds(run),
    )
    result = study()
    if not at_hand(run.settings, "adapters", result.adapter):
        log.warning("  the candidate's adapter is gone or damaged: the study is done anew")
        delete_study(study_name, run.settings.study_url)
        result = study()
    _mark_candidate(run, study_name, result.adapter)
    remove_shared_checkpoints(run.settings, checkpoints)
    shutil.rmtree(checkpoints, ignore_errors=True)  # every trial is on record, none will be resumed
    chosen = resolve_training(recipe.training, result.best.parameters).template
    return {"candidate": result.adapter, "template": templates[chosen], "study": result.to_json()}


def _trainers(
    run: RecipeRun, *, snapshot: str, base: str, templates: Mapping[str, Any], checkpoints: Path
) -> Callable[[int], AbstractContextManager[Trainer]]:
    """What opens a slot's trainer: a worker that trains one trial after another, its checkpoints at hand elsewhere."""
    slots = useful_slots(run.recipe.search)
    fine_tunes_on_device = slots_per_device(detect_hardware(), slots)

    @contextmanager
    def open_trainer(slot: int) -> Iterator[Trainer]:
        with open_worker(run, base, slot=slot, slots=slots) as worker:
            yield partial(train, worker)

    def train(worker: ModelWorker, request: TrialRequest, on_report: OnReport) -> dict[str, Any]:
        arguments = train_arguments(
            run, request,
            snapshot=snapshot, base=base, templates=templates, checkpoints=checkpoints,
            fine_tunes_on_device=fine_tunes_on_device,
        )  # fmt: skip
        here = checkpoints / arguments["training_key"]
        fetch_checkpoints(run.settings, here)

        def report(values: dict[str, Any]) -> bool:
            if values["kind"] == "validation" and not values["replayed"]:
                share_checkpoints(run.settings, here)  # the worker waits, and has just written one
            return on_report(values)

        result = train_within_memory(
            partial(worker.run, "tasks.training.jobs:train"), arguments, report, restart=worker.close
        )
        if result["adapter"]:
            share(run.settings, "adapters", result["adapter"])
        return result

    return open_trainer


def train_arguments(
    run: RecipeRun,
    request: TrialRequest,
    *,
    snapshot: str,
    base: str,
    templates: Mapping[str, Any],
    checkpoints: Path,
    fine_tunes_on_device: int,
) -> dict[str, Any]:
    """What the worker job `train` is asked for one trial."""
    recipe = run.recipe
    labels = _labels(run, snapshot)
    wording = Template.model_validate(templates[request.training.template])
    decoding: Decoding = "label_scoring" if labels else "generate"
    key = training_key(
        request.training, wording,
        snapshot=snapshot, base_digest=base, precision=precision_of(run), seed=request.seed, labels=labels,
        metric=metric_identity(recipe.evaluation.metric, recipe.json_schema), decoding=decoding,
        max_new_tokens=recipe.evaluation.max_new_tokens,
    )  # fmt: skip
    return TrainArguments(
        training=request.training, template=wording, snapshots=run.settings.snapshots, snapshot=snapshot,
        labels=labels, metric=recipe.evaluation.metric, json_schema=recipe.json_schema, decoding=decoding,
        seed=request.seed, fine_tunes_on_device=fine_tunes_on_device,
        checkpoints=checkpoints, training_key=key, adapters=run.settings.adapters,
        micro_batches=run.settings.micro_batches,
        max_new_tokens=recipe.evaluation.max_new_tokens, token_budget=recipe.evaluation.batch_tokens,
    ).model_dump(mode="json")  # fmt: skip


def _independent_records(run: RecipeRun, snapshot: str) -> int:
    """Groups among the validation records of a look during training; without `group_by`, different prompts."""
    from tasks.data.snapshots import read_snapshot

    validation = read_snapshot(run.settings.snapshots, snapshot).split("validation")
    return len({record.group for record in select_records(validation, run.recipe.training.max_validation_records)})


def _affordable_seconds(run: RecipeRun) -> float | None:
    return affordable_seconds(run.recipe.search.max_cost, run.recipe.economics.training_price_per_hour)


def _study_inputs(run: RecipeRun, snapshot: str, base: str, templates: Mapping[str, Any]) -> dict[str, Any]:
    evaluation = run.recipe.evaluation
    return {
        "snapshot": snapshot,
        "base": base,
        "templates": templates,
        "metric": metric_identity(evaluation.metric, run.recipe.json_schema),
        "max_new_tokens": evaluation.max_new_tokens,
        "seed": seed_of_study(run),
        "precision": precision_of(run),
        "code": stage_identity(
            "trial", {}, rooms=["tasks.training"], libraries=(*_LIBRARIES, *libraries_of(precision_of(run)))
        ),
    }


def _labels(run: RecipeRun, snapshot: str) -> tuple[str, ...] | None:
    from tasks.data.snapshots import read_snapshot

    return read_snapshot(run.settings.snapshots, snapshot).labels


def _mark_candidate(run: RecipeRun, study_name: str, adapter: str) -> None:
    """Tag the study's runs: which one left the candidate's adapter."""
    for found in run.tracker.runs(run.experiment, tags={"burnish.study": study_name}):
        named = "yes" if found.data.tags.get("burnish.adapter") == adapter else "no"
        run.tracker.set_tags(found.info.run_id, {"burnish.candidate": named})

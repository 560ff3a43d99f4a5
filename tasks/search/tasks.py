"""Prefect tasks of the search: bind the study to a worker and to MLflow."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect import task

from configs.schema import Template
from tasks.inference.options import Decoding
from tasks.models.tasks import open_worker, precision_of
from tasks.search.warm_start import resolve_warm_start, warm_start_of
from tasks.storage.lease import check_lease
from tasks.storage.shared_directories import (
    at_hand,
    fetch_checkpoints,
    remove_shared_checkpoints,
    share,
    share_checkpoints,
)
from tasks.tracking.identity import stage_identity
from tasks.tracking.recipe_run import RecipeRun
from tasks.tracking.shown_text import escaped
from tasks.training.arguments import TrainArguments
from tasks.training.identity import training_key
from tasks.training.out_of_memory import train_within_memory

if TYPE_CHECKING:
    from tasks.search.results import TrialRequest, TrialRow
    from tasks.search.study_runner import OnReport, Trainer, TrialCallbacks
    from tasks.tracking.mlflow_runs import Tracker

log = logging.getLogger("burnish")

_LIBRARIES = ("torch", "transformers", "peft", "optuna")
_LOG_EVERY_SECONDS = 10.0


@task(name="identify the study")
def search_identity(run: RecipeRun, snapshot: str, base: str, template: dict[str, Any]) -> str:
    """Hash of what the search depends on, its budgets included."""
    inputs = {
        **_study_inputs(run, snapshot, base, template),
        "training": run.recipe.training.model_dump(mode="json"),
        "search": run.recipe.search.model_dump(mode="json", exclude={"slots"}),
    }
    return stage_identity("search", inputs, rooms=["tasks.search", "tasks.training"], libraries=_LIBRARIES)


@task(name="find the warm start")
def find_warm_start(run: RecipeRun) -> None:
    """Fix on the recipe's run what its study begins with: the best parameters of the newest earlier study."""
    found = resolve_warm_start(run)
    if found is not None:
        log.info("  the search begins with the best parameters of %s: %s", found["study"], _shown(found["parameters"]))


@task(name="search fine-tunes")
def search_fine_tunes(run: RecipeRun, snapshot: str, base: str, template: dict[str, Any]) -> dict[str, Any]:
    """Run the study, or go on with it; the trials are child runs in MLflow."""
    from tasks.search.identity import study_identity
    from tasks.search.optuna_study import delete_study
    from tasks.search.study_runner import run_study

    recipe = run.recipe
    identity = study_identity(
        recipe.search, recipe.training, seed=recipe.seed, inputs=_study_inputs(run, snapshot, base, template)
    )

    study_name = f"{recipe.name}-{identity[:16]}"
    checkpoints = run.settings.checkpoints / study_name

    @contextmanager
    def open_trainer(slot: int) -> Iterator[Trainer]:
        with open_worker(run, base, slot=slot, slots=recipe.search.slots) as worker:

            def train(request: TrialRequest, on_report: OnReport) -> dict[str, Any]:
                arguments = train_arguments(
                    run, request, snapshot=snapshot, base=base, template=template, checkpoints=checkpoints
                )
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

            yield train

    study = partial(
        run_study,
        study_name=study_name,
        study_url=run.settings.study_url,
        search=recipe.search,
        training=recipe.training,
        seed=recipe.seed,
        open_trainer=open_trainer,
        callbacks=_callbacks(run, snapshot, study_name),
        warm_start=warm_start_of(run),
    )
    result = study()
    if not at_hand(run.settings, "adapters", result.adapter):
        log.warning("  the candidate's adapter is gone or damaged: the study is done anew")
        delete_study(study_name, run.settings.study_url)
        result = study()
    _mark_candidate(run, study_name, result.adapter)
    remove_shared_checkpoints(run.settings, checkpoints)
    shutil.rmtree(checkpoints, ignore_errors=True)  # every trial is on record, none will be resumed
    return {"candidate": result.adapter, "template": template, "study": result.to_json()}


def train_arguments(
    run: RecipeRun,
    request: TrialRequest,
    *,
    snapshot: str,
    base: str,
    template: dict[str, Any],
    checkpoints: Path,
) -> dict[str, Any]:
    """What the worker job `train` is asked for one trial."""
    recipe = run.recipe
    labels = _labels(run, snapshot)
    wording = Template.model_validate(template)
    decoding: Decoding = "label_scoring" if labels else "generate"
    key = training_key(
        request.training, wording,
        snapshot=snapshot, base_digest=base, precision=precision_of(run), seed=request.seed, labels=labels,
        metric=recipe.evaluation.metric, decoding=decoding, max_new_tokens=recipe.evaluation.max_new_tokens,
    )  # fmt: skip
    return TrainArguments(
        training=request.training, template=wording, snapshots=run.settings.snapshots, snapshot=snapshot,
        labels=labels, metric=recipe.evaluation.metric, decoding=decoding, seed=request.seed,
        checkpoints=checkpoints, training_key=key, adapters=run.settings.adapters,
        micro_batches=run.settings.micro_batches,
        max_new_tokens=recipe.evaluation.max_new_tokens, token_budget=recipe.evaluation.batch_tokens,
    ).model_dump(mode="json")  # fmt: skip


def _study_inputs(run: RecipeRun, snapshot: str, base: str, template: dict[str, Any]) -> dict[str, Any]:
    evaluation = run.recipe.evaluation
    return {
        "snapshot": snapshot,
        "base": base,
        "template": template,
        "metric": evaluation.metric,
        "max_new_tokens": evaluation.max_new_tokens,
        "seed": run.recipe.seed,
        "precision": precision_of(run),
        "code": stage_identity("trial", {}, rooms=["tasks.training"], libraries=_LIBRARIES),
    }


def _labels(run: RecipeRun, snapshot: str) -> tuple[str, ...] | None:
    from tasks.data.snapshots import read_snapshot

    return read_snapshot(run.settings.snapshots, snapshot).labels


def _callbacks(run: RecipeRun, snapshot: str, study_name: str) -> TrialCallbacks:
    """Each trial is a child run in MLflow: parameters, curves by step, how it ended; in Prefect, a bar shows them."""
    from tasks.search.study_runner import TrialCallbacks
    from tasks.tracking.mlflow_runs import CHILD_IDENTITY, MetricRow
    from tasks.tracking.prefect_artifacts import ProgressBar, artifact_key

    tracker = run.tracker
    metric = run.recipe.evaluation.metric
    budget = run.recipe.search.trials
    bar = ProgressBar(artifact_key(run.recipe.name, "search"), f"search: {budget} trials")
    ended: dict[str, TrialRow] = {}
    children: dict[str, str] = {}
    last_line: dict[str, float] = {}
    on_record: dict[tuple[str, str], int] = {}
    validation = f"validation_{metric}"

    def child_of(name: str) -> str:
        if name not in children:
            children[name] = run.child(
                name, kind="trial" if name.startswith("trial/") else "confirmation", snapshot=snapshot,
                identity=study_name, tags={"burnish.study": study_name}, of_any_parent=True,
            )  # fmt: skip
        return children[name]

    def is_on_record(row: TrialRow) -> bool:
        wanted = {"mlflow.runName": row.name, CHILD_IDENTITY: study_name, "burnish.state": row.state}
        return any(found.info.status in ("FINISHED", "FAILED") for found in tracker.runs(run.experiment, tags=wanted))

    def on_started(request: TrialRequest) -> None:
        check_lease(run.recipe.name)
        child = child_of(request.name)
        tracker.log_params(child, {**request.training.model_dump(mode="json"), "seed": request.seed})
        for key in ("loss", validation):
            on_record[request.name, key] = tracker.last_step(child, key)
        log.info("  %s starts: %s", request.name, _shown(request.parameters))

    def on_step(request: TrialRequest, report: Mapping[str, Any]) -> None:
        step = report["step"]
        if report["kind"] == "memory":
            _note_memory(tracker, child_of(request.name), report)
            return
        if report["kind"] == "validation":
            check_lease(run.recipe.name)
            rows = [MetricRow(validation, report["value"], step)]
        else:
            rows = [MetricRow(key, report[key], step) for key in ("loss", "learning_rate", "records_per_second")]
        # a fine-tune that was interrupted does some steps again, and replays its looks: each is put on record once
        if step > on_record[request.name, rows[0].key]:
            tracker.log_metrics_batch(child_of(request.name), rows)
        if report.get("replayed"):
            return
        if report["kind"] == "validation":
            log.info("  %s step %d: validation %.3f", request.name, report["step"], report["value"])
        elif time.monotonic() - last_line.get(request.name, 0.0) > _LOG_EVERY_SECONDS:
            last_line[request.name] = time.monotonic()
            log.info(
                "  %s step %d/%d: loss %.3f, %.1f records/s, %.0f s left",
                request.name, report["step"], report["steps"], report["loss"],
                report["records_per_second"], report["seconds_left"],
            )  # fmt: skip

    def put_on_record(row: TrialRow) -> None:
        child = child_of(row.name)
        values = {
            "validation_best": row.value, "training_seconds": row.seconds, "memory_peak_mb": row.memory_peak_mb
        }  # fmt: skip
        rows = [MetricRow(key, value, row.steps) for key, value in values.items() if value is not None]
        tracker.log_metrics_batch(child, rows)
        tracker.set_tags(child, {"burnish.state": row.state, "burnish.adapter": row.adapter or ""})
        tracker.describe(child, _outcome(row, metric))
        tracker.finish(child, "FAILED" if row.state in ("failed", "refused") else "FINISHED")

    def on_ended(row: TrialRow) -> None:
        if row.name in children or not is_on_record(row):
            put_on_record(row)
        log.info("  %s %s: %s", row.name, row.state, row.reason or row.value)
        ended[row.name] = row
        best = max((each.value for each in ended.values() if each.value is not None), default=None)
        bar.show(len(ended) / budget, f"{len(ended)} fine-tunes ended, {budget} trials planned, best {best}")

    return TrialCallbacks(on_trial_started=on_started, on_step=on_step, on_trial_ended=on_ended)


def _note_memory(tracker: Tracker, child: str, report: Mapping[str, Any]) -> None:
    """Put the predicted peak and the micro-batch on record, and warn where memory is short."""
    from tasks.tracking.mlflow_runs import MetricRow

    keys = ("memory_predicted_mb", "micro_batch_size")
    tracker.log_metrics_batch(child, [MetricRow(key, report[key], report["step"]) for key in keys])
    if report["advice"]:
        log.warning("  %s", report["advice"])


def _outcome(row: TrialRow, metric: str) -> str:
    """How a fine-tune ended, as Markdown."""
    best = f", best validation {escaped(metric)} {row.value:.3f}" if row.value is not None else ""
    reason = f": {escaped(row.reason)}" if row.reason else ""
    return f"**{row.state}**{reason}{best}, {row.steps} steps in {row.seconds:.0f} s"


def _mark_candidate(run: RecipeRun, study_name: str, adapter: str) -> None:
    """Tag the study's runs: which one left the candidate's adapter."""
    for found in run.tracker.runs(run.experiment, tags={"burnish.study": study_name}):
        named = "yes" if found.data.tags.get("burnish.adapter") == adapter else "no"
        run.tracker.set_tags(found.info.run_id, {"burnish.candidate": named})


def _shown(parameters: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{key}={value:.3g}" if isinstance(value, float) else f"{key}={value}" for key, value in parameters.items()
    )

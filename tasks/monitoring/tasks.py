"""Prefect tasks of the monitoring room: fetch, decide, store."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prefect import task
from prefect.artifacts import create_markdown_artifact

from configs.errors import ServerError
from configs.requests import NotifyRequest, RetrainRequest, WatchRequest
from configs.roots import check_changeable, recipe_reference
from configs.schema import Recipe
from configs.settings import Settings, settings_from
from tasks.monitoring.retrain_policy import RetrainDecision, recipe_key, should_ask_again, should_retrain
from tasks.monitoring.source_watch import Watched, look_at_source, remember
from tasks.storage.faults import reach
from tasks.storage.lease import is_held
from tasks.storage.locks import locks_of
from tasks.tracking.prefect_artifacts import artifact_key
from tasks.tracking.prefect_events import DATA_CHANGED, RETRAIN_REQUESTED, emit_recipe_event
from tasks.tracking.recipe_run import RecipeRun, tracker_at
from tasks.tracking.stage_ledger import StageRecord

log = logging.getLogger("burnish")

_DATA_CHANGES = "retrain/data_changes.json"
_SLICE_CHANGES = "retrain/slice_changes.json"
_CHANGES_TAG = "burnish.data_changes"


@task(name="decide whether to retrain")
def decide_retrain(recipe: Recipe, project_root: Path, request: RetrainRequest) -> RetrainDecision:
    """Compare source, base model and recipe with what was trained, and say what follows and why.

    The caller holds the recipe's lease.
    """
    from tasks.monitoring.markdown import decision_as_markdown
    from tasks.monitoring.retrain_facts import gather_facts

    settings = settings_from(project_root=project_root)
    tracker, now = tracker_at(settings), datetime.now(UTC)
    facts = gather_facts(tracker, recipe, settings, project_root=project_root, request=request, now=now)
    decision = should_retrain(facts, recipe.retraining)
    outcome = "retrain" if decision.go else "skipped"
    experiment = tracker.experiment(recipe.name)
    if not decision.go:
        tracker.close_leftovers(experiment, keep=None)
    tracker.tag_experiment(
        experiment,
        {"burnish.retrain": f"{now.isoformat(timespec='seconds')} {outcome}: {decision.sentence}"},
    )
    _show(recipe.name, "retrain-decision", decision_as_markdown(recipe.name, decision))
    if decision.go:  # why it is skipped, the flow's final state says
        log.info("retrain: %s", decision.sentence)
    return decision


@task(name="begin the retrain")
def begin_retrain(run: RecipeRun, decision: RetrainDecision) -> None:
    """Mark the run as a retrain, with its reasons."""
    from tasks.monitoring.retrain_facts import RETRAIN_KEY

    run.tracker.set_tags(run.run_id, {RETRAIN_KEY: decision.key, "burnish.retrain.reasons": decision.sentence})


@task(name="compare with the champion's data")
def compare_data(run: RecipeRun, checked: StageRecord) -> str:
    """Tell what the data gained and lost since the champion (else the newest finished run) was trained.

    Done once for a run and its data: after the promotion the champion may be this run's own candidate. Where those
    records are gone it says so, and the retrain goes on.
    """
    from tasks.data.snapshots import read_snapshot
    from tasks.monitoring.data_changes import compare_records
    from tasks.monitoring.markdown import data_changes_as_markdown
    from tasks.monitoring.retrain_facts import trained_snapshot

    earlier = trained_snapshot(run.tracker, run.recipe.name, run.experiment, settings=run.settings)
    if earlier is None or _is_compared(run, checked.outputs["snapshot"]):
        return ""
    if not earlier.is_here:
        gone = f"the records that {earlier.name} was trained on are not here any more: nothing to compare with"
        run.tracker.set_tags(run.run_id, {_CHANGES_TAG: gone})
        _show(run.recipe.name, "data-changes", f"{gone}\n")
        log.warning("  %s", gone)
        return gone
    before = read_snapshot(run.settings.snapshots, earlier.snapshot)
    now = read_snapshot(run.settings.snapshots, checked.outputs["snapshot"])
    changes = compare_records(before.records, now.records, has_labels=now.labels is not None)
    snapshots = {"snapshot_before": before.digest, "snapshot_now": now.digest}
    values = {"reference": earlier.name, **snapshots, **asdict(changes)}
    markdown = data_changes_as_markdown(earlier.name, changes)
    run.tracker.log_text(run.run_id, markdown, "retrain/data_changes.md")
    run.tracker.set_tags(run.run_id, {_CHANGES_TAG: changes.sentence})
    _show(run.recipe.name, "data-changes", markdown)
    log.info("  data since %s: %s", earlier.name, changes.sentence)
    reach("retrain:data-compared")
    run.tracker.log_text(run.run_id, json.dumps(values, indent=1, ensure_ascii=False), _DATA_CHANGES)  # done: last
    return changes.sentence


def _is_compared(run: RecipeRun, snapshot: str) -> bool:
    """Whether the run holds a comparison of just this snapshot: a continued run may have other data by now."""
    stored = run.tracker.read_text(run.run_id, _DATA_CHANGES)
    return stored is not None and json.loads(stored)["snapshot_now"] == snapshot


@task(name="compare slices with the champion")
def compare_slices(run: RecipeRun, stages: Sequence[StageRecord]) -> int:
    """Leave the table of old champion and new candidate by slice; return how many slices it has."""
    from tasks.monitoring.markdown import slice_changes_as_markdown
    from tasks.monitoring.slice_changes import slice_changes

    outputs = {stage.name: stage.outputs for stage in stages}
    cards = {card["kind"]: card for card in outputs["evaluate"]["scorecards"]}
    if "champion" not in cards:
        return 0
    champion, candidate = cards["champion"], cards["candidate"]
    changes = slice_changes(champion, candidate, outputs["promote"]["decision"]["slices"])
    columns: dict[str, list[Any]] = {
        "slice": [f"{row.slice} {row.value}" for row in changes],
        "records": [row.n for row in changes],
        champion["name"]: [row.champion for row in changes],
        "candidate": [row.candidate for row in changes],
        "difference": [row.difference for row in changes],
        "blocks": [row.blocks for row in changes],
    }
    run.tracker.log_table(run.run_id, columns, _SLICE_CHANGES)
    _show(run.recipe.name, "slice-changes", slice_changes_as_markdown(champion["name"], changes))
    return len(changes)


@task(name="remember what was trained")
def remember_trained(run: RecipeRun, base: str, stages: Sequence[StageRecord]) -> None:
    """Tag the run with what it trained on: later triggers for just the same are skipped."""
    from tasks.monitoring.retrain_facts import WhatIsTrained

    outputs = {stage.name: stage.outputs for stage in stages}
    trained = WhatIsTrained(outputs["prepare"]["source"], base, recipe_key(run.recipe.model_dump(mode="json")))
    run.tracker.set_tags(run.run_id, trained.as_tags(snapshot=outputs["validate"]["snapshot"]))
    reach("retrain:remembered")


@task(name="look at the source")
def look_and_tell(recipe: Recipe, project_root: Path, request: WatchRequest) -> Watched:
    """Compare the source with the last look, tell Prefect of a change, and only then remember it.

    Where nothing changed, a retrain that is due though nobody does it is asked for.

    Raises:
        RecipeError: the request has overrides that the retrain which it asks for would refuse.
        DataError: the source can't be read.
        ServerError: no Prefect server took the event.
    """
    check_changeable(request.overrides, Path(request.recipe))
    settings = settings_from(project_root=project_root)
    look = look_at_source(recipe, settings, project_root=project_root)
    seen, now, due = look.seen, datetime.now(UTC), ""
    told = {"recipe": recipe_reference(request.recipe), "overrides": list(request.overrides)}
    if look.outcome == "changed":
        what = {"source": seen.digest, "before": look.before, "change": seen.changes}
        occasion = f"{seen.changes}\0{look.before}\0{seen.digest}"
        _tell(DATA_CHANGED, recipe, occasion=occasion, payload={**told, **what})
        remember(seen.told(now, requests=seen.requests), recipe, settings)
    elif look.outcome == "first look":
        remember(seen, recipe, settings)
    elif due := _overdue(recipe, settings, project_root, told_hours_ago=seen.told_hours_ago(now), now=now):
        number = seen.requests + 1
        _tell(RETRAIN_REQUESTED, recipe, occasion=f"due {number}", payload={**told, "reason": f"it is due: {due}"})
        remember(seen.told(now, requests=number), recipe, settings)
    watched = Watched(look.outcome, due)
    log.info("source of %s: %s", recipe.name, watched.sentence)
    return watched


def _overdue(
    recipe: Recipe, settings: Settings, project_root: Path, *, told_hours_ago: float | None, now: datetime
) -> str:
    """Why a retrain is to be asked for; nothing where none is due, or somebody works on the recipe."""
    from tasks.monitoring.retrain_facts import gather_facts

    nobody_asks = RetrainRequest(recipe=recipe.name)
    facts = gather_facts(
        tracker_at(settings), recipe, settings, project_root=project_root, request=nobody_asks, now=now
    )
    if not should_ask_again(facts, recipe.retraining, told_hours_ago=told_hours_ago):
        return ""
    if is_held(locks_of(settings), recipe.name):  # last, since to look is to hold it for a moment
        return ""
    return should_retrain(facts, recipe.retraining).sentence


def _tell(event: str, recipe: Recipe, *, occasion: str, payload: dict[str, Any]) -> None:
    if emit_recipe_event(event, recipe.name, occasion=occasion, payload=payload) is None:
        raise ServerError(
            f"no Prefect server took the event {event} of {recipe.name!r}; start one or correct PREFECT_API_URL: the "
            "next look tells it again"
        )


@task(name="tell the webhook", retries=2, retry_delay_seconds=5)
def tell_webhook(recipe: Recipe, request: NotifyRequest) -> bool:
    """Post what became of a retrain; False where the recipe names no webhook."""
    from tasks.monitoring.webhook import post_to_webhook

    what = {"failed": "failed", "crashed": "crashed", "rejected": "trained a candidate that was rejected"}
    message = {
        "text": f"Burnish: the retrain of {recipe.name} {what[request.outcome]}; see Prefect's flow run",
        "recipe": recipe.name,
        "outcome": request.outcome,
        "flow_run": request.flow_run,
        "flow_run_name": request.flow_run_name,
    }
    told = post_to_webhook(recipe.retraining, message, environment=os.environ)
    log.info("webhook of %s: %s", recipe.name, "told" if told else "the recipe names none")
    return told


def _show(recipe_name: str, what: str, markdown: str) -> None:
    key = artifact_key(recipe_name, what)
    create_markdown_artifact(key=key, markdown=markdown, description=f"{what.replace('-', ' ')} of {recipe_name}")

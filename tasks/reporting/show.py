"""Find what an earlier run said of itself."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from configs.errors import BurnishError
from configs.hints import closest
from configs.settings import Settings
from tasks.reporting.summary import SUMMARY_FILE, RunSummary, summary_from_json
from tasks.tracking.recipe_run import tracker_at

if TYPE_CHECKING:
    from tasks.tracking.mlflow_runs import Tracker


def latest_summary(settings: Settings, named: str | None) -> RunSummary:
    """Return the summary of the newest run that reached its end.

    Args:
        settings: where MLflow is.
        named: a recipe, a version, or a run's id; None: of any recipe.

    Raises:
        BurnishError: there is none.
        RegistryError: there is no such version.
    """
    tracker = tracker_at(settings)
    recipe_name = run_of_version(tracker, named) if named and is_version(named) else named
    for summary in finished_runs(tracker, recipe_name):
        return _with_present_aliases(tracker, _with_its_own_report(tracker, summary))
    raise BurnishError(no_finished_run(tracker, settings, recipe_name))


def no_finished_run(tracker: Tracker, settings: Settings, recipe_name: str | None) -> str:
    """Say that a recipe has no finished run (None: that no recipe has), which ones have, and what to do."""
    what = f"of recipe {recipe_name!r}" if recipe_name else "at all"
    recipes = recipes_with_runs(tracker) if recipe_name else []
    if recipe_name in recipes:
        return f"no run {what} has reached its end; `burnish finetune` on its file goes on with the newest"
    there_are = f", {there_are_runs(recipe_name, recipes)}" if recipe_name and recipes else ""
    return f"no finished run {what} in {settings.home}{there_are}; run `burnish finetune --recipe FILE` first"


def there_are_runs(named: str, recipes: Sequence[str]) -> str:
    """Which recipes have runs, and which of them was probably meant."""
    close = closest(named, recipes)
    return f"there are runs of {', '.join(recipes)}" + (f" (did you mean {close}?)" if close else "")


def is_version(named: str) -> bool:
    """Whether this names a registered version, as `tickets/2` and `tickets@champion` do."""
    return "/" in named or "@" in named


def run_of_version(tracker: Tracker, reference: str) -> str:
    """Return the id of the run that registered a version.

    Raises:
        BurnishError: that run has no end, or there is none.
        RegistryError: there is no such version.
    """
    from tasks.registry.mlflow_versions import resolve_version

    version = resolve_version(tracker, reference)
    if next(finished_runs(tracker, version.run_id or "none"), None) is None:
        raise BurnishError(
            f"the run that registered {version.name}/{version.version} is not finished, was deleted, or was none of "
            "Burnish's; `burnish runs` lists those that are"
        )
    return version.run_id


def finished_runs(tracker: Tracker, named: str | None) -> Iterator[RunSummary]:
    """Yield the summaries of the runs that reached their end, newest first.

    `named` is a recipe, or the id of one run in MLflow; None: of every recipe.
    """
    with tracker.explained("list experiments"):
        experiments = tracker.client.search_experiments()
    found = [
        run
        for experiment in [each for each in experiments if each.name == named] or experiments
        for run in tracker.runs(experiment.experiment_id, tags={"burnish.kind": "recipe"})
        if named in (None, experiment.name, run.info.run_id)
    ]
    for run in sorted(found, key=lambda run: run.info.start_time, reverse=True):
        text = tracker.read_text(run.info.run_id, SUMMARY_FILE)
        if text is not None:
            yield summary_from_json(json.loads(text))


def recipes_with_runs(tracker: Tracker) -> list[str]:
    """Return the names of the recipes that were ever begun."""
    with tracker.explained("list experiments"):
        experiments = tracker.client.search_experiments()
    tags = {"burnish.kind": "recipe"}
    return sorted(each.name for each in experiments if tracker.runs(each.experiment_id, tags=tags))


def _with_its_own_report(tracker: Tracker, summary: RunSummary) -> RunSummary:
    """The summary with the place of its report: the file of the recipe holds that of the newest run."""
    newest = next(finished_runs(tracker, summary.recipe))
    if newest.run_id == summary.run_id:
        return summary
    return replace(summary, report=f"{Path(summary.report).name} among the artifacts of run {summary.run_id} in MLflow")


def _with_present_aliases(tracker: Tracker, summary: RunSummary) -> RunSummary:
    """The summary with the aliases that the version has now: they may have moved since the run."""
    from tasks.registry.mlflow_versions import aliases_of

    name, version = summary.model["name"], summary.model["version"]
    held = sorted(alias for alias, holder in aliases_of(tracker, name).items() if holder == version)
    return replace(summary, model={**summary.model, "aliases": held})

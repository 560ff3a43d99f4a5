"""From an organisation's own examples to a fine-tune that is proven, or the proof that something cheaper is enough."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from prefect import flow, tags

from configs.schema import Recipe
from configs.settings import settings_from
from flows.baseline import baseline
from flows.evaluate import evaluate
from flows.prepare import prepare
from flows.promote import promote
from flows.register import register
from flows.search import search
from flows.validate import validate
from tasks.models.tasks import resolve_base, shared_workers
from tasks.reporting.summary import RunSummary
from tasks.reporting.tasks import write_report
from tasks.tracking.prefect_server import run_tags
from tasks.tracking.recipe_run import open_recipe_run
from tasks.tracking.tasks import close_dead_runs

Stage = Literal["prepare", "validate", "baseline", "search", "evaluate"]
"""Where a run may end early."""


@flow(name="finetune", flow_run_name="{recipe.name}")
def finetune(recipe: Recipe, project_root: Path, until: Stage | None = None) -> RunSummary | None:
    """Prepare, validate, baseline, search, evaluate, register, promote, report; finished stages are reused.

    `until` ends the run after that stage; then there is no summary.
    """
    settings = settings_from(project_root=project_root)
    opened = open_recipe_run(recipe, settings, project_root=project_root)
    with opened as run, shared_workers(), tags(*run_tags(recipe.name, settings.home)):
        close_dead_runs(recipe.name, settings.home)
        base = resolve_base(run)
        prepared = prepare(run)
        if until == "prepare":
            return None
        checked = validate(run, prepared, base)
        if until == "validate":
            return None
        cheaper = baseline(run, checked, base)
        if until == "baseline":
            return None
        study = search(run, checked, cheaper, base)
        if until == "search":
            return None
        scores = evaluate(run, checked, cheaper, study, base)
        if until == "evaluate":
            return None
        version = register(run, checked, study, base)
        decision = promote(run, checked, scores, version)
        return write_report(run, [prepared, checked, cheaper, study, scores, version, decision])

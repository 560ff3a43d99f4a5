"""From an organisation's own examples to a fine-tune that is proven, or the proof that something cheaper is enough."""

from __future__ import annotations

from collections.abc import Iterator

from prefect import flow, tags

from configs.requests import FinetuneRequest
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
from tasks.tracking.recipe_run import RecipeRun, open_recipe_run
from tasks.tracking.stage_ledger import StageRecord
from tasks.tracking.tasks import close_dead_runs, name_flow_run, read_recipe


@flow(name="finetune", flow_run_name="{request.recipe}")
def finetune(request: FinetuneRequest) -> RunSummary | None:
    """Prepare, validate, baseline, search, evaluate, register, promote, report; finished stages are reused."""
    recipe, project_root = read_recipe(request)
    settings = settings_from(project_root=project_root)
    opened = open_recipe_run(recipe, settings, project_root=project_root)
    with opened as run, shared_workers(), tags(*run_tags(recipe.name, settings.home)):
        close_dead_runs(recipe.name, settings.home)
        base = resolve_base(run)
        records = []
        for record in _stages(run, base):
            records.append(record)
            if record.name == "validate":
                name_flow_run(recipe.name, snapshot=record.outputs["snapshot"])
            if record.name == request.until:
                return None
        return write_report(run, records)


def _stages(run: RecipeRun, base: str) -> Iterator[StageRecord]:
    """Each stage when the one before it is done."""
    yield (prepared := prepare(run))
    yield (checked := validate(run, prepared, base))
    yield (cheaper := baseline(run, checked, base))
    yield (study := search(run, checked, cheaper, base))
    yield (scores := evaluate(run, checked, cheaper, study, base))
    yield (version := register(run, checked, study, base))
    yield promote(run, checked, scores, version)

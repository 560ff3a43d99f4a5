"""From an organisation's own examples to a fine-tune that is proven, or the proof that something cheaper is enough."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

from prefect import flow, tags

from configs.requests import FinetuneRequest, RecipeRequest, Stage
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
from tasks.monitoring.tasks import remember_trained
from tasks.reporting.summary import RunSummary
from tasks.reporting.tasks import write_report
from tasks.search.tasks import find_warm_start
from tasks.tracking.prefect_server import run_tags
from tasks.tracking.prefect_turns import came_through_prefect, in_turn, training_turn
from tasks.tracking.recipe_run import RecipeRun, hold_recipe, open_recipe_run
from tasks.tracking.stage_ledger import StageRecord
from tasks.tracking.tasks import close_dead_runs, name_runs, read_recipe

AfterStage = Callable[[StageRecord], object]


@flow(name="finetune", flow_run_name="{request.recipe}")
def finetune(request: FinetuneRequest, until: Stage | None = None) -> RunSummary | None:
    """Prepare, validate, baseline, search, evaluate, register, promote, report; finished stages are reused.

    Args:
        request: The recipe, and what differs from it.
        until: End after this stage; leave it out to run every stage.
    """
    recipe, project_root = read_recipe(request)
    patient = came_through_prefect()
    with recipe_held(recipe, project_root, patient=patient), recipe_at_work(recipe, project_root) as (run, base):
        if recipe.search.warm_start:
            find_warm_start(run)
        stages = run_stages(run, base, until=until)
        return conclude(run, base, stages, request=request) if until is None else None


@contextmanager
def recipe_held(recipe: Recipe, project_root: Path, *, patient: bool = False) -> Iterator[None]:
    """Hold the recipe's lease, and close the flow runs that dead processes left open.

    Unless `patient`, a recipe that is worked on already is refused.
    """
    settings = settings_from(project_root=project_root)
    turn = in_turn(lambda: hold_recipe(recipe.name, settings), patient=patient)
    with turn, tags(*run_tags(recipe.name, settings.installation)):
        close_dead_runs(recipe.name, settings.installation)
        yield


@contextmanager
def recipe_at_work(recipe: Recipe, project_root: Path) -> Iterator[tuple[RecipeRun, str]]:
    """Wait for this machine's turn; then hold the parent run and the workers of a recipe that is held.

    Gives the run and the digest of the base model.
    """
    settings = settings_from(project_root=project_root)
    opened = open_recipe_run(recipe, settings, project_root=project_root)
    with training_turn(settings, recipe.name), opened as run, shared_workers():
        yield run, resolve_base(run)


def run_stages(
    run: RecipeRun, base: str, *, until: Stage | None = None, after: Mapping[str, AfterStage] = MappingProxyType({})
) -> list[StageRecord]:
    """Run the stages, all of them or up to `until`; `after` names what is done when a stage is."""
    records = []
    for record in _stages(run, base):
        records.append(record)
        if record.name == "validate":
            name_runs(run, snapshot=record.outputs["snapshot"])
        if record.name in after:
            after[record.name](record)
        if record.name == until:
            break
    return records


def conclude(run: RecipeRun, base: str, stages: list[StageRecord], *, request: RecipeRequest) -> RunSummary:
    """Report on all the stages, and remember what was trained."""
    summary = write_report(run, base, stages, request)
    remember_trained(run, base, stages)
    return summary


def _stages(run: RecipeRun, base: str) -> Iterator[StageRecord]:
    """Each stage when the one before it is done."""
    yield (prepared := prepare(run))
    yield (checked := validate(run, prepared, base))
    yield (cheaper := baseline(run, checked, base))
    yield (study := search(run, checked, cheaper, base))
    yield (scores := evaluate(run, checked, cheaper, study, base))
    yield (version := register(run, checked, study, base))
    yield promote(run, checked, scores, version)

"""Prefect tasks of the models room, and how a stage gets a worker."""

from __future__ import annotations

from prefect import task

from tasks.models.hardware import Precision, choose_device, choose_precision, detect_hardware, threads_per_slot
from tasks.models.worker import ModelWorker
from tasks.tracking.recipe_run import RecipeRun


@task(name="resolve base model")
def resolve_base(run: RecipeRun) -> str:
    """Import the base model once and return its digest."""
    from tasks.models.base_models import import_base

    return import_base(run.recipe.base, bases=run.settings.bases, project_root=run.project_root)


def precision_of(run: RecipeRun) -> Precision:
    """The precision of the frozen base on this hardware: part of what makes a result."""
    return choose_precision(run.recipe.training.precision, detect_hardware())


def open_worker(run: RecipeRun, base: str, *, slot: int, slots: int) -> ModelWorker:
    """A process that holds the base model for a block (`with`), one of `slots` that share the machine."""
    hardware = detect_hardware()
    return ModelWorker(
        run.settings.bases / base,
        precision=precision_of(run),
        device=choose_device(hardware, slot),
        threads=threads_per_slot(hardware, slots),
    )

"""Prefect tasks of the models room, and how a stage gets a worker."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from prefect import task

from configs.schema import FolderBase, HubBase, Precision
from configs.settings import Settings
from tasks.models.hardware import (
    choose_device,
    choose_precision,
    detect_hardware,
    require_libraries_of,
    threads_per_slot,
)
from tasks.models.worker import ModelWorker
from tasks.storage.file_memory import remembering
from tasks.storage.shared_directories import at_hand, share
from tasks.tracking.recipe_run import RecipeRun

_shared: dict[tuple[str, int, int, Precision], ModelWorker] | None = None


@task(name="resolve base model")
def resolve_base(run: RecipeRun) -> str:
    """Import the base model once and return its digest; a pinned one may also come from the team's store.

    Raises:
        BaseModelError: it can't be had, or a library that the recipe's precision needs is missing.
    """
    from tasks.models.base_models import import_base

    require_libraries_of(precision_of(run))
    base, settings = run.recipe.base, run.settings
    is_away = isinstance(base, HubBase) or (
        isinstance(base, FolderBase) and not (run.project_root / base.path).is_dir()
    )
    pinned = base.digest if isinstance(base, FolderBase | HubBase) and is_away else None
    if pinned is not None and at_hand(settings, "bases", pinned):
        return pinned
    digest = import_base(base, bases=settings.bases, project_root=run.project_root, hub_allowed=settings.hub_allowed)
    share(settings, "bases", digest)
    return digest


def precision_of(run: RecipeRun) -> Precision:
    """The precision of the frozen base on this hardware: part of what makes a result."""
    return choose_precision(run.recipe.training.precision, detect_hardware())


@contextmanager
def open_worker(
    run: RecipeRun, base: str, *, slot: int, slots: int, precision: Precision | None = None
) -> Iterator[ModelWorker]:
    """A process that holds the base model for a block, one of `slots` that share the machine.

    Its precision is that of `precision_of` unless one is given. The bytes of the base are checked before it is loaded.

    Within `shared_workers` the same process serves one block after another, so that the base is loaded once.

    Raises:
        BaseModelError: the base is damaged.
    """
    precision = precision or precision_of(run)
    key = (base, slot, slots, precision)
    worker = _shared.get(key) if _shared is not None else None
    if worker is not None:
        yield worker
        return
    new = worker_for(run.settings, base, precision=precision, slot=slot, slots=slots)
    if _shared is None or threading.current_thread() is not threading.main_thread():
        with new:  # the kernel ends a worker with the thread that started it, so another thread's can't be shared
            yield new
        return
    _shared[key] = new.__enter__()
    yield new


def worker_for(settings: Settings, base: str, *, precision: Precision, slot: int = 0, slots: int = 1) -> ModelWorker:
    """Return the process, not started yet, that will hold a base whose bytes were checked.

    Raises:
        BaseModelError: the base is missing or damaged.
    """
    from tasks.models.base_models import verify_base

    at_hand(settings, "bases", base)
    verify_base(settings.bases, base, digest_file=remembering(settings.file_digests))
    hardware = detect_hardware()
    return ModelWorker(
        settings.bases / base,
        precision=precision,
        device=choose_device(hardware, slot),
        threads=threads_per_slot(hardware, slots),
    )


@contextmanager
def shared_workers() -> Iterator[None]:
    """Keep the workers that the main thread opens until the end of the block."""
    global _shared
    _shared = {}
    try:
        yield
    finally:
        workers, _shared = _shared, None
        for worker in workers.values():
            worker.close()

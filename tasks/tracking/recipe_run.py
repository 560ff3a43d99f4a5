"""One run of a recipe: what every flow and task gets, and how a stage is taken over or done."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from configs.errors import LeaseLost
from configs.schema import Recipe
from configs.settings import Settings, settings_from
from tasks.storage.durable import make_private_directory, remove_leftovers
from tasks.storage.interrupts import raise_if_interrupted
from tasks.storage.lease import check_lease, home_in_use, recipe_lease
from tasks.storage.locks import locks_of
from tasks.storage.processes import family_peak_rss_mb
from tasks.tracking.stage_ledger import StageRecord, find_stage, record_stage

if TYPE_CHECKING:
    from tasks.tracking.mlflow_runs import RunKind, Tracker

log = logging.getLogger("burnish")


@dataclass(frozen=True)
class RecipeRun:
    """The recipe at work: small values, which Prefect shows with each flow run and never reads back."""

    recipe: Recipe
    project_root: Path
    experiment: str
    """MLflow experiment id."""
    run_id: str
    """MLflow id of the parent run."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        """An instance, and nothing else: the recipe was checked, and seven flows' schemas of it take a second."""
        from pydantic_core import core_schema

        return core_schema.is_instance_schema(cls)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: Any, handler: Any) -> dict[str, Any]:
        return {"type": "object"}

    @property
    def settings(self) -> Settings:
        """Places and URLs, read where they are used: a URL may hold a password, and Prefect shows parameters."""
        return settings_from(project_root=self.project_root)

    @property
    def tracker(self) -> Tracker:
        """The door to MLflow."""
        return tracker_at(self.settings)

    def child(
        self,
        name: str,
        *,
        kind: RunKind,
        snapshot: str,
        identity: str,
        tags: Mapping[str, str] = MappingProxyType({}),
        of_any_parent: bool = False,
    ) -> str:
        """Return a child run as `Tracker.child` does, with its data and the tags by which people filter runs."""
        common = {"burnish.recipe": self.recipe.name, "burnish.snapshot": snapshot}
        child = self.tracker.child(
            self.run_id, name, kind=kind, tags={**common, **tags}, identity=identity, of_any_parent=of_any_parent
        )
        self.tracker.log_snapshot_input(child, snapshot, name=self.recipe.name)
        return child


@cache
def tracker_at(settings: Settings) -> Tracker:
    """Return this process's tracker for an installation; a team's databases are made first where they are missing.

    Raises:
        ServerError: MLflow isn't there, or a database can't be used.
    """
    from tasks.storage.postgres_databases import prepare_databases
    from tasks.tracking.mlflow_runs import Tracker

    prepare_databases(settings)
    artifacts = f"{settings.artifact_root}/mlflow" if settings.artifact_root else None
    return Tracker(
        settings.tracking_uri, settings.home,
        locks=locks_of(settings), artifacts=artifacts, installation=settings.installation,
    )  # fmt: skip


@contextmanager
def hold_recipe(recipe_name: str, settings: Settings) -> Iterator[None]:
    """Hold the recipe's lease for the block: no other process works on it.

    Raises:
        LeaseHeld: another process works on the recipe.
    """
    from tasks.storage.postgres_databases import prepare_databases

    make_private_directory(settings.home)
    prepare_databases(settings)
    with (
        recipe_lease(locks_of(settings), recipe_name),
        home_in_use(settings.home, when_alone=lambda: remove_leftovers(settings.home)),
    ):
        yield


@contextmanager
def open_recipe_run(recipe: Recipe, settings: Settings, *, project_root: Path) -> Iterator[RecipeRun]:
    """Close what dead processes left open, and continue or open the parent run; the caller holds the recipe's lease.

    The run ends as FINISHED, FAILED (an error) or KILLED (Ctrl-C, a cancelled flow), and is continued by the same
    command unless it finished.

    Raises:
        LeaseLost: the lease was lost while this process worked on the recipe.
        NotOurs: the recipe is another installation's, see `claim_recipe`.
    """
    from tasks.tracking.mlflow_runs import recipe_digest
    from tasks.tracking.ownership import claim_recipe

    tracker = tracker_at(settings)
    experiment = tracker.experiment(recipe.name)
    claim_recipe(tracker, recipe.name)
    resolved = recipe.model_dump(mode="json")
    parent = tracker.open_parent(
        experiment, recipe_digest=recipe_digest(resolved), params=resolved, run_name=recipe.name
    )
    tracker.close_leftovers(experiment, keep=parent)
    run = RecipeRun(recipe, project_root, experiment, parent)
    try:
        yield run
        check_lease(recipe.name)
    except LeaseLost:
        raise  # what is open may be another process's by now
    except BaseException as error:
        tracker.close_leftovers(experiment, keep=parent)
        tracker.finish(parent, "FAILED" if isinstance(error, Exception) else "KILLED")
        raise
    tracker.finish(parent, "FINISHED")


def run_stage(
    run: RecipeRun,
    name: str,
    *,
    identity: str,
    work: Callable[[], Mapping[str, Any]],
    still_there: Callable[[Mapping[str, Any]], bool] = lambda outputs: True,
) -> StageRecord:
    """Take over the finished stage of this identity, or do the work and record it.

    Args:
        run: the recipe at work.
        name: the stage.
        identity: see `stage_identity`.
        work: does the stage and returns its outputs.
        still_there: whether the directories that recorded outputs name can be resolved; if not, the work is redone.
    """
    check_lease(run.recipe.name)
    level = logging.DEBUG if "/" in name else logging.INFO  # parts of a stage are told by the stage
    raise_if_interrupted()
    found = find_stage(run.tracker, run.experiment, name=name, identity=identity)
    if found is not None and still_there(found.outputs):
        log.log(level, "%s: unchanged, reused", name)
        if found.run_id == run.run_id:
            return found
        return record_stage(
            run.tracker, run.run_id,
            name=name, identity=identity, outputs=found.outputs,
            seconds=found.seconds, peak_rss_mb=found.peak_rss_mb, reused=True,
        )  # fmt: skip
    log.log(level, "%s …", name)
    started = time.monotonic()
    outputs = work()
    seconds = time.monotonic() - started
    log.log(level, "%s: done in %.1f s", name, seconds)
    check_lease(run.recipe.name)
    return record_stage(
        run.tracker, run.run_id,
        name=name, identity=identity, outputs=outputs, seconds=seconds, peak_rss_mb=family_peak_rss_mb(),
    )  # fmt: skip

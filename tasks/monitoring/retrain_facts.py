"""Gather what the decision to retrain hangs on: MLflow, the registry and the source, and no model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from configs.errors import StorageError
from configs.requests import RetrainRequest
from configs.schema import Recipe
from configs.settings import Settings
from tasks.data.hub_source import with_files_here
from tasks.data.sources import source_digest
from tasks.models.base_models import import_base
from tasks.monitoring.retrain_policy import Reference, RetrainFacts, recipe_key, training_key_of
from tasks.registry.mlflow_versions import BASE, SNAPSHOT, ModelVersion, aliases_of, get_version
from tasks.storage.durable import read_manifest
from tasks.storage.file_memory import remembering
from tasks.storage.shared_directories import at_hand
from tasks.tracking.mlflow_runs import KIND

if TYPE_CHECKING:
    from mlflow.entities import Run

    from tasks.tracking.mlflow_runs import Tracker

TRAINED = "burnish.trained."
"""Prefix of the tags that a run gets when it has trained: `snapshot`, `source`, `base`, `recipe`, `key`."""
RETRAIN_KEY = "burnish.retrain.key"
"""Tag of a run that a retrain began: the key of its decision."""


@dataclass(frozen=True)
class WhatIsTrained:
    """Digests of what a run of the recipe trains on."""

    source: str
    base: str
    recipe: str

    @property
    def key(self) -> str:
        """Equal keys give equal models."""
        return training_key_of(source=self.source, base=self.base, recipe=self.recipe)

    def as_tags(self, *, snapshot: str) -> dict[str, str]:
        """What a run is tagged with once it has trained, on the records of that snapshot."""
        digests = {
            "snapshot": snapshot, "source": self.source, "base": self.base, "recipe": self.recipe, "key": self.key
        }  # fmt: skip
        return {f"{TRAINED}{name}": digest for name, digest in digests.items()}


def gather_facts(
    tracker: Tracker, recipe: Recipe, settings: Settings, *, project_root: Path, request: RetrainRequest, now: datetime
) -> RetrainFacts:
    """Look at source, base, registry and earlier runs.

    A source file or a base folder that nobody touched since the last look is not read again. A new base is imported,
    since its digest is that of the imported files.

    Raises:
        DataError: the source can't be read.
        BaseModelError: the base is missing, unsafe or damaged.
    """
    finished = tracker.runs(tracker.experiment(recipe.name), tags={KIND: "recipe"}, status="FINISHED")
    champion = find_champion_version(tracker, recipe.name)
    present = WhatIsTrained(
        source=source_digest(
            with_files_here(recipe.data, settings), project_root, digest_file=remembering(settings.file_digests)
        ),
        base=import_base(
            recipe.base, bases=settings.bases, project_root=project_root, hub_allowed=settings.hub_allowed
        ),
        recipe=recipe_key(recipe.model_dump(mode="json")),
    )
    trained_days = _days_since_end([run for run in finished if _tag(run, f"{TRAINED}key") == present.key], now)
    retrained_days = _days_since_end([run for run in finished if _tag(run, RETRAIN_KEY)], now)
    return RetrainFacts(
        source=present.source,
        base=present.base,
        recipe=present.recipe,
        reference=_reference(tracker, champion, finished, settings),
        champion_age_days=None if champion is None else _days(champion.created_at, now),
        trained_days_ago=trained_days,
        retrained_hours_ago=None if retrained_days is None else 24 * retrained_days,
        forced=request.force,
        asked=request.reason,
    )


@dataclass(frozen=True)
class TrainedSnapshot:
    """The records that the champion, else the newest finished run, was trained on."""

    name: str
    snapshot: str
    is_here: bool
    """False: its records were cleaned away, or lie on another machine that shares nothing."""


def trained_snapshot(
    tracker: Tracker, recipe_name: str, experiment: str, *, settings: Settings
) -> TrainedSnapshot | None:
    """Find the snapshot to compare new data with; None where nothing was trained."""
    champion = find_champion_version(tracker, recipe_name)
    if champion is not None:
        return _trained_snapshot(f"version {champion.version}", champion.tags.get(SNAPSHOT, ""), settings)
    for run in tracker.runs(experiment, tags={KIND: "recipe"}, status="FINISHED"):
        if _tag(run, f"{TRAINED}key"):
            return _trained_snapshot(f"run {run.info.run_id[:8]}", _tag(run, f"{TRAINED}snapshot") or "", settings)
    return None


def _trained_snapshot(name: str, snapshot: str, settings: Settings) -> TrainedSnapshot:
    return TrainedSnapshot(name, snapshot, bool(snapshot) and at_hand(settings, "snapshots", snapshot))


def find_champion_version(tracker: Tracker, name: str) -> ModelVersion | None:
    """The version with the alias `champion`, if there is one."""
    version = aliases_of(tracker, name).get("champion")
    return None if version is None else get_version(tracker, name, version=version)


def _reference(
    tracker: Tracker, champion: ModelVersion | None, finished: Sequence[Run], settings: Settings
) -> Reference | None:
    """What the champion was trained on, else the newest finished run that trained."""
    if champion is not None:
        tags = _trained_tags(tracker, champion.run_id)
        return Reference(
            f"version {champion.version}",
            source=tags.get(f"{TRAINED}source") or _source_of(champion.tags.get(SNAPSHOT), settings),
            base=champion.tags.get(BASE),
            recipe=tags.get(f"{TRAINED}recipe"),
        )
    trained = next((run for run in finished if _tag(run, f"{TRAINED}key")), None)
    if trained is None:
        return None
    source, base, recipe = (_tag(trained, f"{TRAINED}{name}") for name in ("source", "base", "recipe"))
    return Reference(f"run {trained.info.run_id[:8]}", source=source, base=base, recipe=recipe)


def _trained_tags(tracker: Tracker, run_id: str | None) -> dict[str, str]:
    """Tags of a run that finished; none of one that was cut short, so that the same command goes on with it."""
    if not run_id:
        return {}
    run = tracker.run(run_id)
    return dict(run.data.tags) if run.info.status == "FINISHED" else {}


def _source_of(snapshot: str | None, settings: Settings) -> str | None:
    """Source of a snapshot, as the one who first stored that content said; None where it is gone."""
    if snapshot is None or not at_hand(settings, "snapshots", snapshot):
        return None
    try:
        return read_manifest(settings.snapshots / snapshot).get("source_digest")
    except StorageError:
        return None


def _days_since_end(runs: Sequence[Run], now: datetime) -> float | None:
    ends = [datetime.fromtimestamp(run.info.end_time / 1000, tz=UTC) for run in runs if run.info.end_time]
    return _days(max(ends), now) if ends else None


def _days(since: datetime, now: datetime) -> float:
    return max(0.0, (now - since).total_seconds() / 86400)


def _tag(run: Run, key: str) -> str | None:
    value = run.data.tags.get(key)
    return None if value is None else str(value)

"""Has the recipe's source changed since the last look? Size and times first, then the digest."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Literal

from configs.errors import DataError, StorageError
from configs.schema import Recipe
from configs.settings import Settings
from tasks.data.hub_source import with_files_here
from tasks.data.sources import source_digest, source_files
from tasks.storage.durable import write_json
from tasks.storage.faults import reach
from tasks.storage.file_memory import file_looks, remembering

_LONGEST_WAIT_SECONDS = 60.0


@dataclass(frozen=True)
class Sighting:
    """What a look saw: all that is kept."""

    digest: str
    """Of the source."""
    changes: int
    """Changes seen since the first look; numbers the events."""
    requests: int = 0
    """Retrains asked for since the first look; numbers those events."""
    told_at: str | None = None
    """When a change was last told or a retrain asked for, in ISO 8601."""

    def told(self, now: datetime, *, requests: int) -> Sighting:
        """The same after somebody was told."""
        return replace(self, requests=requests, told_at=now.isoformat())

    def told_hours_ago(self, now: datetime) -> float | None:
        """Hours since somebody was told; None: never."""
        return None if self.told_at is None else (now - datetime.fromisoformat(self.told_at)).total_seconds() / 3600


LookOutcome = Literal["first look", "unchanged", "changed"]


@dataclass(frozen=True)
class Look:
    """One look at the source."""

    outcome: LookOutcome
    seen: Sighting
    before: str | None
    """Digest at the last look; None at the first."""


@dataclass(frozen=True)
class Watched:
    """What a look led to."""

    outcome: LookOutcome
    due: str
    """Why a retrain was asked for that is due though nobody does it; empty where none was."""

    @property
    def sentence(self) -> str:
        """Both in one line."""
        return self.outcome + (f", but a retrain is due and was asked for: {self.due}" if self.due else "")


def look_at_source(
    recipe: Recipe, settings: Settings, *, project_root: Path, pause: Callable[[float], None] = time.sleep
) -> Look:
    """Look at the source and compare it with the last look; what was seen is kept only by `remember`.

    A file that is being written is waited for until it was left alone for `retraining.settle_seconds`, so that a burst
    of writes is one change.

    Raises:
        DataError: a file is missing, or is being written all the time.
    """
    data = with_files_here(recipe.data, settings)
    _wait_until_settled(recipe, project_root, pause)
    digest = source_digest(data, project_root, digest_file=remembering(settings.file_digests))
    last = _read(settings.watched / f"{recipe.name}.json")
    if last is None:
        return Look("first look", Sighting(digest, 0), None)
    if digest == last.digest:
        return Look("unchanged", last, last.digest)
    return Look("changed", replace(last, digest=digest, changes=last.changes + 1), last.digest)


def remember(seen: Sighting, recipe: Recipe, settings: Settings) -> None:
    """Keep what a look saw, once the world has heard of it: a kill before repeats the look and the same event."""
    reach("watch:before-remember")
    write_json(settings.watched / f"{recipe.name}.json", asdict(seen))


def _wait_until_settled(recipe: Recipe, project_root: Path, pause: Callable[[float], None]) -> None:
    quiet = recipe.retraining.settle_seconds
    waited = 0.0
    while (left := quiet - _seconds_since_change(recipe, project_root)) > 0:
        if waited > _LONGEST_WAIT_SECONDS:
            raise DataError(
                f"the source of {recipe.name!r} was written all the time for {_LONGEST_WAIT_SECONDS:.0f} s; "
                "the next look reads it when it is complete (or lower retraining.settle_seconds)"
            )
        pause(left)
        waited += left


def _seconds_since_change(recipe: Recipe, project_root: Path) -> float:
    """Since any of the files was touched; of a time in the future nothing can be told, so it counts as long ago."""
    changes = [file_looks(path)["changed_ns"] / 1e9 for path in source_files(recipe.data, project_root)]
    since = time.time() - max(changes, default=0.0)
    return since if since >= 0 else float("inf")


def _read(path: Path) -> Sighting | None:
    try:
        return Sighting(**json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise StorageError(
            f"{path} can't be read ({error}); delete it, and the next look begins anew with the source as it is then"
        ) from error

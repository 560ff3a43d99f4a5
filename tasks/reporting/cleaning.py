"""What `burnish clean` removes from a home: what nothing needs, once it is old or there is too much of it.

Kept, however old: what a registered version is made of, what the newest run of each recipe and every unfinished run
names, and what MLflow and Optuna keep. All of it counts. Old flow runs: `tasks/tracking/prefect_cleaning.py`.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from configs.errors import LeaseHeld
from configs.settings import Settings
from tasks.data.hub_source import FETCHING
from tasks.storage.durable import MANIFEST
from tasks.storage.lease import home_alone
from tasks.tracking.mlflow_runs import KIND

if TYPE_CHECKING:
    from mlflow.entities import Run

    from tasks.tracking.mlflow_runs import Tracker

_DIGEST = re.compile(r"[0-9a-f]{64}")
_SECONDS_A_DAY = 86400.0
_GIB = 1024**3
_WHY_HELD = {
    "artifacts": "MLflow's files; delete runs in its UI, then `mlflow gc`",
    "cache": "what libraries keep; may be deleted by hand while nothing runs",
    "mlflow.db": "MLflow's runs; delete them in its UI, then `mlflow gc`",
    "optuna.db": "the trials of studies",
    "reports": "the HTML report of each recipe's newest run",
    "prefect": "Prefect's runs, logs and events; the old ones go",
    "servers": "logs, each cut at 10 MB",
}
_LEFTOVER = "in use, or left half done by a killed run; the next one tidies up"
_SHOWN_BYTES = 0.05 * 1024**2
"""What is smaller would be listed as 0.0 MiB."""


@dataclass(frozen=True)
class Stored:
    """One directory or file of a home that may be removed as a whole."""

    path: Path
    size_bytes: int
    age_days: float
    needed: bool

    def as_line(self, home: Path) -> str:
        """The line as printed."""
        return f"{self.path.relative_to(home)}  {_mib(self.size_bytes)}, {self.age_days:.0f} days old"

    def folder(self, home: Path) -> str:
        """The folder of the home that it lies in."""
        return self.path.relative_to(home).parts[0]


@dataclass(frozen=True)
class Held:
    """Files and folders of a home that this command never removes."""

    name: str
    size_bytes: int


@dataclass(frozen=True)
class Cleaning:
    """What was removed, or would be."""

    removed: tuple[Stored, ...]
    stored: tuple[Stored, ...]
    """What could be removed and stays."""
    held: tuple[Held, ...]
    """What is never removed, the largest first."""
    kept_bytes: int
    """What stays of the whole home."""
    over_bytes: int
    """By how much that is above the bound, since it is needed or held."""


def clean(settings: Settings, *, keep_days: float, max_gib: float | None, dry_run: bool) -> Cleaning:
    """Remove from the home what nothing needs: all older than `keep_days`, then the oldest until it has `max_gib`.

    Nothing else may be at work in the home meanwhile: what a run has made and not yet named looks like no one's.

    Raises:
        LeaseHeld: a recipe is at work in this home.
        ServerError: MLflow can't say what is needed.
    """
    from tasks.tracking.recipe_run import tracker_at

    if not settings.home.exists():
        return Cleaning((), (), (), 0, 0)
    try:
        with home_alone(settings.home):
            found = list(_stored(settings, needed=needed_names(tracker_at(settings)), now=time.time()))
            held = held_in(settings.home, besides=[each.path for each in found])
            held_bytes = sum(each.size_bytes for each in held)
            bound = None if max_gib is None else int(max_gib * _GIB)
            left = None if bound is None else bound - held_bytes
            removed = choose_removals(found, keep_days=keep_days, max_bytes=left)
            if not dry_run:
                for each in removed:
                    _remove(each.path)
    except LeaseHeld as error:
        raise LeaseHeld(f"a recipe is at work in {settings.home}; clean when it is done") from error
    stored = tuple(each for each in found if each not in removed)
    kept = held_bytes + sum(each.size_bytes for each in stored)
    return Cleaning(tuple(removed), stored, tuple(held), kept, max(0, kept - bound) if bound is not None else 0)


def what_stays(done: Cleaning, home: Path) -> Iterator[str]:
    """Say in a line for each folder what stays in it and why."""
    for folder in dict.fromkeys(each.folder(home) for each in done.stored):
        here = [each for each in done.stored if each.folder(home) == folder]
        needed = sum(each.needed for each in here)
        why = [f"{needed} needed by a version, or by a newest or unfinished run"] if needed else []
        why += [f"{len(here) - needed} not old enough"] if needed < len(here) else []
        yield f"{folder}  {_mib(sum(each.size_bytes for each in here))}, {'; '.join(why)}"
    for each in done.held:
        if each.size_bytes >= _SHOWN_BYTES:
            yield f"{each.name}  {_mib(each.size_bytes)}, {_WHY_HELD.get(each.name, _LEFTOVER)}"


def held_in(home: Path, *, besides: Collection[Path]) -> list[Held]:
    """Measure everything in the home but `besides`, by its first folder or file; the largest first."""
    elsewhere = set(besides)
    sizes: dict[str, int] = {}
    for entry in _entries(home):
        sizes[entry.name] = sizes.get(entry.name, 0) + _size(entry, besides=elsewhere)
    return [Held(name, size) for name, size in sorted(sizes.items(), key=lambda each: -each[1]) if size]


def choose_removals(found: Sequence[Stored], *, keep_days: float, max_bytes: int | None) -> list[Stored]:
    """Choose what goes: what is not needed and older than `keep_days`, then the oldest until `max_bytes` are left."""
    oldest_first = sorted((each for each in found if not each.needed), key=lambda each: -each.age_days)
    left = sum(each.size_bytes for each in found)
    removed = []
    for each in oldest_first:
        if each.age_days > keep_days or (max_bytes is not None and left > max_bytes):
            removed.append(each)
            left -= each.size_bytes
    return removed


def needed_names(tracker: Tracker) -> set[str]:
    """Return the digests that must stay, and the names of recipes with an unfinished run, whose checkpoints must."""
    from tasks.registry.mlflow_versions import ADAPTER, BASE, MADE_BY_BURNISH, SNAPSHOT

    needed: set[str] = set()
    for experiment in tracker.experiments():
        runs = tracker.runs(experiment.experiment_id, tags={KIND: "recipe"})
        unfinished = [run for run in runs if run.info.status != "FINISHED"]
        for run in {run.info.run_id: run for run in [*runs[:1], *unfinished]}.values():
            needed |= _named_by(tracker, experiment.experiment_id, run)
        if unfinished:
            needed.add(experiment.name)
    with tracker.explained("list the registered versions"):
        token = None
        while True:
            page = tracker.client.search_model_versions(f"tags.`{MADE_BY_BURNISH}` != ''", page_token=token)
            needed |= {version.tags.get(key, "") for version in page for key in (ADAPTER, BASE, SNAPSHOT)}
            token = page.token
            if not token:
                return needed - {""}


def _named_by(tracker: Tracker, experiment: str, run: Run) -> set[str]:
    """Every digest that a run's stages, its tags or its children's tags name."""
    from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

    children = tracker.runs(experiment, tags={MLFLOW_PARENT_RUN_ID: run.info.run_id})
    texts = [value for each in (run, *children) for value in each.data.tags.values()]
    for name in (key.removeprefix("burnish.stage.") for key in run.data.tags if key.startswith("burnish.stage.")):
        texts.append(tracker.read_text(run.info.run_id, f"stages/{name}.json") or "")
    return {digest for text in texts for digest in _DIGEST.findall(text)}


def _stored(settings: Settings, *, needed: Collection[str], now: float) -> Iterator[Stored]:
    folders = (
        settings.snapshots, settings.bases, settings.adapters, settings.answers, settings.references, settings.datasets
    )  # fmt: skip
    for folder in folders:
        for path in _entries(folder):
            if _DIGEST.fullmatch(path.name):
                yield _measured(path, needed=path.name in needed, now=now)
    for path in _entries(settings.checkpoints):  # <recipe>-<16 digits of the study>
        yield _measured(path, needed=path.name.rpartition("-")[0] in needed, now=now)
    for path in _entries(settings.datasets / FETCHING):  # an attempt that nobody went on with
        yield _measured(path, needed=False, now=now)
    for path in _entries(settings.quarantine):  # rows that a rule stopped or dropped: only people need them
        yield _measured(path, needed=False, now=now)


def _mib(size_bytes: int) -> str:
    return f"{size_bytes / 1024**2:.1f} MiB"


def _entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _measured(path: Path, *, needed: bool, now: float) -> Stored:
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    stats = [file.stat() for file in files]
    made = max((stat.st_mtime for stat in stats), default=now)
    age_days = max(0.0, now - made) / _SECONDS_A_DAY
    return Stored(path, sum(stat.st_size for stat in stats), age_days, needed)


def _size(path: Path, *, besides: Collection[Path]) -> int:
    """Bytes of the files at and below a path; servers may remove some meanwhile."""
    total = 0
    for folder, folders, files in os.walk(path):
        here = Path(folder)
        folders[:] = [name for name in folders if here / name not in besides]
        total += sum(_file_size(here / name) for name in files if here / name not in besides)
    return total if path.is_dir() else _file_size(path)


def _file_size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:
        return 0


def _remove(path: Path) -> None:
    """Remove a directory, its manifest first: a kill in between leaves none that looks valid."""
    if path.is_file():
        path.unlink()
        return
    (path / MANIFEST).unlink(missing_ok=True)
    shutil.rmtree(path)

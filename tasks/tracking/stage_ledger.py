"""The ledger of finished stages, kept on the recipe's run in MLflow: the only place one looks for reuse.

A stage's outputs are stored first as the artifact `stages/<name>.json`; the tag `burnish.stage.<name>` with the
identity comes last and is the commit point. A kill in between leaves a stage that is simply done again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from tasks.storage.faults import reach

if TYPE_CHECKING:
    from tasks.tracking.mlflow_runs import Tracker

_TAG = "burnish.stage."


@dataclass(frozen=True)
class StageRecord:
    """A finished stage."""

    name: str
    identity: str
    outputs: Mapping[str, Any]
    """Small JSON values: digests and run ids."""
    seconds: float
    """Time that the stage took when it was done."""
    peak_rss_mb: float
    """Largest resident memory of any process of the run up to the end of the stage, in MiB."""
    run_id: str
    """The recipe run on which it stands."""
    reused: bool
    """Whether that run took it over from an earlier run."""


def find_stage(tracker: Tracker, experiment: str, *, name: str, identity: str) -> StageRecord | None:
    """Return the newest finished stage of this name and identity in an experiment, if there is one."""
    for run in tracker.runs(experiment, tags={f"{_TAG}{name}": identity}):
        record = _read(tracker, run.info.run_id, name)
        if record is not None and record.identity == identity:
            return record
    return None


def latest_stage(tracker: Tracker, experiment: str, *, name: str, besides: str) -> StageRecord | None:
    """Return the newest finished stage of this name, of any identity, on another recipe run than `besides`."""
    for run in tracker.runs(experiment, tags={"burnish.kind": "recipe"}):
        if run.info.run_id != besides and f"{_TAG}{name}" in run.data.tags:
            record = _read(tracker, run.info.run_id, name)
            if record is not None:
                return record
    return None


def record_stage(
    tracker: Tracker,
    parent: str,
    *,
    name: str,
    identity: str,
    outputs: Mapping[str, Any],
    seconds: float,
    peak_rss_mb: float,
    reused: bool = False,
) -> StageRecord:
    """Write a finished (or taken over) stage to a recipe run: outputs first, the tag that commits it last."""
    record = StageRecord(name, identity, dict(outputs), seconds, peak_rss_mb, parent, reused)
    content = {key: value for key, value in asdict(record).items() if key != "run_id"}
    reach(f"stage:{name}:before-outputs")
    tracker.log_text(parent, json.dumps(content, sort_keys=True, ensure_ascii=False, indent=1), _path(name))
    reach(f"stage:{name}:before-commit")
    tracker.set_tags(parent, {f"{_TAG}{name}": identity})
    reach(f"stage:{name}:after-commit")
    return record


def _path(name: str) -> str:
    return f"stages/{name}.json"


def _read(tracker: Tracker, run_id: str, name: str) -> StageRecord | None:
    """Return the stored stage; None where it is missing or cut off, so that the stage is done again."""
    text = tracker.read_text(run_id, _path(name))
    if text is None:
        return None
    try:
        content = json.loads(text)
        return StageRecord(**content, run_id=run_id)
    except (ValueError, TypeError):
        return None

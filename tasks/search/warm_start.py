"""What a retrain's study begins with: the best parameters of the newest earlier one, resolved once for each run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tasks.storage.faults import reach
from tasks.tracking.recipe_run import RecipeRun
from tasks.tracking.stage_ledger import latest_stage

_TAG = "burnish.warm_start"


def resolve_warm_start(run: RecipeRun) -> dict[str, Any] | None:
    """Find the best parameters of the recipe's newest earlier study and store them on the run, unless that was done.

    A run that was killed and goes on keeps what it began with, whatever other runs found meanwhile.

    Returns:
        `run`, `study` and `parameters` of the earlier study; None where there is none.
    """
    tags = run.tracker.run(run.run_id).data.tags
    if _TAG in tags:
        stored: dict[str, Any] | None = json.loads(tags[_TAG])
        return stored
    found = None
    earlier = latest_stage(run.tracker, run.experiment, name="search", besides=run.run_id)
    if earlier is not None:
        study = earlier.outputs["study"]
        found = {"run": earlier.run_id, "study": study["study_name"], "parameters": study["best"]["parameters"]}
    run.tracker.set_tags(run.run_id, {_TAG: json.dumps(found)})
    reach("warm-start:stored")
    return found


def warm_start_of(run: RecipeRun) -> Mapping[str, Any] | None:
    """The parameters that were stored on the run; None for a run that is no retrain."""
    stored = json.loads(run.tracker.run(run.run_id).data.tags.get(_TAG, "null"))
    return None if stored is None else dict(stored["parameters"])

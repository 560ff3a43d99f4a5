"""Looks at a test set, written on the recipe's experiment in MLflow before each look: none can be taken back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tasks.storage.durable import digest_of
from tasks.storage.faults import reach

if TYPE_CHECKING:
    from tasks.tracking.mlflow_runs import Tracker

_TAG = "burnish.look."


def spend_look(tracker: Tracker, experiment: str, *, lineage: Mapping[str, Any], contest: Mapping[str, Any]) -> int:
    """Return the number of a contest's look at a line of test sets, from 1.

    The same contest keeps its number, however often it is decided; any other one is a new look. The caller holds the
    recipe's lease.

    Args:
        tracker: the door to MLflow.
        experiment: id of the recipe's experiment.
        lineage: what decides which records are test records.
        contest: who is compared with whom, and on what.
    """
    prefix = f"{_TAG}{digest_of(dict(lineage))[:12]}."
    with tracker.explained("read the looks at the test set"):
        tags = tracker.client.get_experiment(experiment).tags
    spent = {json.dumps(json.loads(tags[key]), sort_keys=True): int(key.removeprefix(prefix))
             for key in tags if key.startswith(prefix)}  # fmt: skip
    text = json.dumps(dict(contest), sort_keys=True)
    if text in spent:
        return spent[text]
    number = 1 + max(spent.values(), default=0)
    with tracker.explained("write down a look at the test set"):
        tracker.client.set_experiment_tag(experiment, f"{prefix}{number}", text)
    reach("look:written")
    return number

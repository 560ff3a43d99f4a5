"""Answers rows with a registered version in a process that can't import Burnish; copied to an empty folder and run.

Takes a job file, and leaves `answers.npz`, or `refused.json` with the reason where the version can't be loaded or run.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

NO_TOKEN = -1


class Blocked(MetaPathFinder):
    """Refuses to import some packages, whatever an editable install put on the path."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = frozenset(names)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Raise for a blocked package, and leave the others to the next finder."""
        if fullname.partition(".")[0] in self._names:
            raise ModuleNotFoundError(f"{fullname} is blocked in the parity check", name=fullname)
        return None


def main(job_file: Path) -> None:
    """Make sure that Burnish can't be imported, then answer the job."""
    gc.set_threshold(50_000, *gc.get_threshold()[1:])  # as configs/garbage.py, which can't be imported here
    job = json.loads(job_file.read_text(encoding="utf-8"))
    sys.meta_path.insert(0, Blocked(job["blocked"]))
    for name in job["blocked"]:
        _check_blocked(name)
    for name in job["hidden"]:
        sys.modules[name] = None  # type: ignore[assignment]  # counts as not installed
    answer(job_file, os.environ["MLFLOW_TRACKING_URI"])


def answer(job_file: Path, tracking_uri: str) -> None:
    """Load the version as any user with its requirements would, and answer the job's rows in batches and one at a time.

    What a batch said is the draft of each single row's answer: the version looks at each of its tokens whether the row
    alone says the same, and decodes it where it doesn't.
    """
    job: dict[str, Any] = json.loads(job_file.read_text(encoding="utf-8"))
    try:
        arrays = _answers(job, tracking_uri)
    except Exception as error:  # whatever a registered model raises is what this check is for
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        (job_file.parent / "refused.json").write_text(json.dumps({"reason": reason[:1000]}), encoding="utf-8")
        return
    import numpy as np

    np.savez(job_file.parent / "answers.npz", **arrays)


def _check_blocked(name: str) -> None:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError:
        return
    raise SystemExit(f"the parity check can import {name}, so it proves nothing")


def _answers(job: dict[str, Any], tracking_uri: str) -> dict[str, Any]:
    import mlflow
    import numpy as np
    import pandas as pd

    mlflow.set_tracking_uri(tracking_uri)
    mlflow.set_registry_uri(tracking_uri)
    model = mlflow.pyfunc.load_model(f"models:/{job['name']}/{job['version']}")
    rows = pd.DataFrame(job["rows"])
    arrays: dict[str, Any] = {}
    drafts = ""
    for run, batch_size in (("n", job["batch_size"]), ("1", 1)):
        said = model.predict(rows, params={"mode": "logits", "batch_size": batch_size, "drafts": drafts})
        # the first record is decoded token by token, as a single request is: the others are checked in one pass
        drafts = json.dumps([None, *(answer["tokens"] for answer in said[1:])])
        longest = max(1, *(len(answer["tokens"]) for answer in said)) if said else 1
        tokens = np.full((len(said), longest), NO_TOKEN, dtype=np.int64)
        for place, answer in enumerate(said):
            tokens[place, : len(answer["tokens"])] = answer["tokens"]
        arrays |= {f"tokens_{run}": tokens, f"logits_{run}": np.stack([answer["logits"] for answer in said])}
    if job["labels"]:
        chosen = list(model.predict(rows[:1]))  # alone, as a single request is
        if len(rows) > 1:
            chosen += model.predict(rows[1:], params={"batch_size": job["batch_size"]})
        arrays["labels"] = np.array([job["labels"].index(label) for label in chosen], dtype=np.int64)
    return arrays


if __name__ == "__main__":
    main(Path(sys.argv[1]))

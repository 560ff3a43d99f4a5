from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.tracking.mlflow_runs import Tracker
from tasks.tracking.stage_ledger import StageRecord, find_stage, record_stage

PROJECT = Path(__file__).parents[3]
RECORD = """
import sys
from pathlib import Path
from tasks.tracking.mlflow_runs import Tracker
from tasks.tracking.stage_ledger import record_stage
home = Path(sys.argv[1])
tracker = Tracker(f"sqlite:///{home / 'mlflow.db'}", home)
outputs = {"snapshot": "s2"}
record_stage(tracker, sys.argv[2], name="prepare", identity="new", outputs=outputs, seconds=2.0, peak_rss_mb=9.0)
"""


def open_parent(tracker: Tracker, digest: str = "a") -> tuple[str, str]:
    experiment = tracker.experiment("icd10")
    return experiment, tracker.open_parent(experiment, recipe_digest=digest, params={})


def record(tracker: Tracker, parent: str, *, identity: str = "old", snapshot: str = "s1") -> StageRecord:
    outputs = {"snapshot": snapshot}
    return record_stage(
        tracker, parent, name="prepare", identity=identity, outputs=outputs, seconds=1.5, peak_rss_mb=9.0
    )


def test_a_recorded_stage_is_found_by_its_identity(tracker: Tracker) -> None:
    experiment, parent = open_parent(tracker)

    recorded = record(tracker, parent)

    assert find_stage(tracker, experiment, name="prepare", identity="old") == recorded


@pytest.mark.parametrize(("name", "identity"), [("prepare", "other"), ("search", "old")])
def test_a_stage_of_another_identity_or_name_is_not_found(tracker: Tracker, name: str, identity: str) -> None:
    experiment, parent = open_parent(tracker)
    record(tracker, parent)

    assert find_stage(tracker, experiment, name=name, identity=identity) is None


def test_a_stage_may_have_parts(tracker: Tracker) -> None:
    experiment, parent = open_parent(tracker)
    name = "answers/test/0123456789abcdef"

    recorded = record_stage(tracker, parent, name=name, identity="i", outputs={}, seconds=0.0, peak_rss_mb=0.0)

    assert find_stage(tracker, experiment, name=name, identity="i") == recorded


def test_stages_of_earlier_runs_are_found_and_the_newest_wins(tracker: Tracker) -> None:
    experiment, first = open_parent(tracker, "a")
    record(tracker, first, snapshot="s1")
    _, second = open_parent(tracker, "b")
    record(tracker, second, snapshot="s2")

    found = find_stage(tracker, experiment, name="prepare", identity="old")

    assert found is not None
    assert (found.run_id, found.outputs) == (second, {"snapshot": "s2"})


def test_a_stage_of_a_deleted_run_is_not_found(tracker: Tracker) -> None:
    experiment, parent = open_parent(tracker)
    record(tracker, parent)
    tracker.client.delete_run(parent)

    assert find_stage(tracker, experiment, name="prepare", identity="old") is None


def test_a_stage_whose_outputs_are_damaged_is_not_found(tracker: Tracker) -> None:
    experiment, parent = open_parent(tracker)
    record(tracker, parent)
    tracker.log_text(parent, '{"name": "prep', "stages/prepare.json")

    assert find_stage(tracker, experiment, name="prepare", identity="old") is None


def test_a_redone_stage_replaces_the_earlier_one_of_its_run(tracker: Tracker) -> None:
    experiment, parent = open_parent(tracker)
    record(tracker, parent, identity="old")

    redone = record(tracker, parent, identity="new", snapshot="s2")

    assert find_stage(tracker, experiment, name="prepare", identity="new") == redone
    assert find_stage(tracker, experiment, name="prepare", identity="old") is None


@pytest.mark.parametrize("point", ["stage:prepare:before-outputs", "stage:prepare:before-commit"])
def test_a_kill_before_the_commit_leaves_the_stage_undone(tracker: Tracker, point: str) -> None:
    experiment, parent = open_parent(tracker)
    record(tracker, parent, identity="old")

    killed = record_in_another_process(tracker, parent, kill_at=point)

    assert killed == -signal.SIGKILL
    assert find_stage(tracker, experiment, name="prepare", identity="new") is None
    assert tracker.run(parent).data.tags["burnish.stage.prepare"] == "old"
    if point == "stage:prepare:before-commit":  # the tag still names the old identity, the outputs are the new ones
        assert find_stage(tracker, experiment, name="prepare", identity="old") is None


def test_a_kill_after_the_commit_leaves_the_stage_done(tracker: Tracker) -> None:
    experiment, parent = open_parent(tracker)

    record_in_another_process(tracker, parent, kill_at="stage:prepare:after-commit")

    found = find_stage(tracker, experiment, name="prepare", identity="new")
    assert found is not None
    assert found.outputs == {"snapshot": "s2"}


def record_in_another_process(tracker: Tracker, parent: str, *, kill_at: str) -> int:
    environment = {**os.environ, "BURNISH_KILL_AT": kill_at}
    command = [sys.executable, "-c", RECORD, str(tracker.home), parent]
    return subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, check=False).returncode

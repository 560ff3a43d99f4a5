"""What the decision to retrain is told, out of a real MLflow."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import pytest

from configs.loading import parse_recipe
from configs.requests import RetrainRequest
from configs.schema import Recipe
from configs.settings import Settings, settings_from
from tasks.data.snapshots import write_snapshot
from tasks.monitoring.retrain_facts import WhatIsTrained, gather_facts, trained_snapshot
from tasks.monitoring.retrain_policy import RetrainDecision, should_retrain
from tasks.monitoring.tasks import compare_data
from tasks.registry.mlflow_versions import BASE, SNAPSHOT
from tasks.tracking.mlflow_runs import Tracker
from tasks.tracking.recipe_run import RecipeRun
from tasks.tracking.stage_ledger import StageRecord
from tests.trained_home import LABELS, TrainedHome, make_records

SNAPSHOT_OF_RUN = "5" * 64


@dataclass(frozen=True)
class Place:
    """A recipe with a file of records, and its installation."""

    tracker: Tracker
    recipe: Recipe
    settings: Settings
    root: Path

    def decide(self) -> RetrainDecision:
        request = RetrainRequest(recipe="tickets")
        facts = gather_facts(
            self.tracker, self.recipe, self.settings, project_root=self.root, request=request, now=datetime.now(UTC)
        )
        return should_retrain(facts, self.recipe.retraining)

    def train(self, *, snapshot: str = SNAPSHOT_OF_RUN) -> str:
        """Leave a run as a retrain does just before it ends: what was trained is on record, it still runs."""
        request = RetrainRequest(recipe="tickets")
        now = datetime.now(UTC)
        facts = gather_facts(self.tracker, self.recipe, self.settings, project_root=self.root, request=request, now=now)
        trained = WhatIsTrained(facts.source, facts.base, facts.recipe)
        run = self.tracker.open_parent(self.tracker.experiment("tickets"), recipe_digest="r", params={})
        self.tracker.set_tags(run, trained.as_tags(snapshot=snapshot))
        return run

    def crown(self, run: str) -> None:
        """Make a version of that run the champion."""
        client = self.tracker.client
        client.create_registered_model("tickets")
        tags = {BASE: self.tracker.run(run).data.tags["burnish.trained.base"], SNAPSHOT: SNAPSHOT_OF_RUN}
        client.create_model_version("tickets", str(self.root), run, tags=tags, await_creation_for=0)
        client.set_registered_model_alias("tickets", "champion", "1")


@pytest.fixture
def place(tracker: Tracker, mlflow_home: Path, trained_home: TrainedHome, tmp_path: Path) -> Place:
    shutil.copytree(trained_home.home / "bases", mlflow_home / "bases")
    (tmp_path / "rows.jsonl").write_text(json.dumps({"prompt": "x", "completion": "a"}) + "\n")
    recipe = parse_recipe(
        {
            "name": "tickets",
            "base": {"kind": "tiny", "hidden_size": 32, "vocabulary": 300},
            "data": {"source": {"kind": "file", "path": "rows.jsonl"}},
        },
        source="test",
    )
    settings = settings_from({"BURNISH_HOME": str(mlflow_home)}, project_root=tmp_path)
    return Place(tracker, recipe, settings, tmp_path)


def test_the_newest_finished_run_is_the_reference_where_there_is_no_champion(place: Place) -> None:
    run = place.train()
    place.tracker.finish(run, "FINISHED")

    decision = place.decide()

    assert (decision.go, decision.sentence) == (False, f"nothing changed since run {run[:8]} was trained")


def test_a_champion_is_the_reference(place: Place) -> None:
    run = place.train()
    place.crown(run)
    place.tracker.finish(run, "FINISHED")

    assert place.decide().sentence == "nothing changed since version 1 was trained"


@pytest.mark.parametrize("ended", [None, "FAILED", "KILLED"])
def test_a_retrain_that_was_cut_short_after_its_promotion_goes_on(
    place: Place, ended: Literal["FAILED", "KILLED"] | None
) -> None:
    run = place.train()
    place.crown(run)
    if ended is not None:
        place.tracker.finish(run, ended)

    assert place.decide().go


def test_changed_rows_are_a_reason(place: Place) -> None:
    run = place.train()
    place.tracker.finish(run, "FINISHED")
    with (place.root / "rows.jsonl").open("a") as rows:
        rows.write(json.dumps({"prompt": "y", "completion": "b"}) + "\n")

    decision = place.decide()

    assert decision.go
    assert "the data changed since run" in decision.sentence


def test_the_records_of_a_run_are_found_and_missing_ones_are_told(place: Place) -> None:
    run = place.train()
    place.tracker.finish(run, "FINISHED")
    experiment = place.tracker.experiment("tickets")

    gone = trained_snapshot(place.tracker, "tickets", experiment, settings=place.settings)
    (place.settings.snapshots / SNAPSHOT_OF_RUN).mkdir(parents=True)
    (place.settings.snapshots / SNAPSHOT_OF_RUN / "manifest.json").write_text('{"files": {}}')
    here = trained_snapshot(place.tracker, "tickets", experiment, settings=place.settings)

    assert gone is not None and here is not None
    assert (gone.snapshot, gone.is_here, here.is_here) == (SNAPSHOT_OF_RUN, False, True)


def test_nothing_trained_has_no_records(place: Place) -> None:
    experiment = place.tracker.experiment("tickets")

    assert trained_snapshot(place.tracker, "tickets", experiment, settings=place.settings) is None


def test_a_continued_run_with_other_data_compares_that(
    place: Place, trained_home: TrainedHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BURNISH_HOME", str(place.settings.home))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr("tasks.monitoring.tasks._show", lambda *texts: None)  # needs a Prefect server
    digests = [
        write_snapshot(records, snapshots=place.settings.snapshots, source_digest="s" * 64, labels=LABELS)
        for records in (make_records(), make_records()[1:], make_records()[2:])
    ]
    place.tracker.finish(place.train(snapshot=digests[0]), "FINISHED")
    parent = place.tracker.open_parent(place.tracker.experiment("tickets"), recipe_digest="other", params={})
    run = RecipeRun(place.recipe, place.root, place.tracker.experiment("tickets"), parent)

    def compared(snapshot: str) -> str:
        return compare_data.fn(run, StageRecord("validate", "i", {"snapshot": snapshot}, 1.0, 1.0, parent, False))

    first, again, other = compared(digests[1]), compared(digests[1]), compared(digests[2])

    assert first and not again
    assert other and other != first
    stored = json.loads(place.tracker.read_text(parent, "retrain/data_changes.json") or "{}")
    assert stored["snapshot_now"] == digests[2]

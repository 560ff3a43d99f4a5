"""A change that a retrain could not take up is asked for again: the watcher over a real MLflow."""

from __future__ import annotations

import json
import shutil
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from configs.errors import ServerError
from configs.loading import parse_recipe
from configs.requests import RetrainRequest, WatchRequest
from configs.settings import settings_from
from tasks.monitoring.retrain_facts import RETRAIN_KEY, WhatIsTrained, gather_facts
from tasks.monitoring.tasks import look_and_tell
from tasks.storage.lease import recipe_lease
from tasks.storage.locks import FileLocks
from tasks.tracking.mlflow_runs import Tracker
from tests.trained_home import TrainedHome

CHANGED, REQUESTED = "burnish.data.changed", "burnish.retrain.requested"


class Place:
    """A recipe that cools down for an hour, its records, a clock, and what Prefect was told."""

    def __init__(self, tracker: Tracker, root: Path) -> None:
        self.tracker, self.root = tracker, root
        self.now = datetime.now(UTC)
        self.events: list[tuple[str, str, dict[str, Any]]] = []
        self.server_is_there = True
        self.recipe = parse_recipe(
            {
                "name": "tickets",
                "base": {"kind": "tiny", "hidden_size": 32, "vocabulary": 300},
                "data": {"source": {"kind": "file", "path": "rows.jsonl"}},
                "retraining": {"settle_seconds": 0, "cool_down_hours": 1, "retry_hours": 3},
            },
            source="test",
        )
        self.append("first")

    def append(self, prompt: str) -> None:
        with (self.root / "rows.jsonl").open("a") as rows:
            rows.write(json.dumps({"prompt": prompt, "completion": "a"}) + "\n")

    def watch(self, *, after_hours: float = 0) -> str:
        self.now += timedelta(hours=after_hours)
        told: str = look_and_tell.fn(self.recipe, self.root, WatchRequest(recipe="tickets")).sentence
        return told

    def retrain(self) -> None:
        """What a retrain leaves when it ends now."""
        settings = settings_from(project_root=self.root)
        nobody_asks = RetrainRequest(recipe="tickets")
        facts = gather_facts(
            self.tracker, self.recipe, settings, project_root=self.root, request=nobody_asks, now=self.now
        )
        run = self.tracker.open_parent(self.tracker.experiment("tickets"), recipe_digest="r", params={})
        trained = WhatIsTrained(facts.source, facts.base, facts.recipe)
        self.tracker.set_tags(run, {**trained.as_tags(snapshot="5" * 64), RETRAIN_KEY: trained.key})
        self.tracker.client.set_terminated(run, "FINISHED", end_time=int(self.now.timestamp() * 1000))

    def emit(self, event: str, recipe: str, *, occasion: str, payload: dict[str, Any]) -> uuid.UUID | None:
        if not self.server_is_there:
            return None
        self.events.append((event, occasion, payload))
        return uuid.uuid4()

    def told(self) -> list[str]:
        return [event for event, *_ in self.events]


@pytest.fixture
def place(
    tracker: Tracker, mlflow_home: Path, trained_home: TrainedHome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Place:
    monkeypatch.setenv("BURNISH_HOME", str(mlflow_home))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    shutil.copytree(trained_home.home / "bases", mlflow_home / "bases")
    made = Place(tracker, tmp_path)

    class Clock:
        @staticmethod
        def now(_: object) -> datetime:
            return made.now

    monkeypatch.setattr("tasks.monitoring.tasks.datetime", Clock)
    monkeypatch.setattr("tasks.monitoring.tasks.emit_recipe_event", made.emit)
    return made


@pytest.fixture
def skipped(place: Place) -> Place:
    """Data that changed, and were told of, half an hour after a retrain: it cools down, and skips them."""
    place.watch()
    place.retrain()
    place.append("second")
    place.watch(after_hours=0.5)
    assert place.told() == [CHANGED]
    return place


def test_data_that_changed_during_the_cool_down_are_asked_for_once_it_is_over(skipped: Place) -> None:
    cooling = skipped.watch(after_hours=0.25)
    over = skipped.watch(after_hours=0.5)
    again = skipped.watch(after_hours=0.25)

    assert (cooling, again) == ("unchanged", "unchanged")
    assert over.startswith("unchanged, but a retrain is due and was asked for: the data changed since run")
    assert skipped.told() == [CHANGED, REQUESTED]
    assert skipped.events[-1][2]["reason"].startswith("it is due: the data changed")


def test_what_was_trained_or_judged_is_not_asked_for(skipped: Place) -> None:
    skipped.watch(after_hours=1)
    skipped.retrain()

    assert [skipped.watch(after_hours=hours) for hours in (0.5, 2, 24)] == ["unchanged"] * 3
    assert skipped.told() == [CHANGED, REQUESTED]


def test_a_retrain_that_fails_is_asked_for_again_after_a_pause_each_time(skipped: Place) -> None:
    for _ in range(10):  # every request comes to nothing
        skipped.watch(after_hours=1)

    assert skipped.told() == [CHANGED, *[REQUESTED] * 4]
    assert len({occasion for _, occasion, _ in skipped.events}) == 5


def test_a_retrain_that_nobody_was_told_of_is_asked_for(place: Place) -> None:
    place.retrain()
    place.append("second")
    place.now += timedelta(hours=2)

    first, second = place.watch(), place.watch()  # the first look only remembers

    assert (first, place.told()) == ("first look", [REQUESTED])
    assert "a retrain is due" in second


def test_the_first_training_is_left_to_a_person(place: Place) -> None:
    assert [place.watch(), place.watch(after_hours=24)] == ["first look", "unchanged"]


def test_while_the_recipe_is_worked_on_nothing_is_asked_for(skipped: Place) -> None:
    with recipe_lease(FileLocks(skipped.tracker.home), "tickets"):
        assert skipped.watch(after_hours=2) == "unchanged"

    assert "a retrain is due" in skipped.watch()


def test_a_request_that_no_server_took_is_made_again_as_the_same_event(
    skipped: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    skipped.server_is_there = False
    with pytest.raises(ServerError, match="the next look tells it again"):
        skipped.watch(after_hours=1)
    skipped.server_is_there = True
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr("tasks.monitoring.tasks.remember", killed)
        skipped.watch(after_hours=1)
    skipped.watch(after_hours=1)

    requests = [occasion for event, occasion, _ in skipped.events if event == REQUESTED]
    assert len(requests) == 2
    assert len(set(requests)) == 1

"""What the promote stage leaves in the registry, on a real MLflow."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from configs.loading import parse_recipe
from tasks.data.snapshots import write_snapshot
from tasks.promotion.alias_moves import CLEARED, DECISION, alias_history, move_alias, rollback, unreviewed
from tasks.promotion.tasks import decide_and_move, promote_identity
from tasks.registry.mlflow_versions import aliases_of, get_version
from tasks.tracking.mlflow_runs import Tracker
from tasks.tracking.recipe_run import RecipeRun
from tasks.tracking.stage_ledger import StageRecord
from tests.unit.evaluation.factories import make_card, make_records

NAME = "icd10"


def stage(name: str, **outputs: Any) -> StageRecord:
    return StageRecord(name, f"identity of {name}", outputs, 1.0, 1.0, "run", False)


@dataclasses.dataclass(frozen=True)
class Stages:
    """A candidate that is better than zero-shot, registered as version 2; version 1 is or was champion."""

    run: RecipeRun
    checked: StageRecord
    scores: StageRecord
    version: StageRecord

    def decide(self, **promotion: Any) -> dict[str, Any]:
        values = self.run.recipe.model_dump(mode="json")
        values["promotion"] |= promotion
        run = dataclasses.replace(self.run, recipe=parse_recipe(values, source="test"))
        outputs: dict[str, Any] = decide_and_move.fn(run, self.checked, self.scores, self.version)["decision"]
        return outputs


@pytest.fixture
def stages(tracker: Tracker, mlflow_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stages:
    monkeypatch.setenv("BURNISH_HOME", str(mlflow_home))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for announce in ("announce_move", "announce_rejection"):  # need a Prefect server
        monkeypatch.setattr(f"tasks.promotion.tasks.{announce}", lambda *args, **keywords: None)
    monkeypatch.setattr("tasks.promotion.tasks.check_lease", lambda name: None)
    recipe = parse_recipe(
        {
            "name": NAME,
            "base": {"kind": "tiny", "hidden_size": 32, "vocabulary": 300},
            "data": {"source": {"kind": "file", "path": "rows.jsonl"}},
            "economics": {"value_per_correct_answer": 1.0},
        },
        source="test",
    )
    records = sorted(make_records(400), key=lambda record: record.record_id)  # as a snapshot holds them
    others = [
        dataclasses.replace(records[0], record_id=split, group=split, split=split) for split in ("train", "validation")
    ]
    snapshot = write_snapshot([*others, *records], snapshots=mlflow_home / "snapshots", source_digest="s" * 64)
    cards = [
        make_card(records, wrong=range(300, 400)),
        make_card(records, wrong=range(240, 400), name="champion", kind="champion"),
        make_card(records, wrong=range(200, 400), name="zero-shot", kind="prompt"),
    ]
    tracker.client.create_registered_model(NAME)
    for _ in range(2):
        tracker.client.create_model_version(NAME, (tracker.home / "artifacts").as_uri())
    move_alias(
        tracker, NAME, alias="champion", version="1", beaten_champion=None, actor="finetune", reason="", decision="d1"
    )
    experiment = tracker.experiment(NAME)
    parent = tracker.open_parent(experiment, recipe_digest="r", params={})
    shown = [json.loads(json.dumps(dataclasses.asdict(card))) for card in cards]
    return Stages(
        RecipeRun(recipe, tmp_path, experiment, parent),
        stage("validate", snapshot=snapshot),
        stage("evaluate", scorecards=shown, champion_version="1", look=1),
        stage("register", version="2", parity={"passed": True, "sentence": "logits agree"}),
    )


def test_after_a_rollback_the_decision_is_refused_by_a_veto_and_says_why(tracker: Tracker, stages: Stages) -> None:
    assert stages.decide()["promote"]
    rollback(tracker, NAME, actor="ann", reason="harmful answers")

    later = stages.decide(min_gain=0.01)

    assert not later["promote"]
    assert "ann, harmful answers" in later["reasons"][0]
    assert aliases_of(tracker, NAME) == {"champion": "1", "previous": "2"}
    assert get_version(tracker, NAME, version="2").tags[DECISION] != CLEARED


def test_a_later_gate_that_the_champion_clears_moves_nothing(tracker: Tracker, stages: Stages) -> None:
    assert stages.decide()["promote"]

    assert stages.decide(min_gain=0.01)["promote"]

    assert aliases_of(tracker, NAME) == {"champion": "2", "previous": "1"}
    assert len(alias_history(tracker, NAME)) == 2


def test_a_later_gate_that_refuses_the_champion_is_told_and_leaves_it(tracker: Tracker, stages: Stages) -> None:
    assert stages.decide()["promote"]

    later = stages.decide(min_score=0.99)

    assert not later["promote"]
    assert later["reasons"][-1].startswith("it is the champion by an earlier decision and stays so")
    assert aliases_of(tracker, NAME) == {"champion": "2", "previous": "1"}
    assert unreviewed(tracker, NAME) == {}


def test_a_version_registered_anew_is_decided_anew(stages: Stages) -> None:
    anew = dataclasses.replace(stages.version, outputs={**stages.version.outputs, "version": "3"})

    first, second = (
        promote_identity.fn(stages.run, stages.checked, stages.scores, each) for each in (stages.version, anew)
    )

    assert first != second

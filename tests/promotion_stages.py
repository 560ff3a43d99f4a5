"""The stages before a promotion, as they leave MLflow: a candidate that clears every gate against a champion."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from configs.loading import parse_recipe
from tasks.data.snapshots import write_snapshot
from tasks.promotion.alias_moves import move_alias
from tasks.promotion.tasks import decide_and_move
from tasks.tracking.mlflow_runs import Tracker
from tasks.tracking.recipe_run import RecipeRun
from tasks.tracking.stage_ledger import StageRecord
from tests.unit.evaluation.factories import make_card, make_records


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


def make_stages(tracker: Tracker, name: str, *, root: Path) -> Stages:
    """Register two versions in an installation, of which the first is champion."""
    recipe = parse_recipe(
        {
            "name": name,
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
    snapshot = write_snapshot([*others, *records], snapshots=tracker.home / "snapshots", source_digest="s" * 64)
    cards = [
        make_card(records, wrong=range(300, 400)),
        make_card(records, wrong=range(240, 400), name="champion", kind="champion"),
        make_card(records, wrong=range(200, 400), name="zero-shot", kind="prompt"),
    ]
    tracker.client.create_registered_model(name)
    for _ in range(2):
        tracker.client.create_model_version(name, (tracker.home / "artifacts").as_uri())
    move_alias(
        tracker, name, alias="champion", version="1", beaten_champion=None, actor="finetune", reason="", decision="d1"
    )
    experiment = tracker.experiment(name)
    parent = tracker.open_parent(experiment, recipe_digest="r", params={})
    shown = [json.loads(json.dumps(dataclasses.asdict(card))) for card in cards]
    return Stages(
        RecipeRun(recipe, root, experiment, parent),
        stage("validate", snapshot=snapshot),
        stage("evaluate", scorecards=shown, champion_version="1", look=1),
        stage("register", version="2", parity={"passed": True, "sentence": "logits agree"}),
    )

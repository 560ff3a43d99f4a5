"""Free text through the evaluation's own task, on a real MLflow: no model is needed to answer from memory."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from configs.loading import parse_recipe
from tasks.baselines.retrieval import SETTINGS_TRIED, retrieve_answers
from tasks.data.records import Record, SplitName, Turn
from tasks.data.snapshots import write_snapshot
from tasks.evaluation.tasks import build_scorecards
from tasks.inference.answers import write_answers
from tasks.inference.options import Option
from tasks.reporting.details import card_figures
from tasks.tracking.mlflow_runs import Tracker
from tasks.tracking.recipe_run import RecipeRun
from tasks.tracking.stage_ledger import StageRecord

SIDES = ("left", "right")
SCHEMA = {"type": "object", "properties": {"side": {"enum": list(SIDES)}, "note": {"type": "string"}}}
OPTION = Option("most similar record", "classical", classical_settings=SETTINGS_TRIED[0])


def record(number: int, split: SplitName) -> Record:
    side = SIDES[number % 2]
    completion = json.dumps({"side": side, "note": f"the {side} kidney is {number} mm long and smooth"})
    asked = f"describe the {side} kidney of patient {number} in one sentence"
    return Record(f"{split}{number}", split, f"{split}{number}", (Turn("user", asked),), completion, {})


TRAIN = [record(number, "train") for number in range(40)]
TEST = sorted((record(number, "test") for number in range(40, 100)), key=lambda each: each.record_id)


@pytest.fixture
def run(tracker: Tracker, mlflow_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RecipeRun:
    monkeypatch.setenv("BURNISH_HOME", str(mlflow_home))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    recipe = parse_recipe(
        {
            "name": "reports",
            "base": {"kind": "tiny"},
            "data": {"source": {"kind": "file", "path": "rows.jsonl"}, "json_schema": SCHEMA},
            "evaluation": {"metric": "chrf", "bootstrap_resamples": 200},
        },
        source="test",
    )
    experiment = tracker.experiment("reports")
    parent = tracker.open_parent(experiment, recipe_digest="r", params=recipe.model_dump(mode="json"))
    return RecipeRun(recipe, tmp_path, experiment, parent)


def evaluated(run: RecipeRun, *, samples: tuple[str, ...] = ()) -> dict[str, Any]:
    """Evaluate the option; `samples` are what it said by chance to the first record."""
    records = [*TRAIN, record(100, "validation"), *TEST]
    snapshot = write_snapshot(records, snapshots=run.settings.snapshots, source_digest="s" * 64)
    answers = retrieve_answers(TRAIN, TEST, settings=OPTION.classical_settings, latency_records=5)
    first, *others = answers.answers
    answers = replace(answers, answers=(replace(first, samples=samples), *others))
    found = {OPTION.name: {"answers": write_answers(answers, run.settings.answers)}}
    study = StageRecord("search", "identity", {}, 1.0, 1.0, "run", False)
    result: dict[str, Any] = build_scorecards.fn(run, snapshot, [OPTION], found, study, None, 1)
    return result


def test_free_text_is_decided_by_the_recipe_s_metric_and_shown_with_its_companions(run: RecipeRun) -> None:
    (card,) = evaluated(run)["scorecards"]

    assert (card["metric"], card["estimate"]["method"]) == ("chrf", "BCa bootstrap")
    assert 0.5 < card["estimate"]["low"] < card["estimate"]["value"] < card["estimate"]["high"] < 1
    assert card["secondary"]["json_valid"] == {
        **card["secondary"]["json_valid"], "value": 1.0, "method": "Wilson", "n": 60
    }  # fmt: skip
    assert card["secondary"]["json_fields"]["value"] == pytest.approx(0.5)
    assert card["figures"] == pytest.approx({"length_ratio": 1.0, "repeated_share": 0.0, "copied_share": 0.0})
    assert set(card_figures(card)) == {
        "exact_match", "normalised_match", "token_f1", "rouge_l", "json_valid", "json_fields",
        "length_ratio", "repeated_share", "copied_share",
    }  # fmt: skip


def test_answers_drawn_by_chance_are_compared_in_every_place(run: RecipeRun, tracker: Tracker) -> None:
    (card,) = evaluated(run, samples=("left", "left", "right"))["scorecards"]

    (scored,) = tracker.runs(run.experiment, tags={"burnish.kind": "scorecard"})
    assert card["figures"]["consistency"] == card["figures"]["consistency_words"] == pytest.approx(1 / 3)
    assert card_figures(card)["consistency"] == scored.data.metrics["consistency"] == pytest.approx(1 / 3)


def test_mlflow_shows_every_metric_for_the_option_and_for_each_row(run: RecipeRun, tracker: Tracker) -> None:
    evaluated(run)

    (scored,) = tracker.runs(run.experiment, tags={"burnish.kind": "scorecard"})
    table = json.loads(tracker.read_text(scored.info.run_id, "outputs.json") or "")
    assert {"test_chrf", "test_chrf_low", "test_rouge_l", "test_json_valid", "length_ratio"} <= set(scored.data.metrics)
    assert {"record_id", "output", "score", "chrf", "rouge_l", "json_fields"} <= set(table["columns"])
    chrf = [row[table["columns"].index("chrf")] for row in table["data"]]
    assert sum(chrf) / len(chrf) == pytest.approx(scored.data.metrics["test_chrf"])

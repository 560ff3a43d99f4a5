"""A champion is scored as it is served, whatever today's labels, recipe and hardware say."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from configs.schema import Recipe
from tasks.data.snapshots import write_snapshot
from tasks.inference.answers import option_as_json, option_from_json, read_answers
from tasks.inference.options import Conditions, Option
from tasks.inference.tasks import answer_with_model
from tasks.registry.incumbent import OPTION, find_incumbent
from tasks.registry.mlflow_versions import register_version, set_alias
from tasks.tracking.recipe_run import RecipeRun
from tests.trained_home import LABELS, MAX_NEW_TOKENS, TrainedHome, make_records

TODAY: list[tuple[str, ...] | None] = [("neither of these", "nor this"), None]


@pytest.fixture
def run(mlflow_home: Path, trained_home: TrainedHome, monkeypatch: pytest.MonkeyPatch) -> RecipeRun:
    """A recipe at work in a home of its own, with other precision and length than the champion's."""
    for kind in ("bases", "adapters"):
        shutil.copytree(trained_home.home / kind, mlflow_home / kind)
    monkeypatch.setenv("BURNISH_HOME", str(mlflow_home))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    recipe = Recipe.model_validate(
        {
            "name": "icd10", "base": {"kind": "tiny"},
            "data": {"source": {"kind": "entry_point", "name": "smoke_records"}},
            "template": {"prompt": "{{ prompt }}\n"},
            "training": {"precision": "fp32"},
            "evaluation": {"max_new_tokens": MAX_NEW_TOKENS + 1, "latency_records": 5},
        }
    )  # fmt: skip
    found = RecipeRun(recipe, mlflow_home, "", "")
    experiment = found.tracker.experiment("icd10")
    parent = found.tracker.open_parent(experiment, recipe_digest="a", params={})
    return RecipeRun(recipe, mlflow_home, experiment, parent)


@pytest.mark.parametrize("labels", TODAY, ids=["other labels", "no labels"])
def test_the_champion_answers_as_registered(
    run: RecipeRun, trained_home: TrainedHome, labels: tuple[str, ...] | None
) -> None:
    package = trained_home.package(decoding="label_scoring", precision="bf16")
    option = Option(
        "candidate", "candidate", package.template, decoding="label_scoring", adapter=trained_home.adapter
    )  # fmt: skip
    tags = {OPTION: json.dumps(option_as_json(option))}
    version = register_version(run.tracker, "icd10", run_id=run.run_id, package=package, tags=tags)
    set_alias(run.tracker, "icd10", alias="champion", version=version)
    snapshot = write_snapshot(make_records(), snapshots=run.settings.snapshots, source_digest="t" * 64, labels=labels)

    champion = find_incumbent(
        run.tracker, "icd10", candidate_identity="another", adapters=run.settings.adapters
    )  # fmt: skip
    assert champion is not None
    served = option_from_json(champion.option)
    found = answer_with_model.fn(run, snapshot, champion.base, [served], split="test", limit=4)

    assert served.conditions == Conditions(LABELS, MAX_NEW_TOKENS, "bf16")
    answers = read_answers(run.settings.answers, found[served.name]["answers"]).answers
    assert len(answers) == 4
    assert {answer.output for answer in answers} <= set(LABELS)

"""A study that is to be trained anew has a seed of its own, fixed on the recipe's run in a real MLflow."""

from __future__ import annotations

from pathlib import Path

import pytest

from configs.loading import parse_recipe
from tasks.search.fresh_seed import choose_fresh_seed, seed_of_study
from tasks.tracking.mlflow_runs import Tracker
from tasks.tracking.recipe_run import RecipeRun


@pytest.fixture
def run(tracker: Tracker, mlflow_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RecipeRun:
    monkeypatch.setenv("BURNISH_HOME", str(mlflow_home))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return open_run(tracker, tmp_path)


def open_run(tracker: Tracker, root: Path) -> RecipeRun:
    source = {"kind": "file", "path": "rows.jsonl"}
    recipe = parse_recipe({"name": "tickets", "base": {"kind": "tiny"}, "data": {"source": source}}, source="test")
    experiment = tracker.experiment("tickets")
    return RecipeRun(recipe, root, experiment, tracker.open_parent(experiment, recipe_digest="r", params={}))


def test_without_a_reason_to_train_anew_the_seed_is_the_recipes(run: RecipeRun) -> None:
    assert seed_of_study(run) == run.recipe.seed


def test_a_fresh_seed_is_another_one_and_stays_when_the_run_goes_on(tracker: Tracker, run: RecipeRun) -> None:
    fresh = choose_fresh_seed(run, key="k")
    tracker.finish(run.run_id, "KILLED")
    gone_on = open_run(tracker, run.project_root)

    assert gone_on.run_id == run.run_id
    assert fresh != run.recipe.seed
    assert choose_fresh_seed(gone_on, key="k") == seed_of_study(gone_on) == fresh


def test_the_next_run_and_other_data_get_another_fresh_seed(tracker: Tracker, run: RecipeRun) -> None:
    first = choose_fresh_seed(run, key="k")
    other_data = choose_fresh_seed(run, key="other")
    tracker.finish(run.run_id, "FINISHED")
    next_run = choose_fresh_seed(open_run(tracker, run.project_root), key="k")

    assert len({first, other_data, next_run}) == 3

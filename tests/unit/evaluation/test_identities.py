"""Every stage whose result hangs on the metric follows what the metric depends on."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from configs.loading import parse_recipe
from tasks.baselines.tasks import baseline_identity
from tasks.evaluation.contest import contest_of
from tasks.evaluation.tasks import evaluate_identity
from tasks.metrics.user_metrics import ENTRY_POINT_GROUP
from tasks.search.tasks import search_identity
from tasks.tracking.recipe_run import RecipeRun
from tasks.tracking.stage_ledger import StageRecord
from tests.unit.evaluation.factories import make_records

STUDY = StageRecord("search", "identity", {}, 1.0, 1.0, "run", False)


def run_of(evaluation: dict[str, Any], schema: dict[str, Any] | None = None) -> RecipeRun:
    data = {"source": {"kind": "file", "path": "rows.jsonl"}, "json_schema": schema}
    recipe = parse_recipe(
        {"name": "mine", "base": {"kind": "tiny"}, "data": data, "evaluation": evaluation}, source="test"
    )
    return RecipeRun(recipe, Path("/nowhere"), "1", "run")


def contest(run: RecipeRun) -> Any:
    recipe = run.recipe
    return contest_of(
        "candidate", None, records=make_records(3), evaluation=recipe.evaluation, json_schema=recipe.json_schema
    )


IDENTITIES: dict[str, Callable[[RecipeRun], Any]] = {
    "baseline": lambda run: baseline_identity.fn(run, "snapshot", "base"),
    "search": lambda run: search_identity.fn(run, "snapshot", "base", {}),
    "evaluate": lambda run: evaluate_identity.fn(run, "snapshot", [], STUDY, None),
    "contest": contest,
}


@pytest.fixture(autouse=True)
def no_fresh_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fresh seed would stand on the recipe's run in MLflow: tests/integration/search/test_fresh_seed.py."""
    monkeypatch.setattr("tasks.search.tasks.seed_of_study", lambda run: run.recipe.seed)


@pytest.fixture
def metric_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    module = tmp_path / "elsewhere_for_identity.py"
    module.write_text("def mine(output, reference):\n    return 1.0\n")
    monkeypatch.syspath_prepend(tmp_path)
    point = metadata.EntryPoint("mine", "elsewhere_for_identity:mine", ENTRY_POINT_GROUP)
    monkeypatch.setattr(metadata, "entry_points", metadata.EntryPoints([point]).select)
    yield module
    sys.modules.pop("elsewhere_for_identity", None)


@pytest.mark.parametrize("stage", IDENTITIES)
def test_a_changed_schema_is_measured_anew(stage: str) -> None:
    identity = IDENTITIES[stage]
    one, same, other = (
        identity(run_of({"metric": "json_valid"}, {"type": kind})) for kind in ("object", "object", "array")
    )

    assert one == same
    assert one != other


@pytest.mark.parametrize("stage", IDENTITIES)
def test_a_changed_metric_of_one_s_own_is_measured_anew(stage: str, metric_file: Path) -> None:
    run = run_of({"metric": "entry_point:mine"})
    before = IDENTITIES[stage](run)

    metric_file.write_text("def mine(output, reference):\n    return 0.0\n")

    assert IDENTITIES[stage](run) != before


def test_what_stands_beside_the_metric_is_measured_anew_by_the_evaluation_alone(metric_file: Path) -> None:
    run = run_of({"metric": "exact_match", "also": ["entry_point:mine"]})
    before = {stage: identity(run) for stage, identity in IDENTITIES.items()}

    metric_file.write_text("def mine(output, reference):\n    return 0.0\n")

    assert [stage for stage, identity in IDENTITIES.items() if identity(run) != before[stage]] == ["evaluate"]

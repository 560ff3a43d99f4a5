from __future__ import annotations

from pathlib import Path

import pytest
from prefect.utilities.callables import parameter_schema
from pydantic import TypeAdapter, ValidationError

from configs.loading import load_recipe
from tasks.tracking.recipe_run import RecipeRun


def stage(run: RecipeRun, base: str) -> None: ...


def test_prefect_is_not_told_of_the_recipe_by_each_flow() -> None:
    properties = parameter_schema(stage).properties

    assert properties["run"] == {"type": "object", "title": "run", "position": 0}
    assert properties["base"]["type"] == "string"


def test_a_flow_takes_the_very_run_and_nothing_that_looks_like_one() -> None:
    run = RecipeRun(load_recipe("configs/smoke.yaml"), Path(), "1", "r")
    flow_parameter = TypeAdapter(RecipeRun)

    assert flow_parameter.validate_python(run) is run
    with pytest.raises(ValidationError, match="instance of RecipeRun"):
        flow_parameter.validate_python({"run_id": "r"})

"""The expectation that a completion is JSON by a schema; it stands here since it asks what the metric asks."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd
from great_expectations.execution_engine import PandasExecutionEngine
from great_expectations.expectations.expectation import ColumnMapExpectation
from great_expectations.expectations.metrics import ColumnMapMetricProvider, column_condition_partial

from tasks.metrics.json_answers import json_check


# Great Expectations ships without usable types, so its base classes are `Any` to the type checker.
class JsonBySchema(ColumnMapMetricProvider):  # type: ignore[misc]
    """Whether each cell is one JSON value that meets the schema."""

    condition_metric_name = "column_values.json_by_schema"
    condition_value_keys = ("json_schema",)

    @column_condition_partial(engine=PandasExecutionEngine)  # type: ignore[untyped-decorator]
    def _pandas(cls, column: pd.Series[Any], json_schema: str, **_: Any) -> pd.Series[bool]:
        is_valid = json_check(json.loads(json_schema))
        return pd.Series([isinstance(cell, str) and is_valid(cell) for cell in column], index=column.index, dtype=bool)


class ExpectCompletionToBeJson(ColumnMapExpectation):  # type: ignore[misc]
    """Expect that every cell is JSON by `json_schema`, a JSON Schema as text."""

    json_schema: str
    map_metric = "column_values.json_by_schema"
    success_keys = ("json_schema", "mostly")

"""The project's own expectations about how often completions occur."""

from __future__ import annotations

from typing import Any

import pandas as pd
from great_expectations.execution_engine import PandasExecutionEngine
from great_expectations.expectations.expectation import ColumnMapExpectation, MulticolumnMapExpectation
from great_expectations.expectations.metrics import ColumnMapMetricProvider, column_condition_partial
from great_expectations.expectations.metrics.map_metric_provider import (
    MulticolumnMapMetricProvider,
    multicolumn_condition_partial,
)

from expectations.near_copies import is_respelling


def _training_counts(column_list: pd.DataFrame) -> pd.Series[Any]:
    """Return, for each row of the training split, how many training rows have its value; 0 for other rows."""
    is_training = column_list.iloc[:, 0] == "train"
    values = column_list.iloc[:, 1].str.split().str.join(" ").str.casefold()
    return is_training.groupby(values).transform("sum").where(is_training, 0)


# Great Expectations ships without usable types, so its base classes are `Any` to the type checker.
class ValueNotDominant(MulticolumnMapMetricProvider):  # type: ignore[misc]
    """Whether each training row's value has at most a given share of the training rows."""

    condition_metric_name = "multicolumn_values.not_dominant"
    condition_value_keys = ("max_share", "min_rows")

    @multicolumn_condition_partial(engine=PandasExecutionEngine)  # type: ignore[untyped-decorator]
    def _pandas(cls, column_list: pd.DataFrame, max_share: float, min_rows: int, **_: Any) -> pd.Series[bool]:
        counts = _training_counts(column_list)
        return (counts < min_rows) | (counts <= max_share * (column_list.iloc[:, 0] == "train").sum())


class ExpectValueNotToDominate(MulticolumnMapExpectation):  # type: ignore[misc]
    """Expect that no value has more than `max_share` of the training rows, once it has `min_rows` of them.

    `column_list` is the split and the value; unexpected are the training rows of a dominant value.
    """

    max_share: float
    min_rows: int
    map_metric = "multicolumn_values.not_dominant"
    success_keys = ("max_share", "min_rows", "mostly")


class ValueNotRespelled(ColumnMapMetricProvider):  # type: ignore[misc]
    """Whether no value that stands much more often is spelled nearly like each value."""

    condition_metric_name = "column_values.not_respelled"
    condition_value_keys = ("times",)

    @column_condition_partial(engine=PandasExecutionEngine)  # type: ignore[untyped-decorator]
    def _pandas(cls, column: pd.Series[Any], times: int, **_: Any) -> pd.Series[bool]:
        counts = {str(value): int(count) for value, count in column.value_counts().items()}
        common = {value: count for value, count in counts.items() if count >= times}
        odd = {
            value
            for value, count in counts.items()
            if any(other >= times * count and is_respelling(value, much) for much, other in common.items())
        }
        return ~column.isin(odd)


class ExpectValueNotToBeRespelled(ColumnMapExpectation):  # type: ignore[misc]
    """Expect that no value is a respelling of another one that stands `times` as often or more."""

    times: int
    map_metric = "column_values.not_respelled"
    success_keys = ("times", "mostly")


class ValueCommonEnough(MulticolumnMapMetricProvider):  # type: ignore[misc]
    """Whether each training row's value is found in at least a given number of training rows."""

    condition_metric_name = "multicolumn_values.common_enough"
    condition_value_keys = ("min_rows",)

    @multicolumn_condition_partial(engine=PandasExecutionEngine)  # type: ignore[untyped-decorator]
    def _pandas(cls, column_list: pd.DataFrame, min_rows: int, **_: Any) -> pd.Series[bool]:
        return (column_list.iloc[:, 0] != "train") | (_training_counts(column_list) >= min_rows)


class ExpectValueToBeCommonEnough(MulticolumnMapExpectation):  # type: ignore[misc]
    """Expect that every value of the training split has at least `min_rows` training rows.

    `column_list` is the split and the value; unexpected are the training rows of a rare value.
    """

    min_rows: int
    map_metric = "multicolumn_values.common_enough"
    success_keys = ("min_rows", "mostly")

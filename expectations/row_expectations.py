"""The project's own expectations about cells and rows, evaluated by Great Expectations over pandas.

Each is a pair as the library wants it: a metric that says for every row whether it is as expected, and the
expectation that names the metric. Importing this module registers both.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd
from great_expectations.execution_engine import PandasExecutionEngine
from great_expectations.expectations.expectation import ColumnMapExpectation, MulticolumnMapExpectation
from great_expectations.expectations.metrics import ColumnMapMetricProvider, column_condition_partial
from great_expectations.expectations.metrics.map_metric_provider import (
    MulticolumnMapMetricProvider,
    multicolumn_condition_partial,
)

from expectations.findings import FINDINGS, has_finding
from expectations.near_copies import near_copies

_PROTECTION = {"train": 0, "validation": 1, "test": 2}
"""A row that stands on two sides of the split is at fault on the less protected side: test rows stay test rows."""


# Great Expectations ships without usable types, so its base classes are `Any` to the type checker.
class TextFreeOfFinding(ColumnMapMetricProvider):  # type: ignore[misc]
    """Whether each cell is free of one finding."""

    condition_metric_name = "column_values.free_of_finding"
    condition_value_keys = ("finding",)

    @column_condition_partial(engine=PandasExecutionEngine)  # type: ignore[untyped-decorator]
    def _pandas(cls, column: pd.Series[Any], finding: str, **_: Any) -> pd.Series[bool]:
        if finding not in FINDINGS:
            raise ValueError(f"finding must be one of {', '.join(FINDINGS)}, got {finding!r}")
        return pd.Series([not has_finding(value, finding) for value in column], index=column.index, dtype=bool)


class ExpectTextToBeFreeOf(ColumnMapExpectation):  # type: ignore[misc]
    """Expect that no cell holds `finding`, one of `expectations.findings.FINDINGS`."""

    finding: str
    map_metric = "column_values.free_of_finding"
    success_keys = ("finding", "mostly")


class TextWithoutTokens(ColumnMapMetricProvider):  # type: ignore[misc]
    """Whether each cell is free of every one of the given spellings."""

    condition_metric_name = "column_values.without_tokens"
    condition_value_keys = ("tokens",)

    @column_condition_partial(engine=PandasExecutionEngine)  # type: ignore[untyped-decorator]
    def _pandas(cls, column: pd.Series[Any], tokens: list[str], **_: Any) -> pd.Series[bool]:
        pattern = re.compile("|".join(map(re.escape, tokens)) or r"(?!)")
        return pd.Series([pattern.search(str(value)) is None for value in column], index=column.index, dtype=bool)


class ExpectTextToBeWithoutTokens(ColumnMapExpectation):  # type: ignore[misc]
    """Expect that no cell spells one of `tokens`, the model's special tokens."""

    tokens: list[str]
    map_metric = "column_values.without_tokens"
    success_keys = ("tokens", "mostly")


class FirstOfItsKind(MulticolumnMapMetricProvider):  # type: ignore[misc]
    """Whether no earlier row has the same values."""

    condition_metric_name = "multicolumn_values.first_of_its_kind"
    condition_value_keys = ()

    @multicolumn_condition_partial(engine=PandasExecutionEngine)  # type: ignore[untyped-decorator]
    def _pandas(cls, column_list: pd.DataFrame, **_: Any) -> pd.Series[bool]:
        return ~column_list.duplicated()


class ExpectRowsToBeFirstOfTheirKind(MulticolumnMapExpectation):  # type: ignore[misc]
    """Expect that no row repeats an earlier one in all of `column_list`; the first of a kind is as expected."""

    map_metric = "multicolumn_values.first_of_its_kind"


class OneValuePerKey(MulticolumnMapMetricProvider):  # type: ignore[misc]
    """Whether all rows with the first column's value agree on the second's."""

    condition_metric_name = "multicolumn_values.one_value_per_key"
    condition_value_keys = ()

    @multicolumn_condition_partial(engine=PandasExecutionEngine)  # type: ignore[untyped-decorator]
    def _pandas(cls, column_list: pd.DataFrame, **_: Any) -> pd.Series[bool]:
        keys, values = column_list.iloc[:, 0], column_list.iloc[:, 1].str.split().str.join(" ")
        return values.groupby(keys).transform("nunique") <= 1


class ExpectOneValuePerKey(MulticolumnMapExpectation):  # type: ignore[misc]
    """Expect that rows with equal values in the first of `column_list` have equal values in the second."""

    map_metric = "multicolumn_values.one_value_per_key"


class KeyOnOneSideOfSplit(MulticolumnMapMetricProvider):  # type: ignore[misc]
    """Whether no more protected split has a row with the same key."""

    condition_metric_name = "multicolumn_values.key_on_one_side_of_split"
    condition_value_keys = ()

    @multicolumn_condition_partial(engine=PandasExecutionEngine)  # type: ignore[untyped-decorator]
    def _pandas(cls, column_list: pd.DataFrame, **_: Any) -> pd.Series[bool]:
        protection = column_list.iloc[:, 0].map(_PROTECTION)
        return protection >= protection.groupby(column_list.iloc[:, 1]).transform("max")


class ExpectKeyOnOneSideOfSplit(MulticolumnMapExpectation):  # type: ignore[misc]
    """Expect that a key (the second of `column_list`) is in one split (the first) only.

    Unexpected are the rows on the less protected side: training before validation before test.
    """

    map_metric = "multicolumn_values.key_on_one_side_of_split"


class NoNearCopyAcrossSplits(MulticolumnMapMetricProvider):  # type: ignore[misc]
    """Whether no more protected split has a near copy of the text."""

    condition_metric_name = "multicolumn_values.no_near_copy_across_splits"
    condition_value_keys = ("similarity",)

    @multicolumn_condition_partial(engine=PandasExecutionEngine)  # type: ignore[untyped-decorator]
    def _pandas(cls, column_list: pd.DataFrame, similarity: float, **_: Any) -> pd.Series[bool]:
        protection = column_list.iloc[:, 0].map(_PROTECTION)
        codes, texts = pd.factorize(column_list.iloc[:, 1])
        own = protection.groupby(codes).max().to_numpy()
        copies = own.copy()
        for first, second in near_copies(list(texts), similarity):
            copies[first] = max(copies[first], own[second])
            copies[second] = max(copies[second], own[first])
        return pd.Series(protection.to_numpy() >= np.where(copies > own, copies, 0)[codes], index=column_list.index)


class ExpectNoNearCopyAcrossSplits(MulticolumnMapExpectation):  # type: ignore[misc]
    """Expect that no text (the second of `column_list`) has a near copy in a more protected split (the first).

    Equal texts are left to `ExpectKeyOnOneSideOfSplit`.
    """

    similarity: float
    map_metric = "multicolumn_values.no_near_copy_across_splits"
    success_keys = ("similarity", "mostly")

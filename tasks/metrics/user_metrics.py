"""Metrics of the user's own: functions of installed packages, group `burnish.metrics`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from configs.errors import BurnishError, MetricFailed
from configs.metric_names import USER_METRIC
from tasks.storage.entry_points import find_entry_point, function_identity, load_function

ENTRY_POINT_GROUP = "burnish.metrics"

_KEY = "evaluation.metric/also"
_ROUNDING = 1e-9
"""So far beyond 0 or 1 a score is rounding error and is put right."""

UserMetric = Callable[[str, str], float]
"""Output and reference; a score between 0 and 1, higher is better, the same whenever it is asked."""


def is_user_metric(metric: str) -> bool:
    """Whether the recipe's name of a metric is that of an installed one."""
    return metric.startswith(USER_METRIC)


def load_user_metric(metric: str) -> UserMetric:
    """Import the function.

    Raises:
        RecipeError: it isn't installed.
        DataError: it can't be imported.
    """
    return load_function(_point(metric), key=_KEY)


def user_metric_identity(metric: str) -> dict[str, Any]:
    """What its scores depend on: package, version and source.

    Raises:
        RecipeError: it isn't installed.
        DataError: it can't be imported.
    """
    point = _point(metric)
    return function_identity(point, load_function(point, key=_KEY))


def score_by_user_metric(
    metric: str, outputs: Sequence[str], references: Sequence[str], record_ids: Sequence[str]
) -> list[float]:
    """Score each output.

    Raises:
        MetricFailed: the function raised an error, or returned no number between 0 and 1; names the record.
        RecipeError: it isn't installed.
        DataError: it can't be imported.
    """
    function = load_user_metric(metric)
    rows = zip(record_ids, outputs, references, strict=True)
    return [_score(function, metric, record_id, output, wanted) for record_id, output, wanted in rows]


def _score(function: UserMetric, metric: str, record_id: str, output: str, reference: str) -> float:
    try:
        found = function(output, reference)
    except BurnishError:
        raise
    except Exception as error:  # foreign code: whatever it raises is the user's to read, with its cause attached
        raise MetricFailed(
            f"{_KEY} {metric} failed at record {record_id} with {type(error).__name__}: {error}; "
            "mend the function, which must score any text"
        ) from error
    try:
        score = float(found)
    except (TypeError, ValueError):
        score = float("nan")
    if not -_ROUNDING <= score <= 1 + _ROUNDING:
        raise MetricFailed(
            f"{_KEY} {metric} must return a number between 0 and 1, got {found!r} at record {record_id}; "
            "mend the function"
        )
    return min(1.0, max(0.0, score))


def _point(metric: str) -> Any:
    return find_entry_point(ENTRY_POINT_GROUP, metric.removeprefix(USER_METRIC), key=_KEY)

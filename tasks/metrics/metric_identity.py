"""What the scores of a metric depend on beside the code here, and whether a recipe's metrics can be had."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

from configs.metric_names import Metric
from tasks.metrics.json_answers import compile_schema
from tasks.metrics.user_metrics import is_user_metric, user_metric_identity
from tasks.storage.durable import digest_of


def check_metrics(metrics: Sequence[Metric], json_schema: Mapping[str, Any] | None) -> None:
    """Check what costs nothing: that users' metrics are installed, that the schema is one.

    Raises:
        RecipeError: it isn't so.
        DataError: a user's metric can't be imported.
    """
    if json_schema is not None:
        compile_schema(json_schema)
    for metric in metrics:
        metric_identity(metric, json_schema)


def metric_identity(metric: Metric, json_schema: Mapping[str, Any] | None) -> Any:
    """What a metric's scores depend on beside the code here, as a JSON value for a stage's identity.

    Raises:
        RecipeError: a user's metric isn't installed.
        DataError: a user's metric can't be imported.
    """
    if is_user_metric(metric):
        return {"metric": metric, **user_metric_identity(metric)}
    if metric in ("chrf", "bleu"):
        return {"metric": metric, "sacrebleu": version("sacrebleu")}
    if metric == "json_valid" and json_schema is not None:
        return {"metric": metric, "jsonschema": version("jsonschema"), "schema": digest_of(dict(json_schema))}
    return metric

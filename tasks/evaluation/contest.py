"""What a look at the test set is a look at: the line of test sets, and who is compared with whom on what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from configs.schema import Data, Evaluation
from tasks.data.records import Record
from tasks.data.splitting import has_own_split
from tasks.metrics.metric_identity import metric_identity
from tasks.storage.durable import digest_of


def lineage_of(data: Data) -> dict[str, Any]:
    """What decides which records are test records, whatever else the recipe says.

    Not one snapshot: as data grows, or as the fractions are nudged, most test rows were looked at before. All own
    splits of a recipe are one line, since nothing that the recipe says beside them makes their test rows new ones.

    Raises:
        RecipeError: the recipe says two splits at once.
    """
    if has_own_split(data):
        return {"own": True}
    return {"own": False, "column": None, "salt": data.split.salt, "group_by": data.group_by}


def contest_of(
    candidate: str,
    champion: str | None,
    *,
    records: Sequence[Record],
    evaluation: Evaluation,
    json_schema: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Who is compared with whom, and on what: one that differs may end differently, so it is another look.

    Train and validation records have no part in it.

    Args:
        candidate: key of the fine-tune, which says what it answers.
        champion: version of the champion; None if there is none.
        records: the test records, in any order.
        evaluation: for the metric and the length of the answers.
        json_schema: what the metric may hold answers against.
    """
    rows = sorted([record.record_id, record.completion, record.group] for record in records)
    metric = metric_identity(evaluation.metric, json_schema)
    asked = {"rows": rows, "metric": metric, "max_new_tokens": evaluation.max_new_tokens}
    return {"candidate": candidate, "champion": champion, "asked": digest_of(asked)}
